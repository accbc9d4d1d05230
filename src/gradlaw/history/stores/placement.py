"""Where a gradient history goes: into memory, or onto a disk."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from gradlaw.errors import InputError
from gradlaw.problem import Problem

MEMORY = "memory"
_MEMORY_SHARE = 0.5  # of what is free, that a history may take


@dataclass(frozen=True)
class Placement:
    """The folder of a store on disk, or None for memory; a ``temporary`` one is made below it."""

    folder: Path | None
    temporary: bool
    announcement: str | None


def place(store: str | Path | None, problem: Problem, iterations: int, dtype: torch.dtype) -> Placement:
    """Decide where T gradients stored as ``dtype`` go, from their size and what is free.

    Raises:
        InputError: they do not fit where they are asked to go; the message says how many would.
    """
    row = problem.dimensions * dtype.itemsize
    needed = iterations * row
    size = f"a gradient history of T={iterations:,} x n={problem.dimensions:,} takes {needed / 1e9:.2f} GB"
    if store is not None and store != MEMORY:
        folder = Path(store)
        _check_disk(folder.parent, needed, row, size)
        return Placement(folder, False, f"{size}: stored in {folder}")
    free = free_memory(problem.device)
    fits = needed <= _MEMORY_SHARE * free
    if store == MEMORY and needed > free:
        raise InputError(
            f"{size} and {free / 1e9:.2f} GB of memory are free, which fits T={free // row:,}; give a folder as store"
        )
    if fits or store == MEMORY:
        return Placement(None, False, None)
    parent = Path(tempfile.gettempdir())
    _check_disk(parent, needed, row, size)
    where = f"more than {_MEMORY_SHARE:.0%} of the {free / 1e9:.2f} GB of memory that are free: stored below {parent}"
    return Placement(parent, True, f"{size}, {where} while it is used")


def free_memory(device: torch.device) -> int:
    """Bytes of memory that are free on a device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def _check_disk(folder: Path, needed: int, row: int, size: str) -> None:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise InputError(
            f"{size} and the disk of {existing} has {free / 1e9:.2f} GB left, which fits T={free // row:,}; lower T, "
            "or analyse a part of the parameters"
        )
