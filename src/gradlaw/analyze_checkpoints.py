"""The same analysis at every checkpoint of a training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlaw.analysis.overview import overview
from gradlaw.analyze import Analysis, analyze
from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.training import load_checkpoint

if TYPE_CHECKING:
    import pandas as pd


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
        return self.to_frame().to_string()


def analyze_checkpoints(
    problem: Problem,
    checkpoints: Sequence[str | Path],
    directory: str | Path,
    *,
    progress: Progress | None = None,
    **settings: Any,
) -> CheckpointAnalyses:
    """Analyse a problem at each of several checkpoints, with the same minibatches.

    Each checkpoint's run is saved as soon as it is finished, in ``directory/NAME``; a call that was interrupted goes on
    where it was, for runs of the same settings and parameters are read instead of measured again. The weights are put
    into the model's own parameters, so that a loss that knows these by other ways sees them too, and the model is as it
    was afterwards.

    Args:
        problem: model, loss and data; or a step (:meth:`gradlaw.Problem.from_step`).
        checkpoints: files of weights of its model: a state_dict (.safetensors, .pt), or checkpoints of
            :func:`gradlaw.train`. Files of one name in several folders are told apart by the folder's.
        directory: for the runs.
        progress: where to show it.
        **settings: of :func:`gradlaw.analyze`.

    Returns:
        All analyses; ``to_frame()`` is their comparison.

    Raises:
        InputError: no checkpoint, weights that do not fit the model, a directory that holds a run of other settings, or
            what :func:`gradlaw.analyze` refuses, with the checkpoint's name. Runs finished before are kept.
    """
    paths = [Path(path) for path in checkpoints]
    if not paths:
        raise InputError("there is no checkpoint to analyse; give files of weights")
    names, directory, progress = _names(paths), Path(directory), progress or SILENT
    found = []
    for i, (name, path) in enumerate(zip(names, paths, strict=True), 1):
        progress.say(f"[{i}/{len(paths)}] {name}")
        try:
            found.append(_at(problem, path, directory / name, progress, settings))
        except InputError as error:
            raise InputError(f"checkpoint {name}: {error}") from error
    return CheckpointAnalyses(tuple(names), tuple(found), directory)


def _names(paths: Sequence[Path]) -> list[str]:
    stems = [path.stem for path in paths]
    unique = stems if len(set(stems)) == len(stems) else [f"{path.parent.name}-{path.stem}" for path in paths]
    twice = sorted({name for name in unique if unique.count(name) > 1})
    if twice:
        raise InputError(f"checkpoints are named twice: {', '.join(twice)}")
    return unique


def _at(problem: Problem, path: Path, directory: Path, progress: Progress, settings: dict[str, Any]) -> Analysis:
    """The analysis at one checkpoint, read or measured."""
    checkpoint = load_checkpoint(path)
    state = problem.state(parameters=True)
    with problem.undisturbed(state):
        checkpoint.restore(problem.model)
        if (directory / "analysis.json").is_file():
            return _reopened(problem, directory, settings)
        analysis = analyze(problem, progress=progress, **settings)
    analysis.save(directory, progress=progress)
    return analysis


def _reopened(problem: Problem, directory: Path, settings: dict[str, Any]) -> Analysis:
    analysis = Analysis.load(directory)
    described, recorded = problem.describe(), analysis.provenance["problem"]
    pairs = {"parameters": (recorded["parameters_sha256"], described["parameters_sha256"]),
             "data": (recorded["data"]["sha256"], described["data"]["sha256"])}  # fmt: skip
    asked = {"k": "k_asked", "gaussian_k": "gaussian_k_asked", "engine": "engine_asked"}
    for name, value in settings.items():
        key = asked.get(name, name)
        if key in analysis.settings and isinstance(value, int | float | str | bool):
            pairs[name] = analysis.settings[key], value
    different = [f"{name} {there} instead of {here}" for name, (there, here) in pairs.items() if there != here]
    if different:
        raise InputError(f"{directory} holds a run of other settings ({'; '.join(different)}); give another directory")
    return analysis
