"""Where a gradient history goes: into memory, or onto a disk."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from gradlaw.errors import InputError
from gradlaw.problem import Problem
from gradlaw.resources import MEMORY_SHARE, free_memory

MEMORY = "memory"


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
    fits = needed <= MEMORY_SHARE * free
    if store == MEMORY and needed > free:
        raise InputError(
            f"{size} and {free / 1e9:.2f} GB of memory are free, which fits T={free // row:,}; give a folder as store"
        )
    if fits or store == MEMORY:
        return Placement(None, False, None)
    parent = Path(tempfile.gettempdir())
    _check_disk(parent, needed, row, size)
    where = f"more than {MEMORY_SHARE:.0%} of the {free / 1e9:.2f} GB of memory that are free: stored below {parent}"
    return Placement(parent, True, f"{size}, {where} while it is used")


def _check_disk(folder: Path, needed: int, row: int, size: str) -> None:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise InputError(
            f"{size} and the disk of {existing} has {free / 1e9:.2f} GB left, which fits T={free // row:,}; lower T, "
            "or analyse a part of the parameters"
        )
