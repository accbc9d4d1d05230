"""An orthonormal basis of a Krylov space: rows in panels, in memory or on disk."""

import os
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
    """

    def __init__(self, dimensions: int, device: torch.device, folder: Path | None = None):
        self.dimensions, self.device, self.folder = dimensions, device, folder
        self.size = 0
        self.generation = 0  # of the files: another one with every combination of the rows
        self._saved = 0  # full panels of this generation
        self._checksums: list[int] = []  # of these
        fitting = _PANEL_BYTES.get(device.type, _PANEL_BYTES["cpu"]) // (dimensions * ROW_ITEM_BYTES)
        self.panel_rows = max(4, min(256, fitting))
        self._panels: list[Tensor] = []

    def __getitem__(self, row: int) -> Tensor:
        return self._panels[row // self.panel_rows][row % self.panel_rows].to(self.device)

    def append(self, vector: Tensor) -> None:
        """Add a row."""
        if self.size == len(self._panels) * self.panel_rows:
            self._panels.append(self._new_panel(len(self._panels), self.generation))
        self._panels[-1][self.size % self.panel_rows].copy_(vector)
        self.size += 1

    def project_out(self, vector: Tensor) -> None:
        """Take the components along all rows off a vector, in place: Gram-Schmidt, panel after panel."""
        for start, panel in self._filled():
            rows = panel[: self.size - start].to(self.device)
            vector.addmv_(rows.T, rows @ vector, alpha=-1)

    def rows(self, dtype: torch.dtype) -> Tensor:
        """All rows as one tensor (rows, n)."""
        result = torch.empty(self.size, self.dimensions, dtype=dtype, device=self.device)
        for start, panel in self._filled():
            result[start : start + len(panel)] = panel[: self.size - start]
        return result

    def combine(self, coefficients: np.ndarray) -> None:
        """Replace the rows Q by C^T Q, with C of shape (rows, new rows), no more than there are."""
        new_rows = coefficients.shape[1]
        count = -(-new_rows // self.panel_rows)
        self.generation += 1
        self._saved, self._checksums = 0, []
        target = self._panels[:count]
        if self.folder is not None:
            target = [self._new_panel(index, self.generation) for index in range(count)]
        width = max(1, _SLICE_BYTES // (ROW_ITEM_BYTES * max(1, self.size)))
        mixing = torch.from_numpy(np.ascontiguousarray(coefficients.T)).to(self.device)
        for left in range(0, self.dimensions, width):
            columns = slice(left, left + width)
            old = torch.cat([panel[: self.size - start, columns] for start, panel in self._filled()]).to(self.device)
            for index, rows in enumerate((mixing @ old).split(self.panel_rows)):
                target[index][: len(rows), columns] = rows
        self._panels, self.size = target, new_rows

    def save(self, folder: Path) -> list[int]:
        """Write the panels that are not yet in ``folder``, each whole; flush those that are mapped from there.

        Returns:
            The checksum of the rows of each panel, which :meth:`load` needs.
        """
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

    def load(self, folder: Path, size: int, generation: int, checksums: Sequence[int]) -> None:
        """Take over the first ``size`` rows that :meth:`save` wrote.

        Raises:
            InputError: a file is missing, or holds other rows than were written.
        """
        self.size, self.generation, self._saved = size, generation, size // self.panel_rows
        self._checksums = list(checksums[: self._saved])
        self._panels = []
        for index, checksum in enumerate(checksums):
            panel = self._load_panel(self._path(folder, index, generation))
            if _checksum(panel, size - index * self.panel_rows) != checksum:
                raise _damaged(self._path(folder, index, generation), "its rows have another checksum")
            self._panels.append(panel if self.folder is not None else panel.to(self.device))

    def _load_panel(self, path: Path) -> Tensor:
        mode: Literal["r+"] | None = None if self.folder is None else "r+"
        try:
            panel = np.load(path, mmap_mode=mode)
        except (OSError, ValueError) as error:
            raise _damaged(path, str(error)) from error
        if panel.shape != (self.panel_rows, self.dimensions) or panel.dtype != np.float64:
            raise _damaged(path, f"it holds {panel.dtype} of shape {panel.shape}")
        return torch.from_numpy(panel)

    def forget_old_files(self, folder: Path) -> None:
        """Delete the files of other generations."""
        for path in folder.glob("basis-*.npy"):
            if not path.name.startswith(f"basis-{self.generation:04d}-"):
                path.unlink()

    def _filled(self) -> list[tuple[int, Tensor]]:
        count = -(-self.size // self.panel_rows)
        return [(index * self.panel_rows, panel) for index, panel in enumerate(self._panels[:count])]

    def _new_panel(self, index: int, generation: int) -> Tensor:
        shape = (self.panel_rows, self.dimensions)
        if self.folder is None:
            return torch.empty(shape, dtype=torch.float64, device=self.device)
        path = self._path(self.folder, index, generation)
        with full_disk_explained(path, "a checkpoint that was saved before is whole", "run again: from it, it resumes"):
            panel = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=shape)
            _reserve(path)
        return torch.from_numpy(panel)

    @staticmethod
    def _path(folder: Path, index: int, generation: int) -> Path:
        return folder / f"basis-{generation:04d}-{index:06d}.npy"


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
