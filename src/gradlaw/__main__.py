"""The command ``gradlaw``, also as ``python -m gradlaw``."""

import gc
import sys

from gradlaw.cli.signals import end_at_once


def command() -> int:
    """Run the command line on the arguments of the process; returns the exit status."""
    end_at_once()
    from gradlaw.cli.main import main

    # What was imported lives as long as the process. Unfrozen, it is searched for garbage in vain, at the end too:
    # more than half a second of every command.
    gc.freeze()
    return main()


if __name__ == "__main__":
    sys.exit(command())
