"""An orthonormal basis of a Krylov space: rows in panels, in memory or on disk."""

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gradlaw.atomic import flush, write_whole

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
        self._saved = 0
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

    def save(self, folder: Path) -> None:
        """Write the panels that are not yet in ``folder``, each whole; flush those that are mapped from there."""
        for index, (start, panel) in enumerate(self._filled()):
            if index >= self._saved:
                path = self._path(folder, index, self.generation)
                if self.folder is None:
                    write_whole(path, partial(_write_array, panel.cpu().numpy()), then="run again: it resumes")
                else:
                    flush(path)
                self._saved += start + self.panel_rows <= self.size

    def load(self, folder: Path, size: int, generation: int) -> None:
        """Take over the first ``size`` rows that :meth:`save` wrote."""
        self.size, self.generation, self._saved = size, generation, size // self.panel_rows
        paths = [self._path(folder, index, generation) for index in range(-(-size // self.panel_rows))]
        mode: Literal["r+"] | None = None if self.folder is None else "r+"
        panels = [torch.from_numpy(np.load(path, mmap_mode=mode)) for path in paths]
        self._panels = panels if self.folder is not None else [panel.to(self.device) for panel in panels]

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
        return torch.from_numpy(np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=shape))

    @staticmethod
    def _path(folder: Path, index: int, generation: int) -> Path:
        return folder / f"basis-{generation:04d}-{index:06d}.npy"


def _write_array(values: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, values)  # given a path, it would add a suffix
