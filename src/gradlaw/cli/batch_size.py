"""gradlaw batch-size: calls, prints."""

import argparse
from typing import Any

from gradlaw.batch_size.critical_batch_size import critical_batch_size
from gradlaw.cli.inputs import take_from_checkpoint
from gradlaw.cli.problem_options import problem_of
from gradlaw.cli.say import say, say_json
from gradlaw.progress import Progress
from gradlaw.training import Checkpoint, Recipe


def run(options: argparse.Namespace) -> None:
    """Measure what the options name, print it and, if asked, write it."""
    checkpoint = take_from_checkpoint(options)
    with Progress(shown=not options.quiet) as progress:
        found = critical_batch_size(
            problem_of(options, checkpoint, progress),
            options.iterations,
            options.batch_size,
            **_training(options, checkpoint),
            level=options.level,
            hessian_samples=options.hessian_samples,
            seed=options.seed,
            progress=progress,
        )
    if options.json:
        say_json(found.to_json(), options)
    else:
        say(found)
    if options.out:
        found.save(options.out)


def _training(options: argparse.Namespace, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """Batch size, optimiser and learning rate: given, or those that a checkpoint of ours was trained with."""
    recorded: dict[str, Any] = {}
    if checkpoint is not None and "recipe" in checkpoint.settings:
        recipe, epoch = Recipe(**checkpoint.settings["recipe"]), checkpoint.settings["epoch"]
        recorded = {"in_use": recipe.batch_size, "optimizer": recipe.optimiser,
                    "learning_rate": recipe.learning_rate_at(epoch - 1)}  # fmt: skip
    given = {"in_use": options.in_use, "optimizer": options.optimiser, "learning_rate": options.learning_rate}
    return recorded | {name: value for name, value in given.items() if value is not None}
