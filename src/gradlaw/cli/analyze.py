"""gradlaw analyze: calls, prints."""

import argparse
from contextlib import ExitStack, nullcontext
from itertools import count
from pathlib import Path
from typing import Any

from gradlaw.analysis.files import check_space
from gradlaw.analysis.run_directory import RunDirectory, claimed
from gradlaw.analyze import Analysis, analyze
from gradlaw.analyze_checkpoints import TABLE, analyze_checkpoints
from gradlaw.cli.checkpoint_files import matching
from gradlaw.cli.demonstration import fill_sizes, is_demonstration, what_is_seen
from gradlaw.cli.inputs import name_of_inputs, take_from_checkpoint
from gradlaw.cli.problem_options import problem_of
from gradlaw.cli.ranks import ranks_of
from gradlaw.cli.report import print_summary, record_of
from gradlaw.cli.say import say, say_json
from gradlaw.errors import InputError
from gradlaw.history.transform_text import parse_transform
from gradlaw.json_text import json_text
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.ranks import RankGroup
from gradlaw.report.write import PAGE, finish_run, write_claimed, write_run
from gradlaw.same_run import differences
from gradlaw.training import Checkpoint


def run(options: argparse.Namespace) -> None:
    """Analyse what the options name, write the run directory, print the summary and where the report is."""
    shown = is_demonstration(options)
    fill_sizes(options)
    settings = _settings(options)
    with ranks_of(options) as ranks:
        if options.checkpoints:
            _run_checkpoints(options, settings, ranks)
        else:
            _run_one(options, settings, ranks, shown)


def _run_one(options: argparse.Namespace, settings: dict[str, Any], ranks: RankGroup, shown: bool) -> None:
    """One analysis; of several ranks the first writes and prints."""
    with ranks.together():
        checkpoint = take_from_checkpoint(options)
    out = Path(options.out or _default_directory(options, checkpoint))
    if ranks.size > 1:
        analysis = _measure_together(options, settings, checkpoint, out, ranks)
    else:
        analysis, out = _measure_alone(options, settings, checkpoint, out)
    if not ranks.is_first:
        return
    if options.json:
        say_json(json_text({"run": out, "report": out / PAGE} | record_of(analysis)), options)
        return
    print_summary(analysis)
    if shown:
        say(f"\n{what_is_seen(analysis)}")
    say(f"\nreport: {out / PAGE}")


def _measure_together(
    options: argparse.Namespace, settings: dict[str, Any], checkpoint: Checkpoint | None, out: Path, ranks: RankGroup
) -> Analysis:
    """By several ranks, of which the first writes the run; one that was left unfinished is measured anew."""
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(shown=not options.quiet)) if ranks.is_first else SILENT
        with ranks.together():
            place = stack.enter_context(claimed(out)) if ranks.is_first else None
            if place is not None and place.unfinished() is None:
                place.check_free(options.force)
        with ranks.together():
            problem = problem_of(options, checkpoint, progress)
        ranks.first(lambda: check_space(out, options.iterations, problem.dimensions))
        analysis = analyze(problem, progress=progress, **settings)
        with ranks.together():
            if place is not None:
                write_claimed(analysis, place, progress)
    return analysis


def _measure_alone(
    options: argparse.Namespace, settings: dict[str, Any], checkpoint: Checkpoint | None, out: Path
) -> tuple[Analysis, Path]:
    """By this process; returns where the run is, too."""
    with claimed(out) as place, Progress(shown=not options.quiet) as progress:
        folder = place.unfinished()
        if folder is None or (folder == place.staging and place.holds_run()):
            place.check_free(options.force)
        problem = problem_of(options, checkpoint, progress)
        kept = None if folder is None else _kept(folder, place, problem, settings, options.force)
        if folder is not None and kept is not None:
            progress.say("measured before: what is missing is drawn")
            finish_run(kept, place, folder, progress)
            return kept, out
        check_space(out, options.iterations, problem.dimensions)
        analysis = analyze(problem, progress=progress, **settings)
        return analysis, _save(analysis, place, options.force, progress)


def _kept(
    folder: Path, place: RunDirectory, problem: Problem, settings: dict[str, Any], force: bool
) -> Analysis | None:
    """The unfinished run in a directory, if it is the one that is asked for; None if it is to be overwritten."""
    analysis = Analysis.load(folder)
    different = differences(analysis, problem, settings)
    if different and not force:
        raise InputError(
            f"{place.path} holds a run of other settings that was not finished ({'; '.join(different)}); repeat the "
            "command that began it, choose another directory, or overwrite it with --force"
        )
    return None if different else analysis


def _save(analysis: Analysis, place: RunDirectory, force: bool, progress: Progress) -> Path:
    """Write the run; into another directory beside it if one was put there meanwhile. Returns where."""
    if force or not place.holds_run():
        write_claimed(analysis, place, progress)
        return place.path
    names = (place.path.with_name(f"{place.path.name}-{number}") for number in count(2))
    beside = next(path for path in names if not path.exists())
    say(f"{place.path} holds another run by now; this one is in {beside}")
    write_run(analysis, beside, False, progress)
    return beside


def _run_checkpoints(options: argparse.Namespace, settings: dict[str, Any], ranks: RankGroup) -> None:
    """The same at each of several weights, in one table; runs that are there already are read."""
    settings = {name: value for name, value in settings.items() if name != "sketch"}
    with ranks.together():
        if options.checkpoint is not None:
            raise InputError("--checkpoint does not go with --checkpoints: name all weights by the latter")
        for name in ("force", "store", "sketch"):
            if getattr(options, name):
                raise InputError(
                    f"--{name} does not go with --checkpoints, which resumes and has one run for each weights"
                )
        files = matching(options.checkpoints)
        options.checkpoint = files[0]  # says which model and data, if gradlaw trained it
        first = take_from_checkpoint(options)
    with Progress(shown=not options.quiet) if ranks.is_first else nullcontext(SILENT) as progress:
        with ranks.together():
            problem = problem_of(options, None, progress)
        out = Path(options.out or f"runs/checkpoints-{files[0].parent.name}-" + _default_directory(options, None)[5:])
        found = analyze_checkpoints(problem, files, out, progress=progress, **settings)
    if not ranks.is_first:
        return
    if options.json:
        runs = {name: record_of(analysis) for name, analysis in zip(found.names, found.analyses, strict=True)}
        say_json(json_text({"directory": out, "table": out / TABLE, "runs": runs}), options)
        return
    say(found)
    if first is not None and first.settings:
        say(f"model and data as {first.path} records them, unless they were given")
    say(f"\ntable: {out / TABLE}\nreports: {out}/*/report.html")


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """What ``analyze`` takes beside the problem."""
    names = ("iterations", "batch_size", "k", "gaussian_k", "alpha", "seed", "engine", "store", "replacement",
             "extended", "controls", "dtype", "sketch")  # fmt: skip
    transforms = [parse_transform(text) for text in options.transform]
    return {name: getattr(options, name) for name in names} | {"transforms": transforms}


def _default_directory(options: argparse.Namespace, checkpoint: Checkpoint | None) -> str:
    what = options.problem.replace(":", "-") if options.problem else name_of_inputs(options, checkpoint)
    chosen = "".join(f"-{text.replace('=', '')}" for text in options.transform)
    chosen += f"-sketch{options.sketch}" if options.sketch else ""
    return f"runs/{what}{chosen}-B{options.batch_size}-T{options.iterations}-seed{options.seed}"
