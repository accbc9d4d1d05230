"""gradlaw plan: parses, calls, prints."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from gradlaw.cli.options.output import add_json_and_quiet
from gradlaw.cli.reproduce import (
    SEEDS,
    WIDTH,
    add_common_options,
    add_names,
    add_reading,
    check_names,
    context_of,
    paper_of,
    profile_of,
)
from gradlaw.cli.say import say, say_json
from gradlaw.json_text import json_text
from gradlaw.progress import Progress
from gradlaw.reproduction.formats import terminal
from gradlaw.reproduction.formatting import duration, size
from gradlaw.reproduction.measurement import Measurement, Resolver
from gradlaw.reproduction.paper import Paper
from gradlaw.reproduction.plan import Cost, Planner
from gradlaw.reproduction.profiles import Profile
from gradlaw.reproduction.selection import named_by, select
from gradlaw.reproduction.tasks import Task, WorkList, describe, list_work

_HEADER = ("task", "for", "time", "memory", "disk")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what ``gradlaw plan`` takes."""
    parser.description = "Estimates, from a short calibration, what each row would take that is not in the store yet."
    parser.epilog = "example:\n  gradlaw plan table6 --mnist data/mnist --profile paper"
    add_names(parser)
    add_common_options(parser)
    add_reading(parser)
    add_json_and_quiet(parser)
    parser.set_defaults(command="gradlaw.cli.plan:run")


def run(options: argparse.Namespace) -> None:
    """Print what each row that is not in the store would take, by a short calibration."""
    check_names(options)
    context, store = context_of(options)
    resolver = Resolver(profile_of(options), context.trained_models)
    selection = select(paper_of(options), options.names)
    work = list_work(selection.experiments, options.seeds or SEEDS, resolver, store, context)
    planner = Planner(context)
    with Progress(shown=not options.quiet) as progress:
        costs = planner.costs(work.todo, progress)
    total = sum(cost.seconds for cost in costs.values())
    if options.json:
        say_json(json_text(_record(selection.paper, resolver.profile, work, costs)), options)
        return
    say(f"{work.finished} measurements in the store, {len(work.todo)} tasks to do: about {duration(total)}")
    for line in planner.longest(costs) if total else ():
        say(line)
    console = Console()
    console.width = console.width if console.is_terminal else WIDTH
    console.print(terminal(f"Plan of {', '.join(options.names)}, profile {resolver.profile.name}", _HEADER,
                           _rows(selection.paper, costs), ("task", "for")), highlight=False)  # fmt: skip
    for measurement, reason in work.missing.items():
        say(f"not to be run: {describe(measurement)}: {reason}")


def _rows(paper: Paper, costs: dict[Task, Cost]) -> Sequence[Sequence[str]]:
    return [
        (describe(task), ", ".join(_named(paper, task)), duration(cost.seconds), size(cost.memory), size(cost.disk))
        for task, cost in costs.items()
    ]


def _record(paper: Paper, profile: Profile, work: WorkList, costs: dict[Task, Cost]) -> dict[str, Any]:
    """The plan as data: the seconds of each task, and the bytes of memory and disk."""
    return {
        "profile": profile.name,
        "in_store": work.finished,
        "seconds": sum(cost.seconds for cost in costs.values()),
        "tasks": [{"task": describe(task), "for": _named(paper, task)} | asdict(cost) for task, cost in costs.items()],
        "missing": [{"measurement": describe(m), "reason": reason} for m, reason in work.missing.items()],
    }


def _named(paper: Paper, task: Task) -> list[str]:
    """The rows and figures that a task is for; a training is for the measurements after it."""
    return named_by(paper, task.experiment) if isinstance(task, Measurement) else []
