"""gradlaw compare: calls, prints."""

import argparse
from pathlib import Path

from gradlaw.cli.say import say, say_json
from gradlaw.compare.compare import compare
from gradlaw.errors import InputError
from gradlaw.progress import Progress


def run(options: argparse.Namespace) -> None:
    """Compare the runs that the options name, print the comparison and, if asked, write it."""
    histories = dict(_history(text) for text in options.history)
    with Progress(shown=not options.quiet) as progress:
        found = compare(
            options.runs,
            histories=histories,
            group_seeds=not options.separate,
            level=options.level,
            progress=progress,
        )
    if options.json:
        say_json(found.to_json(), options)
    else:
        say(found)
    if options.out:
        found.save(options.out)
        say(f"\npage: {Path(options.out) / 'comparison.html'}")


def _history(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not equals or not name or not folder:
        raise InputError(f"--history takes NAME=FOLDER, the name of a run and where its gradients are, got {text!r}")
    return name, folder
