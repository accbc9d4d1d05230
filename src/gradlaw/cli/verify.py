"""gradlaw verify: calls, prints."""

import argparse
from dataclasses import asdict

from gradlaw.cli.inputs import take_from_checkpoint
from gradlaw.cli.options.inputs import DATA_OPTIONS, MODEL_OPTIONS
from gradlaw.cli.problem_options import problem_of
from gradlaw.cli.say import say, say_json
from gradlaw.errors import InputError
from gradlaw.json_text import json_text
from gradlaw.problem import Problem
from gradlaw.progress import Progress
from gradlaw.verify import verify

DAMAGED = 1  # the exit status
_NAMING = (*DATA_OPTIONS, *MODEL_OPTIONS, "problem", "checkpoint")


def run(options: argparse.Namespace) -> int:
    """Check the directories and print what is damaged; the exit status is 0 if all are whole, and else 1."""
    with Progress(shown=not options.quiet) as progress:
        problem = _problem(options, progress)
        found = [
            verify(directory, options.repair, problem=problem, progress=progress) for directory in options.directories
        ]
    whole = all(one.whole for one in found)
    if options.json:
        records = [asdict(one) | {"whole": one.whole} for one in found]
        say_json(json_text({"whole": whole, "directories": records}), options)
    else:
        say("\n".join(map(str, found)))
    return 0 if whole else DAMAGED


def _problem(options: argparse.Namespace, progress: Progress) -> Problem | None:
    """Whose gradients a history holds, if the options say so."""
    if not any(getattr(options, name) is not None for name in _NAMING):
        return None
    if not options.repair:
        raise InputError("what names a problem goes with --repair, which computes its gradients again")
    checkpoint = take_from_checkpoint(options)
    return problem_of(options, checkpoint, progress)
