"""Eigenvectors of the gradient second moment and covariance, in parameter space."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import linalg
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.spectra.access import Origin, gradients_of, origin_of, rounding_floor
from gradlaw.spectra.gram.dense import centre, gram_matrix
from gradlaw.spectra.matrices import MATRICES


@dataclass(frozen=True, eq=False)
class Eigenvectors(ByValue):
    """The k leading eigenpairs of (1/T) sum g g^T, or of the same with the mean over the iterations taken off.

    Attributes:
        eigenvalues: shape (k,), descending, float64.
        vectors: shape (k, n), one unit vector u_k a row, on the device of the gradients. Computed in float64 and kept
            in the type of the gradients, but no less than float32. Their signs mean nothing.
        residuals: shape (k,), ||C u - lambda u|| in the unit of the eigenvalues, before that last rounding, which adds
            at most the machine precision of the type times lambda_1.
        centred: False for the second moment, True for the covariance.
    """

    eigenvalues: np.ndarray
    vectors: Tensor
    residuals: np.ndarray
    centred: bool


@dataclass(frozen=True, eq=False)
class GramEigenpairs(ByValue):
    """The k leading eigenpairs of a T x T Gram matrix divided by T.

    Attributes:
        eigenvalues: shape (k,), descending.
        vectors: shape (T, k), one unit vector v_k a column.
        residuals: shape (k,), ||C u - lambda u|| of the eigenvectors u in parameter space that they stand for.
    """

    eigenvalues: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray


def gradient_eigenvectors(history: Any, k: int, center: bool = True, *, gram: Tensor | None = None) -> Eigenvectors:
    """The k leading eigenvectors of the gradient covariance, or of the second moment with ``center=False``.

    With G the stored (T, n) matrix (less its mean over the iterations) and v_k an eigenvector of G G^T / T, the
    eigenvector in parameter space is u_k = G^T v_k / sqrt(T lambda_k). They equal, up to sign, the first k right
    singular vectors of ``numpy.linalg.svd(G)``. The iterations are streamed: beside the T x T Gram matrix, extra
    memory is the k x n result in float64 and a block. Orthogonal to about eps64 lambda_1 / sqrt(lambda_i lambda_j).

    Args:
        history: a GradientHistory, in memory or on disk, or a (T, n) array or tensor of gradients.
        k: how many.
        center: take the mean over the iterations off first.
        gram: G G^T of the uncentred gradients as :func:`~gradlaw.spectra.gram.dense.gram_matrix` makes it, if at hand.

    Raises:
        InputError: fewer than two iterations, a value that is not finite, k < 1, or k above the numerical rank.

    Example:
        >>> import numpy as np
        >>> pairs = gradient_eigenvectors(np.array([[3.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), k=2, center=False)
        >>> pairs.eigenvalues.round(6), pairs.vectors.abs().round(decimals=6).tolist()
        (array([4.5, 0.5]), [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    """
    gradients = gradients_of(history)
    gram = gram_matrix(gradients) if gram is None else gram
    check_gram(gram, len(gradients))
    return eigenvectors_of(origin_of(history, gram), k, center)


def eigenvectors_of(origin: Origin, k: int, center: bool) -> Eigenvectors:
    """The k leading eigenvectors from a Gram matrix and the gradients behind it, streamed by rows.

    Raises:
        InputError: k < 1, or k above the numerical rank.
    """
    pairs = gram_eigenpairs(origin.gram, k, center, origin.rounding)
    return Eigenvectors(pairs.eigenvalues, _in_parameter_space(origin, pairs, center), pairs.residuals, center)


def gram_eigenpairs(gram: Tensor, k: int, center: bool, rounding: float) -> GramEigenpairs:
    """The k leading eigenpairs behind the Gram matrix G G^T of the uncentred gradients.

    The residual in parameter space needs no parameters: C u - lambda u = G^T r / sqrt(T lambda) with r = K v - lambda v
    and K = G G^T / T, so that its squared norm is r^T K r / lambda.

    Args:
        gram: shape (T, T).
        k: how many.
        center: take the mean over the iterations off first.
        rounding: relative rounding error of a gradient, ||error|| / ||g||; see ``Spectrum.floor``.

    Raises:
        InputError: k < 1, or k above the numerical rank.
    """
    iterations = len(gram)
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    chosen = ((centre(gram) if center else gram) / iterations).cpu().numpy()
    first = max(0, iterations - k)
    values, vectors = linalg.eigh(chosen, subset_by_index=[first, iterations - 1], check_finite=False)
    values, vectors = values[::-1], vectors[:, ::-1]
    floor = rounding_floor(iterations, float(values[0]), float(gram.diagonal().mean()), rounding)
    rank = int((values > floor).sum())
    if k > rank:
        raise InputError(f"k={k} eigenvectors were asked for, but the {MATRICES[center]} has numerical rank {rank}")
    r = chosen @ vectors - values * vectors
    squares = np.einsum("tk,tk->k", r, chosen @ r) / values
    return GramEigenpairs(values.copy(), vectors.copy(), np.sqrt(squares.clip(min=0)))


def check_gram(gram: Tensor, iterations: int) -> None:
    if gram.shape != (iterations, iterations):
        raise InputError(f"the Gram matrix of {iterations} iterations is square, got shape {tuple(gram.shape)}")


def _in_parameter_space(origin: Origin, pairs: GramEigenpairs, center: bool) -> Tensor:
    iterations, dimensions = origin.gradients.shape
    # Weights without a mean take the mean off the gradients.
    weights = pairs.vectors - pairs.vectors.mean(axis=0) if center else pairs.vectors
    columns = torch.from_numpy(weights / np.sqrt(iterations * pairs.eigenvalues)).T.to(origin.gram.device)
    vectors = torch.zeros(len(columns), dimensions, dtype=torch.float64, device=columns.device)
    dtype = torch.float32
    for first, block in origin.gradients.blocks("dimension"):
        vectors.addmm_(columns[:, first : first + len(block)], block.double())
        dtype = block.dtype
    return vectors.to(dtype)
