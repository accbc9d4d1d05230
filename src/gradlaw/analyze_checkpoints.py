"""The same analysis at every checkpoint of a training."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlaw.analysis.overview import overview
from gradlaw.analysis.run_directory import LOCK, RunDirectory, claimed, make_folder
from gradlaw.analyze import Analysis, analyze
from gradlaw.argument_types import checked
from gradlaw.by_value import ByValue
from gradlaw.choices import RankChoice
from gradlaw.errors import InputError
from gradlaw.extras import extra
from gradlaw.lock import locked
from gradlaw.output_files import write_output
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.ranks import RankGroup, those_asked
from gradlaw.report.formatting import number, percent, with_error
from gradlaw.report.text_table import text_table
from gradlaw.same_run import differences
from gradlaw.training import load_checkpoint

if TYPE_CHECKING:
    import pandas as pd


TABLE = "checkpoints.csv"
_HEADER = ("checkpoint", "loss", "tails dim.", "tails iter.", "Gauss dim.", "Gauss iter.", "s of C", "outliers",
           "noise scale")  # fmt: skip
_NOTE = """tails: share of series that the calibrated test takes for power laws, across
dimensions and across iterations; Gauss: Gaussianity not rejected; s of C: Zipf
exponent of the covariance spectrum; outliers: leading eigenvalues above its
line; noise scale: in samples, with standard error. A dash: no verdict, or
nothing to measure."""


@dataclass(frozen=True, eq=False)
class CheckpointAnalyses(ByValue):
    """Analyses of one problem at several parameters.

    Attributes:
        names: of the checkpoints, in the order given.
        analyses: one each.
        directory: with the run of each under its name.
    """

    names: tuple[str, ...]
    analyses: tuple[Analysis, ...]
    directory: Path

    def to_frame(self) -> "pd.DataFrame":
        """One row a checkpoint, indexed by name; columns as :func:`gradlaw.analysis.overview.overview` has them."""
        import pandas as pd

        return pd.DataFrame([overview(a) for a in self.analyses], index=pd.Index(self.names, name="checkpoint"))

    def __str__(self) -> str:
        title = f"{len(self.names)} checkpoints, {self.analyses[0].provenance['problem']['model']}"
        rows = [_cells(name, a) for name, a in zip(self.names, self.analyses, strict=True)]
        return f"{text_table(title, _HEADER, rows)}\n\n{_NOTE}"


@checked
def analyze_checkpoints(
    problem: Problem,
    checkpoints: Sequence[str | Path],
    directory: str | Path,
    *,
    ranks: RankChoice = "all",
    progress: Progress | None = None,
    **settings: Any,
) -> CheckpointAnalyses:
    """Analyse a problem at each of several checkpoints, with the same minibatches.

    Each checkpoint's run is saved as soon as it is finished, in ``directory/NAME``, and their comparison at the end, in
    ``directory/checkpoints.csv``; a call that was interrupted goes on where it was, for runs of the same settings and
    parameters are read instead of measured again. The weights are put
    into the model's own parameters, so that a loss that knows these by other ways sees them too, and the model is as it
    was afterwards.

    Args:
        problem: model, loss and data; or a step (:meth:`gradlaw.Problem.from_step`).
        checkpoints: files of weights of its model: a state_dict (.safetensors, .pt), or checkpoints of
            :func:`gradlaw.train`. Files of one name in several folders are told apart by the folder's.
        directory: for the runs.
        ranks: that share each analysis, see :func:`gradlaw.analyze`; the first of them reads and writes the runs.
        progress: where to show it.
        **settings: of :func:`gradlaw.analyze`.

    Returns:
        All analyses; ``to_frame()`` is their comparison.

    Raises:
        InputError: no checkpoint, weights that do not fit the model (before any work), a directory that holds a run of
            other settings, or what :func:`gradlaw.analyze` refuses, with the checkpoint's name. Runs finished before
            are kept.
    """
    paths = [Path(path) for path in checkpoints]
    if not paths:
        raise InputError("there is no checkpoint to analyse; give files of weights")
    names, directory, progress = _names(paths), Path(directory), progress or SILENT
    group, found = those_asked(ranks), []
    with group.alive(), ExitStack() as stack:
        group.refuse_differences({"checkpoints": names})
        with group.together():
            _check_all(problem, names, paths)
            if group.is_first:
                make_folder(directory)
                stack.enter_context(locked(directory / LOCK, f"the folder of runs {directory}"))
        for i, (name, path) in enumerate(zip(names, paths, strict=True), 1):
            progress.say(f"[{i}/{len(paths)}] {name}")
            try:
                found.append(_at(group, problem, path, directory / name, progress, settings))
            except InputError as error:
                raise type(error)(f"checkpoint {name}: {error}") from error
        analyses = CheckpointAnalyses(tuple(names), tuple(found), directory)
        group.first(lambda: write_output(directory, "checkpoints", {TABLE: analyses.to_frame().to_csv()}))
    return analyses


def _cells(name: str, analysis: Analysis) -> tuple[str, ...]:
    row, noise, tests = overview(analysis), analysis.noise, analysis.tests
    model = None if noise is None or noise["degenerate"].iloc[0] else noise.iloc[0]
    scale = "-" if model is None else with_error(model["noise_scale_unbiased"], model["noise_scale_unbiased_error"])
    return (
        name,
        number(row["loss"]),
        *(percent(None if t.no_verdict_calibrated else t.power_law_rate_calibrated) for t in tests.values()),
        *(percent(t.gaussian_rate) for t in tests.values()),
        number(row["covariance_s"]),
        "-" if row["outliers"] is None else str(row["outliers"]),
        scale,
    )


def _names(paths: Sequence[Path]) -> list[str]:
    stems = [path.stem for path in paths]
    unique = stems if len(set(stems)) == len(stems) else [f"{path.parent.name}-{path.stem}" for path in paths]
    twice = sorted({name for name in unique if unique.count(name) > 1})
    if twice:
        raise InputError(f"checkpoints are named twice: {', '.join(twice)}")
    return unique


def _check_all(problem: Problem, names: Sequence[str], paths: Sequence[Path]) -> None:
    """Refuse weights that do not fit before any work, not when their turn comes."""
    state = problem.state(parameters=True)
    for name, path in zip(names, paths, strict=True):
        try:
            with problem.undisturbed(state):
                load_checkpoint(path).restore(problem.model)
        except InputError as error:
            raise InputError(f"checkpoint {name}: {error}") from error


def _at(
    ranks: RankGroup, problem: Problem, path: Path, directory: Path, progress: Progress, settings: dict[str, Any]
) -> Analysis:
    """The analysis at one checkpoint, read or measured; of several ranks the first reads and writes."""
    state = problem.state(parameters=True)
    with problem.undisturbed(state), ExitStack() as stack:
        with ranks.together():
            load_checkpoint(path).restore(problem.model)
            with extra("report", "saving an analysis"):
                from gradlaw.report.write import write_claimed  # loads matplotlib
            place = stack.enter_context(claimed(directory)) if ranks.is_first else None
        kept = ranks.first(lambda: None if place is None else _kept(problem, place, directory, progress, settings))
        if kept is not None:
            return kept
        analysis = analyze(problem, progress=progress, ranks="one" if ranks.size == 1 else "all", **settings)
        with ranks.together():
            if place is not None:
                write_claimed(analysis, place, progress)
    return analysis


def _kept(
    problem: Problem, place: RunDirectory, directory: Path, progress: Progress, settings: dict[str, Any]
) -> Analysis | None:
    """The run that the directory holds already, with what is missing of its figures drawn; None if there is none."""
    from gradlaw.report.write import finish_run

    unfinished = place.unfinished()
    folder = unfinished or (directory if place.holds_run() else None)
    if folder is None:
        return None
    analysis = _reopened(problem, directory, folder, settings)
    if unfinished == folder:
        finish_run(analysis, place, folder, progress)
    return analysis


def _reopened(problem: Problem, directory: Path, folder: Path, settings: dict[str, Any]) -> Analysis:
    analysis = Analysis.load(folder)
    different = differences(analysis, problem, settings)
    if different:
        raise InputError(f"{directory} holds a run of other settings ({'; '.join(different)}); give another directory")
    return analysis
