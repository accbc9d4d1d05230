"""Where the basis of an eigensolver goes, and how many rows it may have."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

from gradlaw.curvature.eigensolver.basis import ROW_ITEM_BYTES
from gradlaw.ranks import ALONE, RankGroup
from gradlaw.resources import memory_budget

_USUAL_ROWS = 5  # of the basis, per eigenpair: seen for LeNet on MNIST


@dataclass(frozen=True)
class BasisBudget:
    """How many rows of the basis there may be before a restart, in memory or ``on_disk``, and that in words."""

    capacity: int
    on_disk: bool
    announcement: str


def basis_budget(
    k: int,
    dimensions: int,
    device: torch.device,
    memory: float | None,
    folder: Path | None,
    ranks: RankGroup = ALONE,
) -> BasisBudget:
    """Decide from the size of the basis and what is free; of several ranks for the share of each.

    Raises:
        InputError: the basis fits neither into memory nor onto the disk.
    """
    row = max(map(len, ranks.shares(dimensions))) * ROW_ITEM_BYTES
    granted_bytes = memory_budget(device, memory)
    if memory is None:
        granted_bytes = int(ranks.least_part(str(device), granted_bytes))
    affordable = granted_bytes // row
    in_memory = affordable >= min(dimensions, 2 * k + 50)
    capacity = min(dimensions, affordable, 10 * k + 500) if in_memory else min(dimensions, 3 * k + 100)
    usual = min(capacity, _USUAL_ROWS * k + 100)
    size = (
        f"Lanczos for k={k:,} of n={dimensions:,}: the basis takes about {usual * row / 1e9:.2f} GB ({usual:,} rows), "
        f"at most {capacity * row / 1e9:.2f} GB ({capacity:,} rows, then a restart)"
        + (f", on each of {ranks.size} ranks" if ranks.size > 1 else "")
    )
    if in_memory:
        return BasisBudget(capacity, False, size)
    parent = Path(tempfile.gettempdir()) if folder is None else folder
    needed, left = (capacity + k) * row, ranks.least_part(f"disk of {parent}", shutil.disk_usage(parent).free)
    granted = f"{granted_bytes / 1e9:.2f} GB of memory are granted"
    if needed > left:
        raise ranks.common_error(
            f"{size}; {granted} and the disk of {parent} has {left / 1e9:.2f} GB left of {needed / 1e9:.2f} GB needed; "
            "lower k, or give a checkpoint folder on another disk"
        )
    return BasisBudget(capacity, True, f"{size}; {granted}, so it is on disk in {parent}, which is slower")
