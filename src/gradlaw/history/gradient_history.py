"""The gradient history: T gradients of n dimensions."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.argument_types import checked
from gradlaw.choices import Axis
from gradlaw.errors import InputError
from gradlaw.history.index import checked_index
from gradlaw.history.record import Recorded, fields_of
from gradlaw.history.stores.precision import dtype_name
from gradlaw.history.stores.zarr_store import DiskGradients, open_store
from gradlaw.html_repr import html_table
from gradlaw.stats.arrays import as_float
from gradlaw.stats.series import series_blocks


@dataclass(frozen=True, eq=False)
class GradientHistory(Recorded):
    """The gradients of T minibatches at fixed parameters, stored as T rows of n; the paper's G is its transpose.

    ``history[t]`` and ``history[a:b]`` are gradients, of shape (n,) and (b - a, n); ``history.dimension(i)`` is what
    one parameter saw in all iterations, shape (T,). All of these, and ``blocks``, are float32 where half precision is
    stored, so that nothing is computed in half precision. Indices that there are not raise an error that is both an
    :class:`~gradlaw.InputError` and an ``IndexError``.

    Attributes:
        gradients: (T, n), finite, as stored: a tensor, or a matrix on disk that is indexed like one.

    The others are those of :class:`~gradlaw.history.record.Recorded`: ``losses``, ``layout``, ``unused``, ``rounding``,
    ``settings``, ``notices``.
    """

    gradients: Tensor | DiskGradients

    @property
    def shape(self) -> tuple[int, int]:
        """(T, n)."""
        return self.gradients.shape[0], self.gradients.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """Of the stored gradients; float16 and bfloat16 are read as float32."""
        return self.gradients.dtype

    def __repr__(self) -> str:
        iterations, dimensions = self.shape
        s = self.settings
        return (
            f"GradientHistory(T={iterations:,}, n={dimensions:,}, B={s.batch_size:,}, seed={s.seed}, {s.engine}, "
            f"{dtype_name(self.dtype)})"
        )

    def _repr_html_(self) -> str:
        (iterations, dimensions), s = self.shape, self.settings
        rows: dict[str, object] = {
            "iterations, T": f"{iterations:,}",
            "parameters, n": f"{dimensions:,} in {len(self.layout)} tensors",
            "batch size, B": f"{s.batch_size:,} of {s.samples:,} samples",
            "seed": s.seed,
            "engine": s.engine,
            "stored as": dtype_name(self.dtype),
            "mean loss": f"{float(self.losses.double().mean()):.4g}",
        }
        return html_table("Gradient history", rows | {f"note {i}": note for i, note in enumerate(self.notices, 1)})

    def __getitem__(self, t: int | slice | tuple[Any, ...]) -> Tensor:
        return as_float(self.gradients[checked_index(t, self.shape)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self[:].cpu().numpy()
        return np.array(array, dtype=dtype, copy=bool(copy)) if copy or dtype not in (None, array.dtype) else array

    @staticmethod
    @checked
    def open(folder: str | Path) -> "GradientHistory":
        """The history that ``collect(..., store=folder)`` left on disk.

        Raises:
            InputError: no history there, one whose collection did not finish, or one whose record or losses are
                damaged; gradients that are damaged or missing raise it when they are read.
        """
        gradients, losses, record = open_store(Path(folder))
        found = GradientHistory(gradients, losses=losses, **fields_of(record))
        if found.settings.sketch is not None:
            raise InputError(f"{folder} holds sketches of gradients, not gradients; open it with SketchedHistory.open")
        return found

    def dimension(self, i: int) -> Tensor:
        """The T gradients of dimension i, a whole number; shape (T,)."""
        if isinstance(i, slice | list | tuple | np.ndarray | EllipsisType):
            raise InputError(f"a dimension is one whole number, got {i!r}; history[:, ...] gives several")
        return self[:, i]

    def blocks(self, axis: Axis) -> Iterator[tuple[int, Tensor]]:
        """Yield (first, block): the series ``first`` onwards in one direction, as the rows of a view.

        ``axis="dimension"`` streams iterations, blocks of shape (m, n); ``axis="iteration"`` dimensions, (m, T).
        """
        return series_blocks(self.gradients, axis)
