"""The D'Agostino-Pearson test of Gaussianity, for many series at once."""

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from gradlaw import random_streams
from gradlaw.errors import InputError
from gradlaw.errors import count as check_count
from gradlaw.errors import seed as check_seed
from gradlaw.stats.arrays import Array, as_matrix, as_type_of, near_one, refuse_non_finite

SHORTEST = 8  # the skewness test's approximation needs as many
_BLOCK = 4096  # series whose draws come from one generator
_LARGEST_KEPT_K = 1000  # draws of a block, 33 MB of them, that are kept for the next rows of the same block
_ROWS_AT_ONCE = 512  # of draws that are made distinct


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
        where the sum of the squared scores is called p), but where their skewness is exactly zero: SciPy takes a
        skewness of 1 in the scores then (``skewtest`` replaces y = 0), so that p is up to 0.6 for symmetric values that
        are as Gaussian as can be; here the score of zero is zero.

    Raises:
        InputError: k < 8, k > L, a negative ``seed`` or ``first``, or a drawn value that is not finite.
    """
    rows = as_matrix(matrix)
    length = rows.shape[1]
    k, seed, first = check_count(k, "gaussian_k"), check_seed(seed), check_count(first, "first", 0)
    if not SHORTEST <= k <= length:
        raise InputError(
            f"gaussian_k={k} values were asked for; a series of {length} values allows {SHORTEST} to {length}"
        )
    parts = []
    for start, stop in _seeded_parts(first, rows.shape[0]):
        part = rows[start:stop]
        if k < length:
            drawn = torch.from_numpy(drawn_places(length, k, seed, first + start, stop - start))
            part = part.gather(1, drawn.to(rows.device))
        if not torch.isfinite(part).all():
            refuse_non_finite(rows, first)
        parts.append(normal_test(part))
    return as_type_of(torch.cat(parts), matrix)


def _seeded_parts(first: int, rows: int) -> list[tuple[int, int]]:
    """The rows cut where their numbers in the larger matrix are multiples of _BLOCK; one empty part of none."""
    ends = [*range(_BLOCK - first % _BLOCK, rows, _BLOCK), rows]
    return list(zip([0, *ends], ends, strict=False))


def drawn_places(length: int, k: int, seed: int, first: int, count: int) -> np.ndarray:
    """Which of their ``length`` values :func:`gaussian_test_rows` draws from series first, ..., first + count - 1.

    The same whatever the parts in which they are asked for; shape (count, k).
    """
    if k == length:
        return np.tile(np.arange(length), (count, 1))
    parts = []
    for block in range(first // _BLOCK, (first + count - 1) // _BLOCK + 1):
        wanted = slice(max(0, first - block * _BLOCK), min(_BLOCK, first + count - block * _BLOCK))
        if k <= _LARGEST_KEPT_K:
            parts.append(_draw_block(length, k, seed, block)[wanted])
        else:
            parts.append(draw_without_replacement(length, k, _BLOCK, [random_streams.GAUSSIAN, seed, block], wanted))
    return np.concatenate(parts) if parts else np.empty((0, k), dtype=np.int64)


@lru_cache(maxsize=1)
def _draw_block(length: int, k: int, seed: int, block: int) -> np.ndarray:
    return draw_without_replacement(length, k, _BLOCK, [random_streams.GAUSSIAN, seed, block])


def draw_without_replacement(
    length: int, k: int, rows: int, seed: list[int], wanted: slice = slice(None)
) -> np.ndarray:
    """Draw k distinct positions out of ``length`` for each row, all subsets equally likely (Floyd 1987).

    Step i draws one of the first length - k + i + 1 positions, and takes the last of these where that was taken before.
    In time and memory of rows k, whatever the length, but for a sort.

    Args:
        length: positions to draw from.
        k: how many of them.
        rows: how many rows share the generator.
        seed: of the generator.
        wanted: which of the rows to return; they are the same whatever is wanted.

    Returns:
        Positions, of shape (rows wanted, k).
    """
    rng = np.random.default_rng(seed)
    start, stop, _ = wanted.indices(rows)
    steps = np.empty((k, stop - start), dtype=np.int64)
    for i in range(k):
        steps[i] = rng.integers(length - k + i + 1, size=rows)[start:stop]
    chosen = np.empty((stop - start, k), dtype=np.int64)
    for first in range(0, len(chosen), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        chosen[part] = steps[:, part].T
        _replace_taken(chosen[part], length - k)
    return chosen


def _replace_taken(candidates: np.ndarray, first_last: int) -> None:
    """Floyd's rule on the candidates (rows, k) of all steps, in place; step i falls back on ``first_last`` + i."""
    rows, k = candidates.shape
    # A name below 2k for every position that occurs, so that what is taken fits a table: fall-backs by their step.
    order = candidates.argsort(axis=1)
    ascending = np.take_along_axis(candidates, order, axis=1)
    ranks = np.full((rows, k), k, dtype=np.int32)
    ranks[:, 1:] += (ascending[:, 1:] != ascending[:, :-1]).cumsum(axis=1, dtype=np.int32)
    names = np.empty((k, rows), dtype=np.int32)
    np.put_along_axis(names.T, order, ranks, axis=1)
    np.copyto(names, (candidates - first_last).T, where=(candidates >= first_last).T)
    taken = np.zeros((2 * k, rows), dtype=bool)
    row = np.arange(rows)
    for i, name in enumerate(names):
        again = taken[name, row]
        candidates[again, i] = first_last + i
        name[again] = i
        taken[name, row] = True


def normal_test(sample: Tensor) -> Tensor:
    """p-values of the test on all values of every row; see :func:`gaussian_test_rows`."""
    sample = near_one(sample)
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
    statistic = skewness_score(skewness, k).square() + kurtosis_score(kurtosis, k).square()
    return torch.exp(-statistic / 2).where(~constant, 0.0)  # the survival function of chi^2 with 2 degrees of freedom


def skewness_score(skewness: Tensor, k: int) -> Tensor:
    """D'Agostino 1970: a normal score by Johnson's S_U approximation."""
    y = skewness * math.sqrt((k + 1) * (k + 3) / (6 * (k - 2)))
    beta2 = 3 * (k * k + 27 * k - 70) * (k + 1) * (k + 3) / ((k - 2) * (k + 5) * (k + 7) * (k + 9))
    w2 = math.sqrt(2 * (beta2 - 1)) - 1
    return torch.asinh(y * math.sqrt((w2 - 1) / 2)) / math.sqrt(0.5 * math.log(w2))


def kurtosis_score(kurtosis: Tensor, k: int) -> Tensor:
    """Anscombe and Glynn 1983: a normal score by the Wilson-Hilferty cube root."""
    variance = 24 * k * (k - 2) * (k - 3) / ((k + 1) ** 2 * (k + 3) * (k + 5))
    x = (kurtosis - 3 * (k - 1) / (k + 1)) / math.sqrt(variance)
    root_beta1 = (
        6 * (k * k - 5 * k + 2) / ((k + 7) * (k + 9)) * math.sqrt(6 * (k + 3) * (k + 5) / (k * (k - 2) * (k - 3)))
    )
    a = 6 + 8 / root_beta1 * (2 / root_beta1 + math.sqrt(1 + 4 / root_beta1**2))
    denominator = 1 + x * math.sqrt(2 / (a - 4))
    sign = torch.where(denominator < 0, -1.0, 1.0)  # at zero the score is infinite, not undefined
    cube = sign * ((1 - 2 / a) / denominator.abs()).pow(1 / 3)
    return (1 - 2 / (9 * a) - cube) / math.sqrt(2 / (9 * a))
