"""Power laws that end: the truncated Pareto distribution, with an upper end that is given or fitted.

With z = ln(x / lambda_min) and w = ln(x_max / lambda_min) the law is that of an exponential of rate theta = beta - 1
cut off at w, and theta may be any real number: 0 is the uniform distribution of z, below 0 the density grows.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from gradlaw import random_streams
from gradlaw.stats.arrays import Array
from gradlaw.stats.bootstrap import at_a_time, bootstrap_critical_value, bootstrap_p_value, checked_settings
from gradlaw.stats.ks_distance import ks_distances
from gradlaw.stats.nan_policy import NanPolicy
from gradlaw.stats.roots import monotone_roots
from gradlaw.stats.sample import Side, magnitudes, positive
from gradlaw.stats.tail_values import tail_values


@dataclass(frozen=True)
class TruncatedPowerLawFit:
    """A power law p(x) ~ x^(-beta), lambda_min <= x <= x_max, fitted to a tail of k values.

    ``x_max`` was given, or, if ``x_max_fitted``, is the largest value: its maximum-likelihood estimate. ``p_value`` is
    that of d_ks under a law of this kind with all that was fitted here fitted anew to each of ``samples`` synthetic
    tails; ``d_critical_calibrated`` is the distance that a share alpha of them exceeds. ``ratio`` is the
    log-likelihood of the power law without end minus ``log_likelihood``, never positive, both in units of
    x / lambda_min. ``truncation_p_value`` is the probability, under a power law without end, of a largest
    ln(x / lambda_min) as small against the mean as the one observed: a small one speaks for an end. The statistic is
    that of Aban, Meerschaert, Panorska 2006, section 5; their limit exp(-K e^(-largest / mean)) takes the fitted
    exponent for the true one and rejects 1% at a nominal 5% (K = 100), so that its distribution, which is free of the
    exponent, is simulated with as many tails. Where x_max was given the values above it are gone, and it says
    nothing.
    """

    k: int
    beta: float
    beta_standard_error: float
    lambda_min: float
    x_max: float
    x_max_fitted: bool
    d_ks: float
    d_critical_calibrated: float
    p_value: float
    is_power_law_calibrated: bool
    log_likelihood: float
    ratio: float
    truncation_p_value: float
    samples: int
    seed: int


def fit_truncated_power_law(
    values: Array,
    k: int | None = None,
    x_max: float | None = None,
    *,
    threshold: float | None = None,
    alpha: float = 0.05,
    tail: Side = "both",
    samples: int = 1000,
    seed: int = 0,
    nan_policy: NanPolicy = "raise",
) -> TruncatedPowerLawFit:
    """Fit a power law that ends at x_max.

    Args:
        values: array of shape (L,).
        k: how many of the largest magnitudes to use (1000 by default); lambda_min is the k-th.
        x_max: where the law ends, in the units of the values; larger magnitudes are left out. None fits it.
        threshold: use all magnitudes from here on instead of k of them; lambda_min is this value.
        alpha: significance level of the verdict, at least 1 / (1 + samples).
        tail: "both" takes magnitudes, "right" positive values, "left" the magnitudes of negative ones.
        samples: how many synthetic tails; the standard error of p is at most 1 / (2 sqrt(samples)).
        seed: of the draws.
        nan_policy: "raise" refuses NaN, "omit" leaves them out.

    Returns:
        The maximum-likelihood fit (Aban, Meerschaert, Panorska 2006, theorem 2 for a given x_max and 3 for a fitted
        one; they count the k - 1 values above lambda_min where k are counted here, as in :func:`fit_power_law`), its
        Kolmogorov-Smirnov distance and its p-value by the parametric bootstrap. The standard error is the asymptotic
        one for a given x_max.

    Raises:
        InputError: arguments that do not fit, a value that is not finite, fewer than k nonzero magnitudes up to x_max,
            or all of them equal.

    Example:
        >>> import numpy as np
        >>> u = np.random.default_rng(0).random(20_000)
        >>> values = (1 - u * (1 - 50.0 ** -1.5)) ** (-1 / 1.5)  # beta = 2.5 from 1 to 50
        >>> fit = fit_truncated_power_law(values, k=10_000)
        >>> round(fit.beta, 1), round(fit.x_max), fit.p_value > 0.05, fit.truncation_p_value < 0.01
        (2.5, 50, True, True)
    """
    samples, seed, alpha = checked_settings(samples, seed, alpha)
    chosen = tail_values(magnitudes(values, tail, nan_policy, x_max), k, threshold)
    chosen.refuse_degenerate()
    logs, top = chosen.log_ratio, chosen.values[0]
    end = top if x_max is None else positive(x_max, "x_max")
    width = log_width(end, chosen.lambda_min)
    fit = bootstrapped_fit(logs, None if x_max is None else width, chosen.pinned, samples, seed)
    mean = float(logs.mean())
    k, theta = len(logs), fit.theta
    log_likelihood = _log_likelihood(theta, width, mean, k)
    return TruncatedPowerLawFit(
        k=k,
        beta=1 + theta,
        beta_standard_error=1 / math.sqrt(k * _variance(theta, width)),
        lambda_min=chosen.lambda_min,
        x_max=float(end),
        x_max_fitted=x_max is None,
        d_ks=fit.d_ks,
        d_critical_calibrated=bootstrap_critical_value(fit.synthetic, alpha),
        p_value=fit.p_value,
        is_power_law_calibrated=fit.p_value > alpha,
        log_likelihood=log_likelihood,
        ratio=-k * (math.log(mean) + 1 + mean) - log_likelihood,
        truncation_p_value=_truncation_p_value(logs, chosen.pinned, samples, seed),
        samples=samples,
        seed=seed,
    )


def _truncation_p_value(logs: np.ndarray, pinned: bool, samples: int, seed: int) -> float:
    """The share of power-law tails whose largest log ratio is as small against their mean as this one's."""
    rng = np.random.default_rng([random_streams.TRUNCATION_TEST, seed])
    free, observed = len(logs) - pinned, float(logs[0] / logs.mean())
    smaller = 0
    for rows in at_a_time(samples, free):
        drawn = rng.standard_exponential((rows, free))
        smaller += int((drawn.max(axis=1) * len(logs) / drawn.sum(axis=1) <= observed * (1 + 1e-12)).sum())
    return (1 + smaller) / (1 + samples)


