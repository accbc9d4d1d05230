"""The runs that are compared: read, named, and those of one setting put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count as numbers
from pathlib import Path
from typing import Any

from gradlaw.analyze import Analysis
from gradlaw.analyze_checkpoints import CheckpointAnalyses
from gradlaw.errors import InputError

Run = Analysis | str | Path
Runs = Mapping[str, Run] | Sequence[Run] | CheckpointAnalyses
# Of the record: what a seed changes, or what only says how something was computed.
_NOT_SETTINGS = {"settings.seed", "settings.rounding", "settings.engine", "settings.engine_asked",
                 "settings.rounding_alone", "problem.parameters_sha256"}  # fmt: skip
_ERROR_OF_STORAGE = "settings.storage.error"


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that differ in their seed alone; most often one.

    Attributes:
        name: of the run, or what the names of its runs have in common.
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
        InputError: fewer than two runs, one twice, a directory without a run, or something else.
    """
    if isinstance(runs, CheckpointAnalyses):
        runs = dict(zip(runs.names, runs.analyses, strict=True))
    if isinstance(runs, str | Path | Analysis) or not isinstance(runs, Mapping | Sequence):
        raise InputError("runs must be a list of analyses or run directories, or a dict of them by name")
    named = dict(runs) if isinstance(runs, Mapping) else _named(runs)
    if len(named) < 2:
        raise InputError(f"a comparison needs at least 2 runs, got {len(named)}")
    return {str(name): _read(run) for name, run in named.items()}


def groups_of(runs: Mapping[str, Analysis], together: bool) -> list[Group]:
    """Runs put together where they differ in the seed alone, in the order of their first ones.

    Runs of one setting and one seed (checkpoints of a training, say) stay apart.
    """
    by_setting: dict[str, dict[str, Analysis]] = {}
    for name, run in runs.items():
        by_setting.setdefault(repr(sorted(setting_of(run).items(), key=lambda item: item[0])), {})[name] = run
    groups: list[Group] = []
    for same in by_setting.values():
        seeds = [run.settings["seed"] for run in same.values()]
        if together and len(same) > 1 and len(set(seeds)) == len(seeds):
            groups.append(Group(_common_name(list(same)), same))
        else:
            groups += [Group(name, {name: run}) for name, run in same.items()]
    names = list(runs)
    return sorted(groups, key=lambda group: names.index(next(iter(group.runs))))


def setting_of(run: Analysis) -> dict[str, Any]:
    """Everything recorded that makes a setting, by dotted name; not the seed, and not the parameters."""
    record = {"settings": run.settings, "problem": run.provenance["problem"]}
    flat = _flat(record)
    flat |= {f"asked.{name}": run.sections.get(name) is not None for name in ("extended", "controls")}
    return {name: value for name, value in flat.items() if name not in _NOT_SETTINGS and name != _ERROR_OF_STORAGE}


def _flat(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in record.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


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
    short = _short_names(paths)
    unnamed = (f"run-{i}" for i in numbers(1))
    return {short[Path(r).resolve()] if isinstance(r, str | Path) else next(unnamed): r for r in runs}


def _short_names(paths: Sequence[Path]) -> dict[Path, str]:
    """As few of the last folders of each path as tell all apart."""
    for parts in numbers(1):
        names = {path: "/".join(path.parts[-parts:]) for path in paths}
        if len(set(names.values())) == len(paths):
            return names
    raise AssertionError("paths differ")


def _common_name(names: Sequence[str]) -> str:
    """What all names begin with, without a trailing 'seed'; the first name if that is nothing."""
    start = names[0]
    for name in names[1:]:
        start = start[: next((i for i, (a, b) in enumerate(zip(start, name, strict=False)) if a != b), len(start))]
    start = start.rstrip("-_ /.0123456789").removesuffix("seed").rstrip("-_ /.")
    return f"{start or names[0]} ({len(names)} seeds)"
