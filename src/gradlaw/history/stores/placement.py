"""Where a gradient history goes: into memory, or onto a disk."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from gradlaw.errors import InputError
from gradlaw.history.stores.zarr_store import BAND_BYTES, stored_bytes
from gradlaw.problem import Problem
from gradlaw.resources import MEMORY_SHARE, free_memory, gram_bytes

MEMORY = "memory"


@dataclass(frozen=True)
class Placement:
    """The folder of a store on disk, or the one to make a temporary store in; None for the memory of the device."""

    folder: Path | None
    device: torch.device
    announcement: str | None


def place(
    store: str | Path | None,
    problem: Problem,
    iterations: int,
    dtype: torch.dtype,
    band_bytes: int = BAND_BYTES,
    columns: int | None = None,
) -> Placement:
    """Decide where T gradients stored as ``dtype`` go, from their size and what is free; ``columns`` if not n.

    Unless told, a history stays in memory if that takes half of it or less and leaves room for its spectra.

    Raises:
        InputError: they do not fit where they are asked to go; the message says how many would.
    """
    width = problem.dimensions if columns is None else columns
    shape, row = (iterations, width), width * dtype.itemsize
    needed, on_disk = iterations * row, stored_bytes(shape, dtype, band_bytes)
    what = f"a gradient history of T={iterations:,} x n={width:,}"
    if columns not in (None, problem.dimensions):
        what = f"T={iterations:,} sketches of {width:,} numbers (with the tests)"
    size = f"{what} takes {needed / 1e9:.2f} GB"
    spectra = gram_bytes(iterations) if width == problem.dimensions else 0
    if store is not None and store != MEMORY:
        folder = Path(store)
        _check_disk(folder, on_disk - _bytes_in(folder), row, size)
        return Placement(folder, problem.device, f"{size}: stored in {folder}")
    free = free_memory(problem.device)
    leaves_room = needed + spectra <= free or spectra > free  # for which there is none anyway
    fits = needed <= MEMORY_SHARE * free and leaves_room
    if store == MEMORY and needed > free:
        raise InputError(
            f"{size} and {free / 1e9:.2f} GB of memory are free, which fits T={free // row:,}; give a folder as store"
        )
    if fits or store == MEMORY:
        return Placement(None, problem.device, None)
    parent = Path(tempfile.gettempdir())
    _check_disk(parent, on_disk, row, size)
    beside = f"with {spectra / 1e9:.2f} GB of its spectra more than all"
    too_much = f"more than {MEMORY_SHARE:.0%}" if leaves_room else beside
    where = f"{too_much} of the {free / 1e9:.2f} GB of memory that are free: stored below {parent}"
    return Placement(parent, problem.device, f"{size}, {where} while it is used")


def _bytes_in(folder: Path) -> int:
    """What an earlier call wrote there already."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _check_disk(folder: Path, needed: int, row: int, size: str) -> None:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise InputError(
            f"{size}, {needed / 1e9:.2f} GB of disk, and that of {existing} has {free / 1e9:.2f} GB left, which fits "
            f"T={free // row:,}; lower T, or analyse a part of the parameters"
        )