@dataclass(frozen=True)
class BootstrappedFit:
    """A fit, its distance, and the distances of synthetic tails that were fitted likewise."""

    theta: float
    d_ks: float
    p_value: float
    synthetic: np.ndarray


def bootstrapped_fit(logs: np.ndarray, width: float | None, pinned: bool, samples: int, seed: int) -> BootstrappedFit:
    """Fit descending log ratios on [0, width], or on [0, largest], and test the fit by the parametric bootstrap.

    ``pinned`` says that the last log ratio is zero by construction, lambda_min being the k-th value; those of the
    synthetic tails then are too.
    """
    thetas, distances = _fit_rows(logs[None], width)
    end = float(logs[0]) if width is None else width
    rng = np.random.default_rng([random_streams.TRUNCATED_BOOTSTRAP, seed])
    parts = []
    for rows in at_a_time(samples, len(logs)):
        drawn = _draw(rng, float(thetas[0]), end, (rows, len(logs)))
        drawn = -np.sort(-drawn, axis=1)
        if pinned:
            drawn[:, -1] = 0.0
        parts.append(_fit_rows(drawn, width)[1])
    synthetic = np.concatenate(parts)
    d_ks = float(distances[0])
    return BootstrappedFit(float(thetas[0]), d_ks, bootstrap_p_value(synthetic, d_ks), synthetic)


def log_width(x_max: float, lambda_min: float) -> float:
    """ln(x_max / lambda_min)."""
    ratio = x_max / lambda_min
    return math.log(ratio) if ratio < math.inf else math.log(x_max) - math.log(lambda_min)


def truncated_cdf(theta: np.ndarray, width: np.ndarray, z: np.ndarray) -> np.ndarray:
    """P(Z <= z) of an exponential of any real rate on [0, width], without overflow."""
    rate = np.abs(theta)
    falling = z * special.exprel(-rate * z) / (width * special.exprel(-rate * width))
    return np.where(theta >= 0, falling, np.exp(-rate * (width - z)) * falling)


def _fit_rows(logs: np.ndarray, width: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Rates and Kolmogorov-Smirnov distances of m rows of descending log ratios."""
    widths = logs[:, 0] if width is None else np.full(len(logs), width)
    theta = truncated_rates(logs.mean(axis=1), widths)
    cdf = truncated_cdf(theta[:, None], widths[:, None], logs)
    return theta, ks_distances(cdf[:, ::-1])


def truncated_rates(mean: np.ndarray, width: np.ndarray) -> np.ndarray:
    """The rates at which an exponential on [0, width] has these means: the equation of maximum likelihood.

    mean / width = 1/u - 1/(e^u - 1), u = theta * width, falls from 1 to 0 and is odd about u = 0 and 1/2.
    """
    share = mean / width
    small = np.minimum(share, 1 - share)

    def surplus(u: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return _mean_share(u) - small[rows]

    root, _ = monotone_roots(surplus, np.zeros_like(small), 2 / small)
    return np.where(share <= 0.5, root, -root) / width


def _mean_share(u: np.ndarray) -> np.ndarray:
    """1/u - 1/(e^u - 1) for u >= 0."""
    series = 0.5 - u / 12 + u**3 / 720
    far = np.maximum(u, 0.05)
    return np.where(u < 0.05, series, 1 / far - np.exp(-far) / -np.expm1(-far))


def _variance(theta: float, width: float) -> float:
    """Of an exponential of this rate on [0, width]: the Fisher information of one value."""
    u = abs(theta) * width
    if u < 0.05:
        return width**2 * (1 / 12 - u**2 / 240)
    return width**2 * (1 / u**2 - math.exp(-u) / math.expm1(-u) ** 2)


def _log_likelihood(theta: float, width: float, mean: float, k: int) -> float:
    """Of k values of x / lambda_min with this mean of z."""
    u = theta * width
    log_integral = math.log(special.exprel(-u)) if u > -700 else -u - math.log(-u)  # of e^(-u s) over 0..1
    return -k * (math.log(width) + log_integral + (1 + theta) * mean)


def _draw(rng: np.random.Generator, theta: float, width: float, shape: tuple[int, int]) -> np.ndarray:
    """Values of that distribution, by inversion; those of a negative rate are the mirror image of a positive one's."""
    u = rng.random(shape)
    rate = abs(theta)
    z = u * width if rate * width < 1e-9 else -np.log1p(u * math.expm1(-rate * width)) / rate
    return z if theta >= 0 else width - z
