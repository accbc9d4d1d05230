"""Whether a folder that gradlaw wrote is whole: every file against the digests that were taken when it was written."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from gradlaw.analysis.run_directory import RECORD, WRITING, WRITTEN, claimed, data_of, manifest_of_run
from gradlaw.analyze import Analysis
from gradlaw.argument_types import checked
from gradlaw.errors import InputError
from gradlaw.extras import extra
from gradlaw.history.repair import repair as repair_history
from gradlaw.history.stores.chunk_files import CHUNKS as _CHUNKS
from gradlaw.history.stores.integrity import check as check_store
from gradlaw.history.stores.zarr_store import GRADIENTS
from gradlaw.manifest import MANIFEST
from gradlaw.output_files import output_faults, output_manifests
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.reproduction.measurement import content_key
from gradlaw.reproduction.store import RECORD as RESULT
from gradlaw.reproduction.store import load_result
from gradlaw.training.checkpoint import REPLACED, latest, load_checkpoint
from gradlaw.training.resume import optimiser_tensors
from gradlaw.watch.read import read_watch

_STORE = "zarr.json"  # of a gradient history
_SHOWN = 60  # characters of a line
_GIVE_PROBLEM = (
    "with the problem that it is of, --repair computes what is damaged again: gl.verify(..., repair=True, problem=...) "
    "or gradlaw verify --repair with the --problem, --data, --model, --checkpoint, --seed, ... of the command"
)
Read = TypeVar("Read")


@dataclass(frozen=True)
class Damage:
    """A file that is not what was written.

    Attributes:
        file: which.
        what: is wrong with it, and what to do.
        repaired: it was made again, or removed so that the next run makes it again.
    """

    file: Path
    what: str
    repaired: bool = False


@dataclass(frozen=True)
class Verification:
    """What :func:`verify` found.

    Attributes:
        directory: that was looked at.
        holds: what it is, in words.
        files: how many were checked.
        damages: one a damaged file.
        remarks: what is no damage and worth knowing.
    """

    directory: Path
    holds: str
    files: int
    damages: tuple[Damage, ...]
    remarks: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged any more."""
        return all(damage.repaired for damage in self.damages)

    def __str__(self) -> str:
        state = "whole" if self.whole else "damaged"
        lines = [f"{self.directory}: {self.holds}, {self.files} files checked: {state}"]
        lines += [f"  {'repaired' if one.repaired else 'damaged'}: {one.file}: {one.what}" for one in self.damages]
        return "\n".join(lines + [f"  note: {remark}" for remark in self.remarks])


@checked
def verify(
    directory: str | Path, repair: bool = False, *, problem: Problem | None = None, progress: Progress | None = None
) -> Verification:
    """Check every file of a run directory, a folder of runs, a gradient history, a training, or a store of results; or
    the log of a watch.

    Args:
        directory: that one of them is in; of a watch the file of its log.
        repair: make again what can be made from the rest: the figures and page of a run; with ``problem`` the damaged
            chunks of a gradient history, which are computed again and proven to be what was written; and remove damaged
            results of a store, which the command that made them then measures again, alone.
        problem: whose gradients the history holds: code that a file names is never run, so it has to be given.
        progress: where to show it.

    Returns:
        What is damaged, and what to do about each.

    Raises:
        InputError: the directory is not there or holds none of these, another process writes what is to be repaired, a
            problem that is not that of the history, or gradients that cannot be proven to be what was lost.
    """
    directory, progress = Path(directory), progress or SILENT
    if directory.is_file():
        return _log(directory)
    if not directory.is_dir():
        raise InputError(f"there is no directory {directory}")
    found = [*_whole(directory, repair, problem, progress), *_outputs(directory)]
    if not found:
        raise InputError(f"{directory} holds no run, gradients, training or store of results that gradlaw wrote")
    return Verification(
        directory,
        " and ".join(dict.fromkeys(one.holds for one in found)),
        sum(one.files for one in found),
        tuple(damage for one in found for damage in one.damages),
        tuple(remark for one in found for remark in one.remarks),
    )


def _whole(directory: Path, repair: bool, problem: Problem | None, progress: Progress) -> list[Verification]:
    """Runs, gradients, trainings and results."""
    if any((directory / name).exists() for name in (RECORD, WRITING, WRITTEN)) or (directory / MANIFEST).is_file():
        return [_run(directory, repair, progress)]
    if (directory / _STORE).is_file() or (directory / GRADIENTS / _STORE).is_file():
        return [_history(directory, problem if repair else None, progress)]
    runs = [_run(folder, repair, progress) for folder in sorted(directory.iterdir()) if (folder / RECORD).is_file()]
    return [*_trainings(directory), *_results(directory, repair), *runs]


def _outputs(directory: Path) -> Iterator[Verification]:
    """What commands wrote beside, each with a manifest of its own."""
    for kind, manifest in output_manifests(directory):
        files, damage = _tried(partial(output_faults, manifest), manifest)
        damages = [Damage(file, fault) for file, fault in (files or {}).items() if fault]
        damages += [damage] if damage else []
        yield Verification(directory, f"the output {kind!r}", len(files or ()) + 1, tuple(damages))


