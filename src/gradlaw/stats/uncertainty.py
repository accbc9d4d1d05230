"""How well does a tail determine its exponent? Standard errors and confidence intervals."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from gradlaw import random_streams
from gradlaw.errors import count, significance
from gradlaw.errors import seed as check_seed
from gradlaw.stats.alternatives import fitted_tail
from gradlaw.stats.arrays import Array, as_sample
from gradlaw.stats.bootstrap import at_a_time
from gradlaw.stats.nan_policy import NanPolicy, without_nan


@dataclass(frozen=True)
class ExponentUncertainty:
    """The exponents of a tail of k values, their standard errors, and intervals of confidence ``level``.

    ``s_interval`` and ``beta_interval`` are exact under a true power law, and are the same statement in both exponents.
    ``s_bootstrap_interval`` does not assume one: where the two disagree in a long tail, that is not a power law, and s
    describes it only on average. In a short tail the bootstrap interval is too narrow, and lies too low: simulated, it
    covers the s of a true power law in 38% of tails of 2 values at a level of 95%, 71% of 5, 82% of 10, 89% of 20, 90%
    of 37, 92% of 50 and 200, 94% of 500. Below a few hundred values take ``s_interval``.
    """

    k: int
    level: float
    beta: float
    beta_standard_error: float
    beta_interval: tuple[float, float]
    s: float
    s_standard_error: float
    s_interval: tuple[float, float]
    s_bootstrap_interval: tuple[float, float]


def exponent_uncertainty(
    values: Array,
    k: int = 1000,
    level: float = 0.95,
    samples: int = 1000,
    seed: int = 0,
    *,
    nan_policy: NanPolicy = "raise",
) -> ExponentUncertainty:
    """Standard errors and confidence intervals of the exponents that :func:`fit_power_law` finds.

    The standard errors are the asymptotic ones, (beta - 1) / sqrt(k) (Clauset, Shalizi, Newman 2009, Eq. 3.2) and
    s / sqrt(k). The intervals rest on a pivot: under a power law the k - 1 log ratios ln(x_i / lambda_min) above
    lambda_min are independent exponentials of mean s, so that their sum divided by s has the gamma distribution of
    shape k - 1, exactly and for every k (not shape k: the log ratio of lambda_min itself is zero). The bootstrap
    resamples the k log ratios, with lambda_min fixed, and takes percentiles of their mean, which is s.

    All of them take the k values for independent draws. The eigenvalues of one matrix are not (they repel one another):
    of a spectrum these intervals describe the scale of the fit's own uncertainty and cover nothing.

    Args:
        values: array of shape (L,), L >= k.
        k: how many of the largest magnitudes to use, fixed beforehand.
        level: confidence level of the two-sided, equal-tailed intervals.
        samples: how many bootstrap samples.
        seed: of the bootstrap.
        nan_policy: "raise" refuses NaN, "omit" leaves them out.

    Raises:
        InputError: k < 2, k > L, level outside (0, 1), samples < 1, a value that is not finite, fewer than k nonzero
            magnitudes, or k equal ones.

    Example:
        >>> import numpy as np
        >>> result = exponent_uncertainty(np.random.default_rng(0).pareto(1.5, 100_000) + 1, k=1000)
        >>> result.beta_interval[0] < 2.5 < result.beta_interval[1]
        True
    """
    level, samples, seed = significance(level, "level"), count(samples, "samples"), check_seed(seed)
    fit, tail = fitted_tail(without_nan(as_sample(values), nan_policy), k)
    k = fit.k
    probabilities = np.array([(1 + level) / 2, (1 - level) / 2])
    low, high = (float(end) for end in k * fit.s / special.gammaincinv(k - 1, probabilities))
    means = _bootstrap_means(np.log(tail / tail[-1]), samples, seed)
    bootstrap_low, bootstrap_high = (float(end) for end in np.quantile(means, probabilities[::-1]))
    return ExponentUncertainty(
        k=k,
        level=level,
        beta=fit.beta,
        beta_standard_error=(fit.beta - 1) / math.sqrt(k),
        beta_interval=(1 + 1 / high, 1 + 1 / low),
        s=fit.s,
        s_standard_error=fit.s / math.sqrt(k),
        s_interval=(low, high),
        s_bootstrap_interval=(bootstrap_low, bootstrap_high),
    )


def _bootstrap_means(log_ratios: np.ndarray, samples: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([random_streams.EXPONENT_BOOTSTRAP, seed])
    k = len(log_ratios)
    return np.concatenate([log_ratios[rng.integers(k, size=(n, k))].mean(axis=1) for n in at_a_time(samples, k)])
