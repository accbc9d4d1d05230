"""The problem that the options of a command name."""

import argparse

from gradlaw.cli.inputs import build, load_named_data, model_name, model_settings, with_label_noise
from gradlaw.cli.options.inputs import DATA_OPTIONS, MODEL_OPTIONS
from gradlaw.cli.problem_reference import import_problem
from gradlaw.errors import InputError
from gradlaw.problem import RANDOMNESS, Problem
from gradlaw.progress import Progress
from gradlaw.training import Checkpoint
from gradlaw.zoo import MODELS


def problem_of(options: argparse.Namespace, checkpoint: Checkpoint | None, progress: Progress) -> Problem:
    """The user's own, or a model of the zoo on data by name; with the weights of a checkpoint, if there is one.

    Raises:
        InputError: options that do not go together, data or model that there are not, or weights that do not fit.
    """
    if options.problem is not None:
        return _own_problem(options, checkpoint)
    model_name(options)  # refuse an unknown one before the data are read
    data = with_label_noise(options, load_named_data(options, options.split or "train", progress))
    settings = model_settings(options, data)
    model = build(settings, checkpoint)
    name = settings.name if checkpoint is None else f"{settings.name} ({checkpoint.path.name})"
    return Problem(model, MODELS[settings.name].loss, data, options.parameters, options.device,
                   randomness=options.randomness or RANDOMNESS[0], name=name)  # fmt: skip


def _own_problem(options: argparse.Namespace, checkpoint: Checkpoint | None) -> Problem:
    for name in (*DATA_OPTIONS, *MODEL_OPTIONS, "split", "device", "parameters", "randomness"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} does not go with --problem: the function decides it")
    problem = import_problem(options.problem)
    if checkpoint is not None:
        checkpoint.restore(problem.model)
    return problem
