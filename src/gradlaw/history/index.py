"""Indices of a gradient history, checked: the same ones for a history in memory and on disk, with the same errors."""

from typing import Any

import numpy as np
import torch

from gradlaw.errors import InputError

_NAMES = ("iterations", "dimensions")


class IndexOutOfRange(InputError, IndexError):
    """An index that a gradient history does not have."""


def checked_index(key: Any, shape: tuple[int, int]) -> Any:
    """The index as a tensor and a matrix on disk both take it.

    Args:
        key: an integer, a slice, integers, or truth values one an element; or a tuple of one or two of them, which are
            of iterations and dimensions. ``...`` is all of both.
        shape: (T, n).

    Raises:
        IndexOutOfRange: another index, or one beyond the end; it is an :class:`IndexError` too, so that a history can
            be gone through like a list.
    """
    if key is Ellipsis:
        return slice(None), slice(None)
    if not isinstance(key, tuple):
        return _of_axis(key, shape[0], _NAMES[0])
    if len(key) > len(shape):
        raise IndexOutOfRange(f"a gradient history has iterations and dimensions, got {len(key)} indices")
    return tuple(_of_axis(*one) for one in zip(key, shape, _NAMES, strict=False))


def _of_axis(key: Any, size: int, name: str) -> Any:
    if isinstance(key, slice):
        bounds = (key.start, key.stop, key.step)
        if not all(bound is None or _is_whole(bound) for bound in bounds) or (key.step is not None and key.step < 1):
            raise IndexOutOfRange(f"a slice of {name} has whole bounds and a step of at least 1, got {key}")
        return key
    if _is_whole(key):
        return int(_in_range(np.asarray(int(key)), size, name))
    if isinstance(key, list | np.ndarray | torch.Tensor):
        return _many(key, size, name)
    raise IndexOutOfRange(f"{name} are indexed by whole numbers, slices or arrays of them, got {key!r}")


def _many(key: Any, size: int, name: str) -> np.ndarray:
    try:
        indices = np.asarray(key.cpu() if isinstance(key, torch.Tensor) else key)
    except (ValueError, TypeError) as error:
        raise IndexOutOfRange(f"{name} are indexed by one list of whole numbers: {error}") from error
    if indices.dtype == bool and indices.shape == (size,):
        return np.flatnonzero(indices)
    if indices.size == 0 and indices.ndim == 1:
        return indices.astype(np.int64)
    if indices.dtype.kind not in "iu" or indices.ndim != 1:
        raise IndexOutOfRange(
            f"{name} are indexed by one list of whole numbers, or by {size:,} truth values, got {indices.dtype} of "
            f"shape {indices.shape}"
        )
    return _in_range(indices, size, name)


def _in_range(indices: np.ndarray, size: int, name: str) -> np.ndarray:
    outside = indices[(indices < -size) | (indices >= size)]
    if outside.size:
        raise IndexOutOfRange(f"the history has {size:,} {name}, 0 to {size - 1:,}; there is no {outside.flat[0]:,}")
    return np.where(indices < 0, indices + size, indices).astype(np.int64)


def _is_whole(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.ndim == 0 and not value.is_floating_point() and value.dtype != torch.bool
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
