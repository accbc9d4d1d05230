"""The two-halves spectrum: eigenvectors from one half of the iterations, variances from the other."""

from typing import NamedTuple

import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.spectra.gram.dense import centre

FEWEST = 8  # iterations


class TwoHalves(NamedTuple):
    """Variances along the eigenvectors of one half of the gradients, shape (T // 2 - 1,); both ways averaged.

    Attributes:
        own: of the half itself, which are its eigenvalues: too large, as the eigenvectors were chosen for it.
        other: of the other half.
    """

    own: Tensor
    other: Tensor


def cross_validated_spectrum(gram: Tensor) -> Tensor:
    """Variances of one half of the gradients along the leading eigenvectors of the other, both ways averaged.

    Every second iteration makes a half, and each half is centred on its own. Given the eigenvectors, the variances are
    unbiased for any distribution. They are no eigenvalues: the first k together are, in expectation, at most the k
    leading eigenvalues of the population (Ky Fan), and the last are too large. From the blocks of the Gram matrix
    alone.

    Args:
        gram: G G^T of uncentred gradients, (T, T) float64.

    Returns:
        Shape (T // 2 - 1,), in the order of the eigenvectors, which is not quite that of the values.

    Raises:
        InputError: fewer than 8 iterations.
    """
    return two_halves(gram).other


def two_halves(gram: Tensor) -> TwoHalves:
    """:func:`cross_validated_spectrum`, and the variances of the half that the eigenvectors are of."""
    if len(gram) < FEWEST:
        raise InputError(f"two halves need at least {FEWEST} iterations, got {len(gram)}")
    half = len(gram) // 2
    a, b = slice(0, 2 * half, 2), slice(1, 2 * half, 2)
    first, second = _variances(gram[a, a], gram[b, a]), _variances(gram[b, b], gram[a, b])
    return TwoHalves((first.own + second.own) / 2, (first.other + second.other) / 2)


def _variances(own: Tensor, others: Tensor) -> TwoHalves:
    """Along the eigenvectors X^T v / sqrt(mu) of the gradients X of one half: |centred Y X^T v|^2 / (mu (T/2 - 1))."""
    values, vectors = torch.linalg.eigh(centre(own))
    values, vectors = values.flip(0)[:-1], vectors.flip(1)[:, :-1]  # centred, the last is none
    rows = others - others.mean(dim=1, keepdim=True)
    rows = rows - rows.mean(dim=0, keepdim=True)
    along = (rows @ vectors).square().sum(dim=0) / (len(others) - 1)
    other = torch.where(values > 0, along / values.clamp(min=torch.finfo(values.dtype).tiny), 0.0)
    return TwoHalves(values.clamp(min=0) / (len(own) - 1), other)
