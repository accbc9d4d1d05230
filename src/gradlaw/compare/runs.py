"""The runs that are compared: read, named, and those of one setting put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count as numbers
from pathlib import Path

from gradlaw.analysis.files import short_names
from gradlaw.analyze import Analysis
from gradlaw.analyze_checkpoints import CheckpointAnalyses
from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.report import overlay

Run = Analysis | str | Path
Runs = Mapping[str, Run] | Sequence[Run] | CheckpointAnalyses


@dataclass(frozen=True, eq=False)
class Group(ByValue):
    """Runs that differ in their seed alone; most often one.

    Attributes:
        name: of the run, or of the first one and how many there are.
        runs: by name.
    """

    name: str
    runs: dict[str, Analysis]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of its runs, in their order."""
        return tuple(run.settings["seed"] for run in self.runs.values())

    @property
    def first(self) -> Analysis:
        """One run, for what all have in common."""
        return next(iter(self.runs.values()))


def read_runs(runs: Runs) -> dict[str, Analysis]:
    """The analyses by name: given, that of the directory, or ``run-1`` and so on.

    Raises:
        InputError: fewer than two runs, one twice, one of gradients that were sketched, a directory without a run, or
            something else.
    """
    if isinstance(runs, CheckpointAnalyses):
        runs = dict(zip(runs.names, runs.analyses, strict=True))
    if isinstance(runs, str | Path | Analysis) or not isinstance(runs, Mapping | Sequence):
        raise InputError("runs must be a list of analyses or run directories, or a dict of them by name")
    named = dict(runs) if isinstance(runs, Mapping) else _named(runs)
    if len(named) < 2:
        raise InputError(f"a comparison needs at least 2 runs, got {len(named)}")
    read = {str(name): _read(run) for name, run in named.items()}
    overlay.refuse_sketched(read)
    return read


def groups_of(runs: Mapping[str, Analysis], together: bool) -> list[Group]:
    """Seeds of one setting together, as the page has them (:func:`gradlaw.report.overlay.groups_of`), or each alone."""
    if not together:
        return [Group(name, {name: run}) for name, run in runs.items()]
    return [Group(group.label, {name: runs[name] for name in group.runs}) for group in overlay.groups_of(runs)]


def _read(run: Run) -> Analysis:
    if isinstance(run, Analysis):
        return run
    if isinstance(run, str | Path):
        return Analysis.load(run)
    raise InputError(f"a run is an analysis or the directory of one, got {type(run).__name__}")


def _named(runs: Sequence[Run]) -> dict[str, Run]:
    paths = [Path(run).resolve() for run in runs if isinstance(run, str | Path)]
    twice = sorted({str(path) for path in paths if paths.count(path) > 1})
    if twice:
        raise InputError(f"the run {', '.join(twice)} is named twice")
    short = dict(zip(paths, short_names(paths), strict=True))
    unnamed = (f"run-{i}" for i in numbers(1))
    return {short[Path(r).resolve()] if isinstance(r, str | Path) else next(unnamed): r for r in runs}
