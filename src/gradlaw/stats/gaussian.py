"""The D'Agostino-Pearson test of Gaussianity, for many series at once."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from gradlaw import streams
from gradlaw.errors import InputError
from gradlaw.stats.arrays import Array, as_matrix, like, refuse_non_finite

SHORTEST = 8  # the skewness test's approximation needs as many
_BLOCK = 4096  # series whose draws come from one generator


def gaussian_test_rows(matrix: Array, k: int = 100, seed: int = 0, first: int = 0) -> Array:
    """p-values of the D'Agostino-Pearson K^2 test of every row, each on k of its values.

    From each row k values are drawn without replacement by a generator of its own. Gaussianity is not rejected where
    p > alpha. Rows that are constant on the values drawn cannot be tested and get p = 0, never NaN.

    Args:
        matrix: array of shape (m, L), L >= k.
        k: how many values of each row to test, at least 8.
        seed: of the draws.
        first: the number of the first row within a larger matrix that is tested in parts.

    Returns:
        p, shape (m,), of the kind of ``matrix``; equal to ``scipy.stats.normaltest`` of the values drawn (paper Eq. 9,
        where the sum of the squared scores is called p).

    Raises:
        InputError: k < 8, k > L, or a drawn value that is not finite.
    """
    rows = as_matrix(matrix)
    length = rows.shape[1]
    if not SHORTEST <= k <= length:
        raise InputError(
            f"gaussian_k={k} values were asked for; a series of {length} values allows {SHORTEST} to {length}"
        )
    if k < length:
        drawn = torch.from_numpy(_draws(length, k, seed, first, rows.shape[0]))
        rows = rows.gather(1, drawn.to(rows.device))
    return like(torch.cat([_normal_test(part.double()) for part in rows.split(_BLOCK)]), matrix)


def _draws(length: int, k: int, seed: int, first: int, count: int) -> np.ndarray:
    """The positions drawn for series first, ..., first + count - 1, whatever the parts in which they are asked for."""
    parts = []
    for block in range(first // _BLOCK, (first + count - 1) // _BLOCK + 1):
        drawn = _draw_block(length, k, seed, block)
        parts.append(drawn[max(0, first - block * _BLOCK) : first + count - block * _BLOCK])
    return np.concatenate(parts) if parts else np.empty((0, k), dtype=np.int64)


@lru_cache(maxsize=1)
def _draw_block(length: int, k: int, seed: int, block: int) -> np.ndarray:
    return draw_without_replacement(length, k, _BLOCK, [streams.GAUSSIAN, seed, block])


def draw_without_replacement(length: int, k: int, rows: int, seed: list[int]) -> np.ndarray:
    """Draw k distinct positions out of ``length`` for each row, all subsets equally likely (Floyd 1987); (rows, k)."""
    rng = np.random.default_rng(seed)
    chosen = np.empty((k, rows), dtype=np.int64)
    for i, last in enumerate(range(length - k, length)):
        candidate = rng.integers(last + 1, size=rows)
        taken = (chosen[:i] == candidate).any(axis=0)
        chosen[i] = np.where(taken, last, candidate)
    return np.ascontiguousarray(chosen.T)


def _normal_test(sample: Tensor) -> Tensor:
    if not torch.isfinite(sample).all():
        refuse_non_finite(sample)
    shifted = sample - sample[:, :1]  # exact for close values, so that a mean far from zero costs no digits
    scale = shifted.abs().amax(dim=1, keepdim=True)
    constant = scale[:, 0] == 0
    standard = shifted / scale.where(scale > 0, 1.0)
    standard = standard - standard.mean(dim=1, keepdim=True)
    squared = standard.square()
    m2 = squared.mean(dim=1).where(~constant, 1.0)
    skewness = (squared * standard).mean(dim=1) / m2**1.5
    kurtosis = squared.square().mean(dim=1) / m2**2
    k = sample.shape[1]
    statistic = _skewness_score(skewness, k).square() + _kurtosis_score(kurtosis, k).square()
    return torch.exp(-statistic / 2).where(~constant, 0.0)  # the survival function of chi^2 with 2 degrees of freedom


def _skewness_score(skewness: Tensor, k: int) -> Tensor:
    """D'Agostino 1970: a normal score by Johnson's S_U approximation."""
    y = skewness * math.sqrt((k + 1) * (k + 3) / (6 * (k - 2)))
    beta2 = 3 * (k * k + 27 * k - 70) * (k + 1) * (k + 3) / ((k - 2) * (k + 5) * (k + 7) * (k + 9))
    w2 = math.sqrt(2 * (beta2 - 1)) - 1
    return torch.asinh(y * math.sqrt((w2 - 1) / 2)) / math.sqrt(0.5 * math.log(w2))


def _kurtosis_score(kurtosis: Tensor, k: int) -> Tensor:
    """Anscombe and Glynn 1983: a normal score by the Wilson-Hilferty cube root."""
    variance = 24 * k * (k - 2) * (k - 3) / ((k + 1) ** 2 * (k + 3) * (k + 5))
    x = (kurtosis - 3 * (k - 1) / (k + 1)) / math.sqrt(variance)
    root_beta1 = (
        6 * (k * k - 5 * k + 2) / ((k + 7) * (k + 9)) * math.sqrt(6 * (k + 3) * (k + 5) / (k * (k - 2) * (k - 3)))
    )
    a = 6 + 8 / root_beta1 * (2 / root_beta1 + math.sqrt(1 + 4 / root_beta1**2))
    denominator = 1 + x * math.sqrt(2 / (a - 4))
    cube = denominator.sign() * ((1 - 2 / a) / denominator.abs()).pow(1 / 3)
    return (1 - 2 / (9 * a) - cube) / math.sqrt(2 / (9 * a))
