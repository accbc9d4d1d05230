"""gradlaw analyze: calls, prints."""

import argparse
from pathlib import Path
from typing import Any

from gradlaw.analysis.files import check_free, check_space
from gradlaw.analyze import analyze
from gradlaw.analyze_checkpoints import TABLE, analyze_checkpoints
from gradlaw.cli.checkpoint_files import matching
from gradlaw.cli.inputs import name_of_inputs, take_from_checkpoint
from gradlaw.cli.problem_options import problem_of
from gradlaw.cli.ranks import ranks_of, started_by_torchrun
from gradlaw.cli.report import print_summary
from gradlaw.errors import InputError
from gradlaw.history.transforms import parse_transform
from gradlaw.progress import Progress
from gradlaw.ranks import RankGroup
from gradlaw.training import Checkpoint


def run(options: argparse.Namespace) -> None:
    """Analyse what the options name, write the run directory, print the summary and where the report is."""
    settings = _settings(options)
    if options.checkpoints:
        _run_checkpoints(options, settings)
        return
    with ranks_of(options) as ranks:
        _run_one(options, settings, ranks)


def _run_one(options: argparse.Namespace, settings: dict[str, Any], ranks: RankGroup) -> None:
    """One analysis; of several ranks the first writes and prints."""
    with ranks.together():
        checkpoint = take_from_checkpoint(options)
    out = Path(options.out or _default_directory(options, checkpoint))
    ranks.first(lambda: check_free(out, options.force))
    with Progress(shown=ranks.is_first and not options.quiet) as progress:
        with ranks.together():
            problem = problem_of(options, checkpoint, progress)
        ranks.first(lambda: check_space(out, options.iterations, problem.dimensions))
        analysis = analyze(problem, progress=progress, **settings)
        ranks.first(lambda: analysis.save(out, options.force, progress=progress))
    if ranks.is_first:
        print_summary(analysis)
        print(f"\nreport: {out / 'report.html'}")


def _run_checkpoints(options: argparse.Namespace, settings: dict[str, Any]) -> None:
    """The same at each of several weights, in one table; runs that are there already are read."""
    if started_by_torchrun():
        raise InputError("--checkpoints runs on one rank; start each weights by itself with --checkpoint on several")
    if options.checkpoint is not None:
        raise InputError("--checkpoint does not go with --checkpoints: name all weights by the latter")
    for name in ("force", "store"):
        if getattr(options, name):
            raise InputError(f"--{name} does not go with --checkpoints, which resumes and has one run for each weights")
    files = matching(options.checkpoints)
    options.checkpoint = files[0]  # says which model and data, if gradlaw trained it
    first = take_from_checkpoint(options)
    with Progress(shown=not options.quiet) as progress:
        problem = problem_of(options, None, progress)
        out = Path(options.out or f"runs/checkpoints-{files[0].parent.name}-" + _default_directory(options, None)[5:])
        found = analyze_checkpoints(problem, files, out, progress=progress, **settings)
    print(found)
    if first is not None and first.settings:
        print(f"model and data as {first.path} records them, unless they were given")
    print(f"\ntable: {out / TABLE}\nreports: {out}/*/report.html")


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What ``analyze`` takes beside the problem."""
    names = ("iterations", "batch_size", "k", "gaussian_k", "alpha", "seed", "engine", "store", "replacement",
             "extended", "controls", "dtype")  # fmt: skip
    transforms = [parse_transform(text) for text in options.transform]
    return {name: getattr(options, name) for name in names} | {"transforms": transforms}


def _default_directory(options: argparse.Namespace, checkpoint: Checkpoint | None) -> str:
    what = options.problem.replace(":", "-") if options.problem else name_of_inputs(options, checkpoint)
    chosen = "".join(f"-{text.replace('=', '')}" for text in options.transform)
    return f"runs/{what}{chosen}-B{options.batch_size}-T{options.iterations}-seed{options.seed}"
