"""gradlaw verify: calls, prints."""

import argparse

from gradlaw.cli.say import say
from gradlaw.progress import Progress
from gradlaw.verify import verify

DAMAGED = 1  # the exit status


def run(options: argparse.Namespace) -> int:
    """Check the directories and print what is damaged; the exit status is 0 if all are whole, and else 1."""
    with Progress(shown=not options.quiet) as progress:
        found = [verify(directory, options.repair, progress=progress) for directory in options.directories]
    for one in found:
        say(one)
    return 0 if all(one.whole for one in found) else DAMAGED
