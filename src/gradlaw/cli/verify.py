"""gradlaw verify: calls, prints."""

import argparse
from dataclasses import asdict

from gradlaw.cli.say import say, say_json
from gradlaw.json_text import json_text
from gradlaw.progress import Progress
from gradlaw.verify import verify

DAMAGED = 1  # the exit status


def run(options: argparse.Namespace) -> int:
    """Check the directories and print what is damaged; the exit status is 0 if all are whole, and else 1."""
    with Progress(shown=not options.quiet) as progress:
        found = [verify(directory, options.repair, progress=progress) for directory in options.directories]
    whole = all(one.whole for one in found)
    if options.json:
        records = [asdict(one) | {"whole": one.whole} for one in found]
        say_json(json_text({"whole": whole, "directories": records}), options)
    else:
        say("\n".join(map(str, found)))
    return 0 if whole else DAMAGED
