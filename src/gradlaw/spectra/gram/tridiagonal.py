"""Eigenvalues of a Gram matrix and of the same centred, from one tridiagonal form."""

import math

import numpy as np
import torch
from scipy.linalg import eigvalsh_tridiagonal, lapack
from torch import Tensor

from gradlaw.spectra.gram.band import band_of, tridiagonal_of_band

BY_BAND = 2000  # rows from which that takes less time, measured


def both_eigenvalues(gram: Tensor, by_band: int = BY_BAND) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of a symmetric matrix K and of H K H, H = I - 1 1^T / T; both of shape (T,), ascending.

    The Householder reflection P that exchanges 1 / sqrt(T) and e_1 turns H into the projection that drops the first
    coordinate, so that H K H has the eigenvalues of P K P without its first row and column, and a zero. Householder's
    reduction of P K P from the first column on (LAPACK's dsytrd of the lower triangle) leaves that coordinate alone:
    one tridiagonal matrix, and the same without its first row and column, have the eigenvalues of both. One reduction
    takes less time than two calls of ``eigvalsh``; the backward error is the same, a few eps64 ||K||.

    Large matrices come to the tridiagonal form by way of a band, see :mod:`gradlaw.spectra.gram.band`.

    Args:
        gram: shape (T, T), float64, on the CPU; T >= 2.
        by_band: from so many rows on by way of a band; below, the matrix is in a cache, and it would take longer.
    """
    matrix = reflected(gram)
    diagonal, beside = tridiagonal_of_band(band_of(matrix)) if len(gram) >= by_band else _tridiagonal(matrix)
    whole = eigvalsh_tridiagonal(diagonal, beside, lapack_driver="sterf")
    centred = eigvalsh_tridiagonal(diagonal[1:], beside[1:], lapack_driver="sterf")
    return whole, np.sort(np.append(centred, 0.0))


def _tridiagonal(matrix: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal and what is beside it, by LAPACK; the matrix is overwritten."""
    columns = matrix.numpy().T  # symmetric: the transpose is the column-major matrix of LAPACK
    size = int(lapack.dsytrd_lwork(len(columns), lower=1)[0])
    _, diagonal, beside, _, _ = lapack.dsytrd(columns, lower=1, lwork=size, overwrite_a=1)
    return diagonal, beside


def reflected(gram: Tensor) -> Tensor:
    """P K P = K - v w^T - w v^T, P = I - 2 v v^T, with w = 2 (K v - (v^T K v) v)."""
    iterations = len(gram)
    v = torch.full((iterations,), 1 / math.sqrt(iterations), dtype=gram.dtype)
    v[0] += 1  # added, not subtracted: nothing cancels; e_1 then goes to -1 / sqrt(T)
    v /= torch.linalg.vector_norm(v)
    product = gram @ v
    w = 2 * (product - (v @ product) * v)
    return torch.addr(gram, v, w, alpha=-1).addr_(w, v, alpha=-1)
