"""gradlaw analyze: calls, prints."""

import argparse
from pathlib import Path

from gradlaw.analysis.files import check_free, check_space
from gradlaw.analyze import analyze
from gradlaw.cli.inputs import (
    build,
    load_named_data,
    model_name,
    model_settings,
    name_of_inputs,
    take_from_checkpoint,
    with_label_noise,
)
from gradlaw.cli.options.inputs import DATA_OPTIONS, MODEL_OPTIONS
from gradlaw.cli.problem_reference import import_problem
from gradlaw.cli.report import print_summary
from gradlaw.errors import InputError
from gradlaw.history.transforms import parse_transform
from gradlaw.problem import RANDOMNESS, Problem
from gradlaw.progress import Progress
from gradlaw.training import Checkpoint
from gradlaw.zoo import MODELS


def run(options: argparse.Namespace) -> None:
    """Analyse what the options name, write the run directory, print the summary and where the report is."""
    transforms = [parse_transform(text) for text in options.transform]
    checkpoint = take_from_checkpoint(options)
    out = Path(options.out or _default_directory(options, checkpoint))
    check_free(out, options.force)
    with Progress(shown=not options.quiet) as progress:
        problem = _problem(options, checkpoint, progress)
        check_space(out, options.iterations, problem.dimensions)
        analysis = analyze(
            problem,
            iterations=options.iterations,
            batch_size=options.batch_size,
            k=options.k,
            gaussian_k=options.gaussian_k,
            alpha=options.alpha,
            seed=options.seed,
            engine=options.engine,
            transforms=transforms,
            store=options.store,
            replacement=options.replacement,
            extended=options.extended,
            controls=options.controls,
            dtype=options.dtype,
            progress=progress,
        )
        analysis.save(out, options.force, progress=progress)
    print_summary(analysis)
    print(f"\nreport: {out / 'report.html'}")


def _problem(options: argparse.Namespace, checkpoint: Checkpoint | None, progress: Progress) -> Problem:
    if options.problem is not None:
        for name in (*DATA_OPTIONS, *MODEL_OPTIONS, "split", "device", "parameters", "randomness"):
            if getattr(options, name) is not None:
                raise InputError(f"--{name.replace('_', '-')} does not go with --problem: the function decides it")
        problem = import_problem(options.problem)
        if checkpoint is not None:
            checkpoint.restore(problem.model)
        return problem
    model_name(options)  # refuse an unknown one before the data are read
    data = with_label_noise(options, load_named_data(options, options.split or "train", progress))
    settings = model_settings(options, data)
    model = build(settings, checkpoint)
    name = settings.name if checkpoint is None else f"{settings.name} ({checkpoint.path.name})"
    return Problem(model, MODELS[settings.name].loss, data, options.parameters, options.device,
                   randomness=options.randomness or RANDOMNESS[0], name=name)  # fmt: skip


def _default_directory(options: argparse.Namespace, checkpoint: Checkpoint | None) -> str:
    what = options.problem.replace(":", "-") if options.problem else name_of_inputs(options, checkpoint)
    chosen = "".join(f"-{text.replace('=', '')}" for text in options.transform)
    return f"runs/{what}{chosen}-B{options.batch_size}-T{options.iterations}-seed{options.seed}"
