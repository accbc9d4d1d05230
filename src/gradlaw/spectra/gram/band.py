"""A symmetric matrix reduced to a band, and the band to a tridiagonal matrix.

Half of the work of a direct reduction to a tridiagonal matrix is products with single vectors, which wait for memory.
Here nearly all is products of blocks, each read once for a panel of columns (Bischof, Lang and Sun 2000); what is left,
the band, is small. The backward error is the same, a few eps64 ||K||, for both are Householder reflections.
"""

import ctypes
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import cython_lapack
from torch import Tensor

WIDTH = 48  # columns of a panel: diagonals of the band beside the main one
ROWS = 384  # of a block: with fewer or more of both it takes longer, measured at T = 3000


class _Update(NamedTuple):
    """V W^T + W V^T, to be taken off what a panel leaves: L R^T of L = [V W] and R = [W V]."""

    left: Tensor
    right: Tensor


def band_of(matrix: Tensor, width: int = WIDTH, rows: int = ROWS) -> np.ndarray:
    """The band of Q^T K Q for an orthogonal Q that leaves the first ``width`` coordinates alone.

    Panel after panel of ``width`` columns is made triangular by reflections I - V T V^T, which take V W^T + W V^T off
    the rest, W = K V T - V (T^T V^T K V T) / 2. What one panel takes off is taken off block by block while the product
    for the next is formed, on and below the diagonal alone.

    Args:
        matrix: K, shape (T, T), float64, on the CPU; overwritten.
        width: of the band, below the diagonal.
        rows: of a block: a memory knob that changes the order of sums alone.

    Returns:
        Shape (T, columns), width + 1 columns or T of them: element (j, d) is that of row j + d and column j.
    """
    size, start, update = len(matrix), 0, None
    width = min(width, size - 1)
    while size - start - width > 1:
        top = start + width
        if update is not None:
            matrix[start:, start:top].addmm_(update.left, update.right[:width].T, alpha=-1)
        v, t = _triangular(matrix[top:, start:top])
        w = _updated_product(matrix, top, update, v, rows) @ t
        w.addmm_(v, t.T @ (v.T @ w), alpha=-0.5)
        start, update = top, _Update(torch.cat([v, w], dim=1), torch.cat([w, v], dim=1))
    if update is not None:
        matrix[start:, start:].addmm_(update.left, update.right.T, alpha=-1)
    band = np.zeros((size, width + 1))
    for below in range(width + 1):
        band[: size - below, below] = matrix.diagonal(-below)
    return band


def _triangular(panel: Tensor) -> tuple[Tensor, Tensor]:
    """Replace a panel by R of its QR decomposition; V and T of Q = I - V T V^T."""
    factors, scales = torch.geqrf(panel)
    count = len(scales)
    panel.zero_()
    panel[:count] = factors[:count].triu()
    v = factors[:, :count].tril(-1)
    v.diagonal().fill_(1)
    # T = (D^-1 + U)^-1 of D the scales, some of which may be 0, and U the products of reflections with later ones.
    unit = torch.eye(count, dtype=v.dtype) + scales[:, None] * (v.T @ v).triu(1)
    return v, torch.linalg.solve_triangular(unit, torch.diag(scales), upper=True)


def _updated_product(matrix: Tensor, top: int, update: _Update | None, v: Tensor, rows: int) -> Tensor:
    """Take an update off the rows and columns from ``top`` on, and multiply them by V.

    Blocks begin at multiples of ``rows``, wherever ``top`` is: those on the diagonal are kept in full.
    """
    product, size = torch.zeros_like(v), len(matrix)
    for first, last in pairwise([top, *range(top // rows * rows + rows, size, rows), size]):
        block = matrix[first:last, top:last]
        if update is not None:
            before = len(update.left) - size  # the update begins a panel earlier
            left, right = update.left[first + before : last + before], update.right[top + before : last + before]
            block.addmm_(left, right.T, alpha=-1)
        here = slice(first - top, last - top)
        product[here].addmm_(block, v[: last - top])
        product[: first - top].addmm_(block[:, : first - top].T, v[here])
    return product


def tridiagonal_of_band(band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal (T,) and what is beside it (T - 1,) of a tridiagonal matrix, similar to a band by rotations that leave
    the first coordinate alone (LAPACK's dsbtrd of the lower band).

    Args:
        band: as of :func:`band_of`, C-contiguous; overwritten.
    """
    size, columns = band.shape
    diagonal, beside, work, none, info = np.empty(size), np.empty(size), np.empty(size), np.empty(1), ctypes.c_int(0)
    integers = [ctypes.c_int(value) for value in (size, columns - 1, columns, 1)]
    n, width, rows, one = map(ctypes.byref, integers)
    _dsbtrd()(b"N", b"L", n, width, *_pointers(band), rows, *_pointers(diagonal, beside, none), one, *_pointers(work),
              ctypes.byref(info))  # fmt: skip
    if info.value:
        raise ArithmeticError(f"dsbtrd refuses its argument {-info.value}")
    return diagonal, beside[: size - 1]


def _pointers(*arrays: np.ndarray) -> list[int]:
    return [array.ctypes.data for array in arrays]


def _dsbtrd() -> Callable[..., None]:
    """LAPACK's routine, which SciPy wraps for Cython alone."""
    capsule = cython_lapack.__pyx_capi__["dsbtrd"]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype, api.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address = api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))
    text, number, array = ctypes.c_char_p, ctypes.POINTER(ctypes.c_int), ctypes.c_void_p
    kinds: list[Any] = [text, text, number, number, array, number, array, array, array, number, array, number]
    return ctypes.CFUNCTYPE(None, *kinds)(address)
