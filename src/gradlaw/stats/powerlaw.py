"""Power-law fits of the tails of samples: maximum likelihood and the Kolmogorov-Smirnov distance."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, count, significance
from gradlaw.stats.arrays import Array, as_matrix, as_sample, like, refuse_non_finite
from gradlaw.stats.calibration import calibrated_critical_distance, critical_distance, ks_null
from gradlaw.stats.tail_kernel import tail_statistics

_ROUNDING = 1e-12  # relative, of a distance
FIT_COLUMNS = ("beta", "s", "lambda_min", "d_ks", "p_value", "is_power_law", "is_power_law_calibrated", "degenerate")


@dataclass(frozen=True)
class PowerLawFit:
    """A power law p(x) ~ x^(-beta), x >= lambda_min, fitted to the k largest magnitudes of a sample.

    ``s`` is the exponent of the same law by rank, lambda_r ~ r^(-s). The two verdicts differ in the critical distance:
    ``is_power_law`` takes the published one, which is for a law known beforehand, ``is_power_law_calibrated`` the one
    for an exponent fitted to the same data: it passes up to and with that distance. ``p_value`` is the probability of
    this distance or a larger one under that fitted null, 1 at the smallest distance 1/k, which every sample of two
    has. Below 1e-10 it continues the exact distribution (see
    :class:`~gradlaw.stats.calibration.NullDistribution`). A ``degenerate`` sample has fewer
    than k nonzero magnitudes, or k equal ones: no law can be fitted, and it passes neither.
    """

    k: int
    beta: float
    s: float
    lambda_min: float
    d_ks: float
    d_critical: float
    d_critical_calibrated: float
    p_value: float
    is_power_law: bool
    is_power_law_calibrated: bool
    degenerate: bool


@dataclass(frozen=True, eq=False)
class PowerLawFits(ByValue):
    """:class:`PowerLawFit` of m samples: arrays of shape (m,), and the scalars that they share.

    No entry is NaN. A degenerate sample carries the limits that a vanishing lambda_min or a vanishing spread leads to:
    with z of its k largest magnitudes nonzero, d_ks = max(1 - z/k, z/k - exp(-k/z)) and s = inf, or d_ks = 1 and
    s = 0 for k equal ones; its p-value is 0.
    """

    k: int
    alpha: float
    d_critical: float
    d_critical_calibrated: float
    beta: Array
    s: Array
    lambda_min: Array
    d_ks: Array
    p_value: Array
    is_power_law: Array
    is_power_law_calibrated: Array
    degenerate: Array


def fit_power_law(values: Array, k: int = 1000, alpha: float = 0.05) -> PowerLawFit:
    """Fit a power law to the k largest magnitudes of a sample and test the fit.

    Args:
        values: array of shape (L,), L >= k.
        k: how many of the largest magnitudes to use; lambda_min is the k-th.
        alpha: significance level of both verdicts.

    Returns:
        The fit: beta by maximum likelihood (paper Eq. 8; Clauset, Shalizi, Newman 2009), the Kolmogorov-Smirnov
        distance (paper Eq. 7), equal to ``scipy.stats.kstest(x, scipy.stats.pareto(b=beta - 1,
        scale=lambda_min).cdf).statistic`` of those k values x, and both verdicts.

    Raises:
        InputError: k < 2, k > L, alpha outside (0, 1), or a value that is not finite.

    Example:
        >>> import numpy as np
        >>> fit = fit_power_law(np.random.default_rng(0).pareto(1.5, 100_000) + 1, k=20_000)
        >>> round(fit.beta, 1), fit.is_power_law_calibrated
        (2.5, True)
    """
    sample = as_sample(values, see="fit_power_law_rows")
    fits = fit_power_law_rows(sample[None], k, alpha)
    row = {name: getattr(fits, name)[0].item() for name in FIT_COLUMNS}
    return PowerLawFit(k=fits.k, d_critical=fits.d_critical, d_critical_calibrated=fits.d_critical_calibrated, **row)


def fit_power_law_rows(matrix: Array, k: int = 1000, alpha: float = 0.05) -> PowerLawFits:
    """:func:`fit_power_law` of every row of a matrix of shape (m, L), in one go.

    Arrays of the result are of the kind of ``matrix`` and, for a tensor, on its device.
    """
    return fit_series(as_matrix(matrix), k, alpha, matrix)


def fit_series(
    rows: Tensor, k: int, alpha: float, kind: Array, first: int = 0, transposed: bool = False
) -> PowerLawFits:
    """:func:`fit_power_law_rows` of a part of a larger matrix, for the place of a value that is not finite.

    ``rows`` are the rows ``first`` onwards of that matrix, or its columns if ``transposed``; ``kind`` is an array of
    the kind to return.
    """
    k, alpha = check_k(k, rows.shape[1]), significance(alpha)
    tails = _on_host(rows, k) if rows.device.type == "cpu" else _on_device(rows, k)
    if not tails.finite.all():
        refuse_non_finite(rows, first, transposed)
    columns = _fits(tails, k)
    d_critical, d_calibrated = critical_distance(k, alpha), calibrated_critical_distance(k, alpha)
    d_ks, degenerate = columns["d_ks"], columns["degenerate"]
    p_value = torch.from_numpy(ks_null(k).sf(math.sqrt(k) * d_ks.cpu().numpy())).to(d_ks.device)
    columns["p_value"] = p_value.where(~degenerate, 0.0)
    columns["is_power_law"] = (d_ks < d_critical) & ~degenerate
    # At d_calibrated itself the p-value is alpha, or more where the distribution has its atom: that is no rejection.
    columns["is_power_law_calibrated"] = (d_ks <= d_calibrated * (1 + _ROUNDING)) & ~degenerate
    return PowerLawFits(
        k=k,
        alpha=alpha,
        d_critical=d_critical,
        d_critical_calibrated=d_calibrated,
        **{name: like(column, kind) for name, column in columns.items()},
    )


def check_k(k: int, length: int) -> int:
    """K as a Python integer that fits series of ``length`` values."""
    if length < 2:
        raise InputError(f"a series of {length} values is too short for a power law: it needs at least 2")
    k = count(k, "k", 0)
    if not 2 <= k <= length:
        raise InputError(f"k={k} values were asked for; a series of {length} values allows k from 2 to {length}")
    return k


class _Tails(NamedTuple):
    """What a fit needs of the tails of m series, float64: see :class:`~gradlaw.stats.tail_kernel.TailStatistics`."""

    lambda_min: Tensor
    log_sum: Tensor
    nonzero: Tensor
    d_ks: Tensor
    finite: Tensor


def _fits(tails: _Tails, k: int) -> dict[str, Tensor]:
    has_zero = tails.nonzero < k
    degenerate = has_zero | (tails.log_sum == 0)
    rate = k / tails.log_sum.where(~degenerate, 1.0)  # beta - 1
    share = tails.nonzero / k
    limit_at_zero = torch.maximum(1 - share, share - torch.exp(-1 / share))
    d_ks = torch.where(has_zero, limit_at_zero, torch.where(degenerate, 1.0, tails.d_ks))
    rate = torch.where(has_zero, 0.0, torch.where(degenerate, torch.inf, rate))
    return {"beta": 1 + rate, "s": 1 / rate, "lambda_min": tails.lambda_min, "d_ks": d_ks, "degenerate": degenerate}


def _on_host(rows: Tensor, k: int) -> _Tails:
    lambda_min, log_sum, nonzero, d_ks, finite = (torch.from_numpy(c) for c in tail_statistics(rows.numpy(), k))
    return _Tails(lambda_min, log_sum, nonzero.double(), d_ks, finite)


def _on_device(rows: Tensor, k: int) -> _Tails:
    """The same by torch, on the device of the rows."""
    largest = rows.abs().topk(k, dim=1).values.double()  # descending; a NaN counts as largest
    lambda_min = largest[:, -1]
    positive = lambda_min > 0
    ratios = largest / lambda_min.where(positive, 1.0)[:, None]
    # A quotient, since a difference of logarithms loses the digits of close values; but it may overflow.
    logs = torch.where(ratios.isinf(), largest.log() - lambda_min.log()[:, None], ratios.log())
    logs = logs.where(positive[:, None], 0.0)
    log_sum = logs.sum(dim=1)
    rate = k / log_sum.where(log_sum > 0, 1.0)
    # F_hat steps at every point from (i-1)/k to i/k: the supremum over the real line sees both sides.
    cdf = torch.expm1(logs.mul_(-rate[:, None])).neg_()
    rank = torch.arange(k, 0, -1, dtype=torch.float64, device=rows.device)  # of the ascending order
    d_ks = torch.maximum((rank / k - cdf).amax(dim=1), (cdf - (rank - 1) / k).amax(dim=1))
    return _Tails(lambda_min, log_sum, (largest > 0).sum(dim=1).double(), d_ks, torch.isfinite(largest[:, 0]))
