"""Tail indices of samples by Hill's estimator and the moment estimator, at one k or as curves over k.

Both take the magnitudes x_1 >= x_2 >= ... of a series and use its k log excesses ln(x_i / x_(k+1)), i = 1..k: the
threshold is the (k+1)-th magnitude. ``fit_power_law`` counts its threshold lambda_min among its k values, so that its
exponent beta at k + 1 and Hill's alpha at k belong to the same threshold: alpha = (beta - 1) k / (k + 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, count
from gradlaw.stats.arrays import Array, as_matrix, as_sample, like, refuse_non_finite
from gradlaw.stats.nan_policy import NanPolicy, rows_without_nan, without_nan

_BLOCK_BYTES = 2**22  # of float64 values; up to a dozen such arrays live at a time


@dataclass(frozen=True, eq=False)
class TailIndices(ByValue):
    """Estimates of a tail index with asymptotic standard errors: one for each series, or for each k of a curve.

    ``index`` is alpha of a tail P(|X| > x) ~ x^(-alpha) from the Hill estimator, and the extreme value index gamma from
    the moment estimator: gamma = 1 / alpha > 0 for a power-law tail, 0 for a tail that falls like an exponential or a
    Gaussian, below 0 for one that ends. The standard errors hold for independent values and leave out the bias of a
    threshold that is too low; a plateau of the curve over k is what supports a value.

    No entry is NaN. A ``degenerate`` series has a threshold of zero (alpha = 0, gamma = inf) or, for alpha, k + 1 equal
    largest magnitudes (alpha = inf), for gamma, k equal ones (gamma = -inf); its standard error is inf.
    """

    k: int | Array
    index: Array
    standard_error: Array
    degenerate: Array


def hill_rows(matrix: Array, k: int, *, nan_policy: NanPolicy = "raise") -> TailIndices:
    """Hill's tail index alpha of every row: 1 / mean of ln(x_i / x_(k+1)), i = 1..k, of its magnitudes (Hill 1975).

    Args:
        matrix: array of shape (m, L), L > k.
        k: how many log excesses to average, at least 1; the (k+1)-th largest magnitude is the threshold.
        nan_policy: "raise" refuses NaN, "omit" leaves them out; more than k values of each row have to be left.

    Returns:
        Arrays of shape (m,), of the kind of ``matrix``; the standard error is alpha / sqrt(k).

    Raises:
        InputError: k < 1, k >= L, or a value that is not finite.

    Example:
        >>> import numpy as np
        >>> hill = hill_rows(np.random.default_rng(0).pareto(1.5, (1, 100_000)) + 1, k=10_000)
        >>> round(float(hill.index[0]), 1), round(float(hill.standard_error[0]), 2)
        (1.5, 0.01)
    """
    k = count(k, "k", 0)
    return _hill(_rows_at(matrix, k, 1, nan_policy), k, matrix)


def moment_rows(matrix: Array, k: int, *, nan_policy: NanPolicy = "raise") -> TailIndices:
    """The moment estimator of the extreme value index gamma of every row (Dekkers, Einmahl, de Haan 1989).

    gamma = M1 + 1 - 1 / (2 (1 - M1^2 / M2)), M1 and M2 being the means of ln(x_i / x_(k+1)) and of its square over
    i = 1..k. Unlike Hill's it does not take a power law for granted: gamma near 0 or below speaks against one.

    Args:
        matrix: array of shape (m, L), L > k.
        k: how many log excesses to use, at least 2; the (k+1)-th largest magnitude is the threshold.
        nan_policy: "raise" refuses NaN, "omit" leaves them out; more than k values of each row have to be left.

    Returns:
        Arrays of shape (m,), of the kind of ``matrix``; the variance behind the standard error is (1 + gamma^2) / k, or
        (1 - g)^2 (1 - 2g) (1 - g + 6g^2) / ((1 - 3g) (1 - 4g)) / k for g = gamma < 0 (de Haan and Ferreira 2006,
        section 3.5).

    Raises:
        InputError: k < 2, k >= L, or a value that is not finite.
    """
    k = count(k, "k", 0)
    return _moment(_rows_at(matrix, k, 2, nan_policy), k, matrix)


def hill_curve(values: Array, ks: Array | Sequence[int], *, nan_policy: NanPolicy = "raise") -> TailIndices:
    """:func:`hill_rows` of one sample at every k of ``ks``, for a Hill plot: one sort and cumulative sums.

    Args:
        values: array of shape (L,).
        ks: integers from 1 to L - 1, in any order.
        nan_policy: "raise" refuses NaN, "omit" leaves them out.

    Returns:
        Arrays of the length of ``ks``, of the kind of ``values``.

    Raises:
        InputError: a k that does not fit, or a value that is not finite.
    """
    sample, counts = _checked_curve(values, ks, 1, nan_policy)
    return _hill(_curve_at(sample, counts), counts, values)


def moment_curve(values: Array, ks: Array | Sequence[int], *, nan_policy: NanPolicy = "raise") -> TailIndices:
    """:func:`moment_rows` of one sample at every k of ``ks``, integers from 2 to L - 1; see :func:`hill_curve`.

    Args:
        values: (L,), an array or tensor.
        ks: integers from 2 to L - 1.
        nan_policy: ``"raise"``, or ``"omit"`` to leave NaN out.

    Raises:
        InputError: as :func:`hill_curve`.
    """
    sample, counts = _checked_curve(values, ks, 2, nan_policy)
    return _moment(_curve_at(sample, counts), counts, values)


class _Excesses(NamedTuple):
    """Mean and variance of k log excesses, and whether their threshold is zero: the two are then void."""

    mean: Tensor
    variance: Tensor
    no_threshold: Tensor


def _hill(excesses: _Excesses, k: int | Tensor, original: Array) -> TailIndices:
    degenerate = excesses.no_threshold | (excesses.mean == 0)
    alpha = (1 / excesses.mean).where(~excesses.no_threshold, 0.0)
    root = torch.as_tensor(k, dtype=torch.float64, device=alpha.device).sqrt()
    return _indices(alpha, alpha / root, degenerate, k, original)


def _moment(excesses: _Excesses, k: int | Tensor, original: Array) -> TailIndices:
    degenerate = excesses.no_threshold | (excesses.variance == 0)
    # With M2 = variance + M1^2; the variance is summed by itself, for a difference would lose it in a narrow tail.
    ratio = excesses.mean.square() / (2 * excesses.variance.where(~degenerate, 1.0))
    gamma = (excesses.mean + 0.5 - ratio).where(~degenerate, -torch.inf).where(~excesses.no_threshold, torch.inf)
    return _indices(gamma, (_moment_variance(gamma) / k).sqrt(), degenerate, k, original)


def _moment_variance(gamma: Tensor) -> Tensor:
    g = gamma.clamp_max(0)
    ending = (1 - g).square() * (1 - 2 * g) * (1 - g + 6 * g * g) / ((1 - 3 * g) * (1 - 4 * g))
    return torch.where(gamma < 0, ending, 1 + gamma.square())


def _indices(
    index: Tensor, standard_error: Tensor, degenerate: Tensor, k: int | Tensor, original: Array
) -> TailIndices:
    return TailIndices(
        k=like(k, original) if isinstance(k, Tensor) else k,
        index=like(index, original),
        standard_error=like(standard_error.where(~degenerate, torch.inf), original),
        degenerate=like(degenerate, original),
    )


def _rows_at(matrix: Array, k: int, smallest: int, nan_policy: str) -> _Excesses:
    rows = rows_without_nan(as_matrix(matrix), k + 1, nan_policy)
    _check_ks(k, k, rows.shape[1], smallest)
    parts = []
    for part in rows.split(max(1, _BLOCK_BYTES // (8 * rows.shape[1]))):
        largest = part.abs().topk(k + 1, dim=1).values  # descending; a NaN counts as largest
        if not torch.isfinite(largest[:, 0]).all():
            refuse_non_finite(rows)
        parts.append([column[:, -1].clone() for column in _excesses(largest.double())])
    return _Excesses(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _curve_at(sample: Tensor, ks: Tensor) -> _Excesses:
    largest = sample.abs().topk(int(ks.max()) + 1).values
    if not torch.isfinite(largest[0]):
        refuse_non_finite(sample[None])
    return _Excesses(*(column[0, ks - 1] for column in _excesses(largest.double()[None])))


def _excesses(descending: Tensor) -> _Excesses:
    """The log excesses of rows of K + 1 descending magnitudes for every k = 1..K: shape (m, K).

    Lowering the threshold from x_k to x_(k+1) adds the gap ln(x_k / x_(k+1)) to k excesses, the new one having been 0.
    It joins k - 1 others of sum S about which the squared deviations then grow by S^2 / (k (k - 1)) (Welford 1962).
    No term is negative: nothing cancels.
    """
    k = torch.arange(1, descending.shape[1], dtype=torch.float64, device=descending.device)
    no_threshold = descending[:, 1:] == 0
    gaps = _log_ratios(descending[:, :-1], descending[:, 1:].where(~no_threshold, 1.0)).where(~no_threshold, 0.0)
    sums = (k * gaps).cumsum(dim=1)
    growth = torch.zeros_like(sums)
    growth[:, 1:] = sums[:, :-1].square() / (k[1:] * k[:-1])
    return _Excesses(sums / k, growth.cumsum(dim=1) / k, no_threshold)


def _log_ratios(upper: Tensor, lower: Tensor) -> Tensor:
    excess = (upper - lower) / lower  # of close values the difference is exact, the quotient is not
    return torch.where(excess.isinf(), upper.log() - lower.log(), excess.log1p())


def _checked_curve(values: Array, ks: Array | Sequence[int], smallest: int, nan_policy: str) -> tuple[Tensor, Tensor]:
    sample = without_nan(as_sample(values, see="hill_rows, moment_rows"), nan_policy)
    listed = ks if isinstance(ks, Tensor) else np.asarray(ks)
    if isinstance(listed, np.ndarray) and listed.dtype.kind not in "iu":
        raise InputError(f"ks must be a list of integers, got {listed.dtype} of shape {listed.shape}")
    if isinstance(listed, np.ndarray):
        listed = listed.astype(np.int64)  # of any byte order
    counts = torch.as_tensor(listed, device=sample.device)
    if (
        counts.ndim != 1
        or len(counts) == 0
        or counts.is_floating_point()
        or counts.is_complex()
        or counts.dtype == torch.bool
    ):
        raise InputError(f"ks must be a list of integers, got {counts.dtype} of shape {tuple(counts.shape)}")
    _check_ks(int(counts.min()), int(counts.max()), len(sample), smallest)
    return sample, counts.long()


def _check_ks(lowest: int, highest: int, length: int, smallest: int) -> None:
    if not smallest <= lowest <= highest < length:
        wrong = lowest if lowest < smallest else highest
        raise InputError(
            f"k={wrong} log excesses were asked for; a series of {length} values allows k from {smallest} to "
            f"{length - 1}, for the next magnitude after the k largest is the threshold"
        )
