"""The command ``gradlaw``, also as ``python -m gradlaw``."""

import gc
import sys

from gradlaw.cli.main import main


def command() -> int:
    """Run the command line on the arguments of the process; returns the exit status."""
    # What was imported lives as long as the process. Unfrozen, it is searched for garbage in vain, at the end too:
    # more than half a second of every command.
    gc.freeze()
    return main()


if __name__ == "__main__":
    sys.exit(command())