def _log(file: Path) -> Verification:
    """Of a watch."""
    log, damage = _tried(partial(read_watch, file), file)
    remarks = [] if log is None else [f"cut off by a kill: {line[:_SHOWN]}" for line in log.broken]
    remarks += ["its lines have no digests: damage would not be seen"] * (log is not None and log.header["format"] == 1)
    return Verification(file, "the log of a watch", 1, (damage,) if damage else (), tuple(remarks))


def _history(directory: Path, problem: Problem | None, progress: Progress) -> Verification:
    """Gradients; repaired if the problem is given."""
    damages = tuple(Damage(one.file, one.message) for one in check_store(directory))
    if problem is not None:
        repaired = repair_history(directory, problem, progress)
        damages = tuple(replace(damage, repaired=damage.file in repaired) for damage in damages)
    files = sum(path.is_file() for path in directory.rglob("*"))
    only_chunks = damages and all(_CHUNKS in damage.file.parts for damage in damages)
    remarks = (_GIVE_PROBLEM,) if only_chunks and problem is None else ()
    return Verification(directory, "a gradient history", files, damages, remarks)


def _run(directory: Path, repair: bool, progress: Progress) -> Verification:
    with extra("report", "checking a run"):
        from gradlaw.report.write import finish_run  # loads matplotlib
    if not repair:
        return _look_at_run(directory)
    with claimed(directory) as place:
        found = _look_at_run(directory)
        manifest = manifest_of_run(directory)
        drawn = {directory / name for name in (manifest.files if manifest else ())}
        drawn -= {directory / name for name in (data_of(manifest) if manifest else ())}
        if found.whole or any(damage.file not in drawn for damage in found.damages):
            return found
        finish_run(Analysis.load(directory), place, directory, progress)
    return replace(found, damages=tuple(replace(damage, repaired=True) for damage in found.damages))


def _look_at_run(directory: Path) -> Verification:
    holds = "a run"
    remarks = [f"a run was begun and not finished: repeat its command; see {directory / WRITING}"]
    remarks = remarks if (directory / WRITING).is_dir() else []
    manifest, damage = _tried(partial(manifest_of_run, directory), directory / MANIFEST)
    if damage:
        return Verification(directory, holds, 1, (damage,), tuple(remarks))
    if manifest is None:
        if not (directory / RECORD).exists():
            return Verification(directory, "a run that was not finished", 0, (), tuple(remarks))
        _, damage = _tried(partial(Analysis.load, directory), directory / RECORD)
        remarks.append(f"it has no {MANIFEST}: whether its files are what was written cannot be told")
        return Verification(directory, holds, 1, (damage,) if damage else (), tuple(remarks))
    data = data_of(manifest)
    again = {True: "measure it again: its command with --force", False: "gradlaw verify --repair draws it again"}
    damages = tuple(
        Damage(directory / name, f"{fault}; {again[name in data]}") for name, fault in manifest.faults().items()
    )
    return Verification(directory, holds, len(manifest.files) + 1, damages, tuple(remarks))


def _trainings(directory: Path) -> Iterator[Verification]:
    """The training in a folder, and those of a store."""
    kept = directory / "checkpoints"
    for place in (directory, *(sorted(kept.iterdir()) if kept.is_dir() else ())):
        folder = place / REPLACED if (place / REPLACED).is_dir() else place  # files on their way to their places
        records = [*sorted(folder.glob("epoch-*.json")), *sorted(folder.glob("point-*.json"))]
        if not records and (weights := [*folder.glob("epoch-*.safetensors"), *folder.glob("point-*.safetensors")]):
            lost = Damage(folder, f"no JSON is beside {weights[0].name}: no epoch was finished; train again (--resume)")
            yield Verification(folder, "a training", len(weights), (lost,))
        if records:
            damages = [_tried(partial(load_checkpoint, record), record)[1] for record in records]
            last = latest(folder)
            if last is not None and not any(damages):
                damages.append(_tried(partial(_optimiser_of, last), last)[1])
            yield Verification(folder, "a training", 2 * len(records) + 1, tuple(filter(None, damages)))


def _optimiser_of(record: Path) -> None:
    optimiser_tensors(load_checkpoint(record))


def _results(directory: Path, repair: bool) -> Iterator[Verification]:
    """The results of a store, together."""
    folders = [path for path in sorted(directory.iterdir()) if (path / RESULT).is_file() or (path / MANIFEST).is_file()]
    folders = [folder for folder in folders if not (folder / RECORD).exists()]
    damages = []
    for folder in folders:
        _, damage = _tried(partial(_check_result, folder), folder)
        if damage and repair:
            shutil.rmtree(folder)
        damages += [replace(damage, repaired=repair)] if damage else []
    if folders:
        yield Verification(directory, "a store of results", 3 * len(folders), tuple(damages))


def _check_result(folder: Path) -> None:
    record = load_result(folder).record
    if content_key(record.get("measurement", {})) != folder.name:
        raise InputError(f"the name of {folder} is not the key of its settings; remove it and run again")


def _tried(read: Callable[[], Read], file: Path) -> tuple[Read | None, Damage | None]:
    """What is read, or what is wrong with it."""
    try:
        return read(), None
    except InputError as error:
        return None, Damage(file, str(error))
