"""Arrays in, arrays out: NumPy and torch at the border of the statistics."""

import warnings
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import InputError

Array: TypeAlias = np.ndarray | Tensor


def as_matrix(matrix: Any, what: str = "matrix") -> Tensor:
    """A float tensor of two dimensions that shares the memory of ``matrix`` where it can."""
    tensor = as_float(matrix)
    if tensor.ndim != 2:
        raise InputError(f"{what} must have two dimensions, got shape {tuple(tensor.shape)}")
    return tensor


def as_float(values: Any) -> Tensor:
    """float32 and float64 stay as they are; other real types become float64, half precisions float32."""
    tensor = values if isinstance(values, Tensor) else _shared(np.asarray(values))
    if tensor.dtype in (torch.float16, torch.bfloat16):
        return tensor.float()
    if tensor.is_complex():
        raise InputError("the values must be real, got complex numbers")
    return tensor if tensor.is_floating_point() else tensor.double()


def _shared(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():  # of memory that is not writable (a memory map, say): nothing here writes to it
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        # Torch has no negative strides.
        return torch.from_numpy(array if min(array.strides, default=0) >= 0 else array.copy())


def like(tensor: Tensor, original: Any) -> Array:
    """``tensor`` as the kind of array that ``original`` is."""
    return tensor if isinstance(original, Tensor) else tensor.cpu().numpy()


def check_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise InputError(f"alpha must lie between 0 and 1, got {alpha}")


def refuse_non_finite(matrix: Tensor, first: int = 0, transposed: bool = False) -> None:
    """Raise with the place of the first NaN or infinity, if there is one.

    ``matrix`` may be the rows ``first`` onwards of a larger one, or, ``transposed``, its columns as rows.
    """
    rows = max(1, 2**24 // max(1, matrix.shape[1]))
    for start in range(0, matrix.shape[0], rows):
        block = matrix[start : start + rows]
        bad = (~torch.isfinite(block)).nonzero()
        if len(bad):
            i, j = bad[0].tolist()
            row, column = (j, first + start + i) if transposed else (first + start + i, j)
            raise InputError(f"the value at row {row}, column {column} is {float(block[i, j])}; all must be finite")
