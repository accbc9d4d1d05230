"""Overlap of the top-k subspaces of two runs, batch sizes or checkpoints."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.spectra.eigenvectors import Eigenvectors
from gradlaw.spectra.gram.dense import cross_gram
from gradlaw.stats.arrays import as_matrix

_ORTHONORMAL = 1e-2  # largest entry of V V^T - I; eigenvectors next to the rounding floor are off by 1/T


@dataclass(frozen=True, eq=False)
class SubspaceOverlap(ByValue):
    """How alike two nested families of subspaces are, the k-th spanned by the first k vectors of each.

    Attributes:
        overlaps: shape (K,), for k = 1..K the mean squared cosine of the k principal angles, from 0 to 1; equal to
            ||P Q||_F^2 / k of the projectors P and Q.
        expected: shape (K,), its mean k/n between random subspaces.
        deviations: shape (K,), its standard deviation between random subspaces.
        angles: shape (K,), the principal angles of the two K-dimensional subspaces, ascending, in radians.
        dimensions: n.

    Random directions in all n dimensions are a low bar: gradients that vanish in most dimensions overlap more than
    k/n with nothing to find. Two independent runs of one setting give the high one.
    """

    overlaps: np.ndarray
    expected: np.ndarray
    deviations: np.ndarray
    angles: np.ndarray
    dimensions: int


def subspace_overlap(first: Any, second: Any) -> SubspaceOverlap:
    """The overlap of the subspaces spanned by the first k = 1..K vectors of two sets.

    Args:
        first: :class:`~gradlaw.spectra.eigenvectors.Eigenvectors`, or an array of shape (k1, n) of orthonormal rows,
            the most important first.
        second: the same, of shape (k2, n); K is the smaller of k1 and k2.

    Raises:
        InputError: vectors of different lengths, more of them than dimensions, or rows that are not orthonormal.

    Example:
        >>> import numpy as np
        >>> axes = np.eye(4)
        >>> subspace_overlap(axes[[0, 1]], axes[[0, 2]]).overlaps
        array([1. , 0.5])
    """
    a, b = _vectors(first), _vectors(second)
    if a.shape[1] != b.shape[1]:
        raise InputError(f"the two sets of vectors have {a.shape[1]} and {b.shape[1]} dimensions")
    size, dimensions = min(len(a), len(b)), a.shape[1]
    cosines = _cosines(a[:size], b[:size])
    k = np.arange(1, size + 1)
    return SubspaceOverlap(
        overlaps=np.square(cosines).cumsum(axis=0).cumsum(axis=1).diagonal() / k,
        expected=random_overlap(k, dimensions),
        deviations=_random_deviation(k, dimensions),
        angles=_angles(cosines),
        dimensions=dimensions,
    )


def principal_angles(first: Any, second: Any) -> np.ndarray:
    """The principal angles between the spans of two sets of orthonormal rows, ascending, in radians.

    Those of ``scipy.linalg.subspace_angles(first.T, second.T)[::-1]``, for sets of any two sizes, without its copies of
    the vectors; the price is that angles below 1e-7 are rounding. Arguments and errors as for
    :func:`subspace_overlap`.

    Args:
        first: (k, n), orthonormal rows.
        second: (k', n), orthonormal rows.

    Raises:
        InputError: as :func:`subspace_overlap`.
    """
    a, b = _vectors(first), _vectors(second)
    if a.shape[1] != b.shape[1]:
        raise InputError(f"the two sets of vectors have {a.shape[1]} and {b.shape[1]} dimensions")
    return _angles(_cosines(a, b))


def orthonormal_rows(vectors: Any) -> Tensor:
    """Rows that are orthonormal to 1e-2, as a tensor; arguments and errors as for :func:`subspace_overlap`.

    Args:
        vectors: (k, n), orthonormal rows.

    Raises:
        InputError: as :func:`subspace_overlap`.
    """
    rows = _vectors(vectors)
    _checked(cross_gram(rows, rows))
    return rows


def random_overlap(k: int | np.ndarray, dimensions: int) -> np.ndarray:
    """Expected mean squared cosine between two random k-dimensional subspaces: k/n, as each projector is k/n I."""
    return np.asarray(k) / dimensions


def _random_deviation(k: np.ndarray, n: int) -> np.ndarray:
    """Standard deviation of tr(P Q)/k over random projectors of rank k: second moments of Haar matrices."""
    return np.sqrt(2 / max(1, (n - 1) * (n + 2))) * (n - k) / n


def _vectors(vectors: Any) -> Tensor:
    rows = as_matrix(vectors.vectors if isinstance(vectors, Eigenvectors) else vectors, "vectors")
    if not 1 <= rows.shape[0] <= rows.shape[1]:
        raise InputError(f"vectors must be the rows of a (k, n) array with 1 <= k <= n, got shape {tuple(rows.shape)}")
    return rows


def _cosines(a: Tensor, b: Tensor) -> np.ndarray:
    """Inner products of two sets of rows after the little rotation that makes each orthonormal to rounding.

    That rotation, by the Cholesky factor of V V^T, keeps the span of the first k vectors for every k.
    """
    left, right = (torch.linalg.cholesky(_checked(cross_gram(v, v))) for v in (a, b))
    cross = torch.linalg.solve_triangular(left, cross_gram(a, b), upper=False)
    return torch.linalg.solve_triangular(right, cross.T, upper=False).T.cpu().numpy()


def _checked(products: Tensor) -> Tensor:
    error = float((products - torch.eye(len(products), dtype=products.dtype, device=products.device)).abs().max())
    if not error < _ORTHONORMAL:
        raise InputError(
            f"the vectors are not orthonormal: an inner product is off by {error:.2g}; pass unit eigenvectors as rows"
        )
    return products


def _angles(cosines: np.ndarray) -> np.ndarray:
    return np.arccos(np.linalg.svd(cosines, compute_uv=False).clip(max=1.0))
