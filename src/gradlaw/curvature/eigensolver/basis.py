"""An orthonormal basis of a Krylov space: rows in panels, in memory or on disk, shared out among ranks by columns.

Each rank has all rows of a share of the n values, as it has of every vector of the recurrence; products with rows are
summed over ranks.
"""

import math
import os
import re
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gradlaw.atomic import flush, full_disk_explained, write_whole
from gradlaw.errors import InputError
from gradlaw.ranks import ALONE, RankGroup

ROW_ITEM_BYTES = 8
_PANEL_BYTES = {"cpu": 4 * 2**20, "cuda": 256 * 2**20}  # a panel is read from memory once and from the cache twice
_SLICE_BYTES = 128 * 2**20  # of the columns that are combined at a time


class Basis:
    """Rows of n float64 values, appended one by one.

    In float32 the rounding errors of the recurrence would exceed those of float32 products ten times.

    Args:
        dimensions: n.
        device: where vectors are; panels are there too, unless they are on disk.
        folder: keep panels there, as memory-mapped files. Default: in memory.
        ranks: that have it together.
    """

    def __init__(self, dimensions: int, device: torch.device, folder: Path | None = None, ranks: RankGroup = ALONE):
        self.dimensions, self.device, self.folder, self.ranks = dimensions, device, folder, ranks
        self.columns = ranks.share(dimensions)
        self.size = 0
        self.generation = 0  # of the files: another one with every combination of the rows
        self._saved = 0  # full panels of this generation
        self._checksums: list[int] = []  # of these
        widest = max(map(len, ranks.shares(dimensions)))  # so that panels are made at the same time on every rank
        fitting = _PANEL_BYTES.get(device.type, _PANEL_BYTES["cpu"]) // (widest * ROW_ITEM_BYTES)
        self.panel_rows = max(4, min(256, fitting))
        self._panels: list[Tensor] = []

    def __getitem__(self, row: int) -> Tensor:
        return self._panels[row // self.panel_rows][row % self.panel_rows].to(self.device)

    def append(self, vector: Tensor) -> None:
        """Add a row."""
        if self.size == len(self._panels) * self.panel_rows:
            with self.ranks.together():
                self._panels.append(self._new_panel(len(self._panels), self.generation))
        self._panels[-1][self.size % self.panel_rows].copy_(vector)
        self.size += 1

    def project_out(self, vector: Tensor) -> float:
        """Take the components along all rows off a vector, in place: Gram-Schmidt, panel after panel.

        Over ranks all panels are taken at once, for one sum in all.

        Returns:
            The length that the vector had.
        """
        before = torch.linalg.vector_norm(vector)
        panels = [panel[: self.size - start] for start, panel in self._filled()]
        if self.ranks.size == 1:
            for panel in panels:
                rows = panel.to(self.device)
                vector.addmv_(rows.T, rows @ vector, alpha=-1)
            return float(before)
        along = [panel.to(self.device) @ vector for panel in panels]
        *parts, square = self.ranks.sum(torch.cat([*along, before.square()[None]])).split([*map(len, along), 1])
        for panel, part in zip(panels, parts, strict=True):
            vector.addmv_(panel.to(self.device).T, part, alpha=-1)
        return math.sqrt(float(square))

    def rows(self, dtype: torch.dtype) -> Tensor:
        """All rows as one tensor (rows, n), on every rank."""
        result = torch.empty(self.size, self.dimensions, dtype=dtype, device=self.device)
        for start, panel in self._filled():
            rows = panel[: self.size - start].to(self.device, dtype)
            result[start : start + len(panel)] = self.ranks.joined(rows, self.dimensions)
        return result

    def combine(self, coefficients: np.ndarray) -> None:
        """Replace the rows Q by C^T Q, with C of shape (rows, new rows), no more than there are."""
        with self.ranks.together():
            self._combine(coefficients)

    def _combine(self, coefficients: np.ndarray) -> None:
        new_rows = coefficients.shape[1]
        count = -(-new_rows // self.panel_rows)
        self.generation += 1
        self._saved, self._checksums = 0, []
        target = self._panels[:count]
        if self.folder is not None:
            target = [self._new_panel(index, self.generation) for index in range(count)]
        width = max(1, _SLICE_BYTES // (ROW_ITEM_BYTES * max(1, self.size)))
        mixing = torch.from_numpy(np.ascontiguousarray(coefficients.T)).to(self.device)
        for left in range(0, len(self.columns), width):
            columns = slice(left, left + width)
            old = torch.cat([panel[: self.size - start, columns] for start, panel in self._filled()]).to(self.device)
            for index, rows in enumerate((mixing @ old).split(self.panel_rows)):
                target[index][: len(rows), columns] = rows
        self._panels, self.size = target, new_rows

    def save(self, folder: Path) -> list[list[int]]:
        """Write the panels that are not yet in ``folder``, each whole; flush those that are mapped from there.

        Returns:
            By rank the checksum of the rows of each of its panels, which :meth:`load` needs.
        """
        with self.ranks.together():
            checksums = self._save(folder)
        return self.ranks.gather(checksums)

    def _save(self, folder: Path) -> list[int]:
        checksums = list(self._checksums)
        for index, (start, panel) in enumerate(self._filled()):
            if index >= len(self._checksums):
                checksums.append(_checksum(panel, self.size - start))
            if index >= self._saved:
                path = self._path(folder, index, self.generation)
                if self.folder is None:
                    write_whole(path, partial(_write_array, panel.cpu().numpy()), then="run again: it resumes")
                else:
                    flush(path)
                self._saved += start + self.panel_rows <= self.size
        self._checksums = checksums[: self._saved]
        return checksums

    def load(self, folder: Path, size: int, generation: int, checksums: Sequence[Sequence[int]]) -> None:
        """Take over the first ``size`` rows that :meth:`save` wrote, on as many ranks or on others.

        Args:
            folder: that every rank reads.
            size: rows that count.
            generation: of the files.
            checksums: as :meth:`save` returned them.

        Raises:
            InputError: a file is missing, or holds other rows than were written.
        """
        self.size, self.generation, self._panels = size, generation, []
        with self.ranks.together():
            if len(checksums) == self.ranks.size:
                self._load_own(folder, checksums[self.ranks.rank])
            else:
                self._load_shared_otherwise(folder, checksums)

    def _load_own(self, folder: Path, checksums: Sequence[int]) -> None:
        self._saved = self.size // self.panel_rows
        self._checksums = list(checksums[: self._saved])
        for index, checksum in enumerate(checksums):
            path = self._path(folder, index, self.generation)
            panel = _load_panel(path, len(self.columns), None if self.folder is None else "r+")
            if len(panel) != self.panel_rows:
                raise _damaged(path, f"it holds {len(panel)} rows")
            _check_rows(path, panel, self.size - index * self.panel_rows, checksum)
            self._panels.append(panel if self.folder is not None else panel.to(self.device))

    def _load_shared_otherwise(self, folder: Path, checksums: Sequence[Sequence[int]]) -> None:
        """Put the rows together from files of another number of ranks; nothing of them is saved under new names yet."""
        self._saved, self._checksums = 0, []
        self._panels = [self._new_panel(i, self.generation) for i in range(-(-self.size // self.panel_rows))]
        old, mine = RankGroup(size=len(checksums)), self.columns
        for rank, columns in enumerate(old.shares(self.dimensions)):
            here = range(max(columns.start, mine.start), min(columns.stop, mine.stop))
            row = 0
            for index, checksum in enumerate(checksums[rank] if here else ()):
                path = _path(folder, index, self.generation, rank, old.size)
                panel = _load_panel(path, len(columns), "c")
                _check_rows(path, panel, self.size - row, checksum)
                for values in panel[: self.size - row, here.start - columns.start : here.stop - columns.start]:
                    target = self._panels[row // self.panel_rows][row % self.panel_rows]
                    target[here.start - mine.start : here.stop - mine.start] = values
                    row += 1

    def forget_old_files(self, folder: Path) -> None:
        """Delete the files of other generations and of another number of ranks."""
        part = "" if self.ranks.size == 1 else rf"-\d+-of-{self.ranks.size}"
        current = re.compile(rf"basis-{self.generation:04d}-\d+{part}\.npy")
        with self.ranks.together():
            for path in folder.glob("basis-*.npy"):
                if not current.fullmatch(path.name):
                    path.unlink(missing_ok=True)  # another rank may have been faster

    def _filled(self) -> list[tuple[int, Tensor]]:
        count = -(-self.size // self.panel_rows)
        return [(index * self.panel_rows, panel) for index, panel in enumerate(self._panels[:count])]

    def _new_panel(self, index: int, generation: int) -> Tensor:
        shape = (self.panel_rows, len(self.columns))
        if self.folder is None:
            return torch.empty(shape, dtype=torch.float64, device=self.device)
        path = self._path(self.folder, index, generation)
        with full_disk_explained(path, "a checkpoint that was saved before is whole", "run again: from it, it resumes"):
            panel = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=shape)
            _reserve(path)
        return torch.from_numpy(panel)

    def _path(self, folder: Path, index: int, generation: int) -> Path:
        return _path(folder, index, generation, self.ranks.rank, self.ranks.size)


def _path(folder: Path, index: int, generation: int, rank: int, ranks: int) -> Path:
    part = "" if ranks == 1 else f"-{rank}-of-{ranks}"
    return folder / f"basis-{generation:04d}-{index:06d}{part}.npy"


def _load_panel(path: Path, width: int, mode: Literal["c", "r+"] | None) -> Tensor:
    """A panel of rows of ``width`` values, mapped from its file or in memory."""
    try:
        panel = np.load(path, mmap_mode=mode)
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    if panel.ndim != 2 or panel.shape[1] != width or panel.dtype != np.float64:
        raise _damaged(path, f"it holds {panel.dtype} of shape {panel.shape}")
    return torch.from_numpy(panel)


def _check_rows(path: Path, panel: Tensor, rows: int, checksum: int) -> None:
    if _checksum(panel, rows) != checksum:
        raise _damaged(path, "its rows have another checksum")


def _reserve(path: Path) -> None:
    """Have the blocks of a file, which is empty until it is written: a disk that is full ends a process that writes
    to memory mapped from it, without a word.
    """
    if not hasattr(os, "posix_fallocate"):  # Windows and macOS
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError:
            path.unlink()
            raise


def _checksum(panel: Tensor, rows: int) -> int:
    """CRC-32 of the first rows of a panel, of as many as it has."""
    return zlib.crc32(panel[:rows].cpu().numpy().data)


def _damaged(path: Path, how: str) -> InputError:
    return InputError(f"{path} is damaged or missing ({how}); delete the folder {path.parent}, and compute again")


def _write_array(values: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, values)  # given a path, it would add a suffix
