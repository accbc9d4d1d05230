"""Results that hold arrays, compared by value."""

import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

_BLOCK = 2**24  # values of a matrix on disk compared at once


class ByValue:
    """The base of frozen dataclasses that hold arrays or tables.

    Two are equal if they are of one class and all of their fields are: arrays with the same shape, type and values,
    wherever they are stored, tables with the same columns; NaN equals NaN. Like arrays they have no hash, so that they
    are neither keys nor members of sets. A subclass is declared with ``@dataclass(frozen=True, eq=False)``.
    """

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(other) is not type(self):
            return NotImplemented
        names = [field.name for field in fields(self) if field.compare]  # type: ignore[arg-type]
        return all(equal(getattr(self, name), getattr(other, name)) for name in names)


def equal(a: Any, b: Any) -> bool:
    """Whether two values of fields are the same, as :class:`ByValue` compares them."""
    if a is b:
        return True
    if isinstance(a, Tensor | np.ndarray) and isinstance(b, Tensor | np.ndarray):
        return type(a) is type(b) and _equal_arrays(a, b)
    if _is_matrix(a) and _is_matrix(b):
        return _equal_matrices(a, b)
    if _is_table(a):
        return type(a) is type(b) and bool(a.equals(b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(equal(value, b[key]) for key, value in a.items())
    if isinstance(a, list | tuple) and type(a) is type(b):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    if type(a) is not type(b) and any(hasattr(value, "shape") for value in (a, b)):
        return False
    return bool(a == b)


def _equal_arrays(a: Any, b: Any) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if isinstance(a, Tensor):
        b = b.to(a.device)
        return bool(((a == b) | ((a != a) & (b != b))).all())
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))


def _is_table(value: Any) -> bool:
    """A table or column of pandas, without loading it: who has such values has loaded it."""
    pd = sys.modules.get("pandas")
    return pd is not None and isinstance(value, pd.DataFrame | pd.Series)


def _is_matrix(value: Any) -> bool:
    """A tensor, or what is read from a disk as one."""
    return isinstance(value, Tensor) or isinstance(getattr(value, "dtype", None), torch.dtype)


def _equal_matrices(a: Any, b: Any) -> bool:
    if tuple(a.shape) != tuple(b.shape) or a.dtype != b.dtype:
        return False
    rows = max(1, _BLOCK // max(1, a.shape[1]))
    return all(_equal_arrays(a[i : i + rows], b[i : i + rows]) for i in range(0, a.shape[0], rows))
