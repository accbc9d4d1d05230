"""Power laws of integers: p(x) = x^(-beta) / zeta(beta, x_min) for x = x_min, x_min + 1, ..."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gradlaw import random_streams
from gradlaw.errors import InputError, count
from gradlaw.stats.arrays import Array
from gradlaw.stats.bootstrap import at_a_time, bootstrap_critical_value, bootstrap_p_value, checked_settings
from gradlaw.stats.hurwitz import log_zeta, mean_log_ratio
from gradlaw.stats.nan_policy import NanPolicy
from gradlaw.stats.roots import monotone_roots
from gradlaw.stats.sample import Side, magnitudes
from gradlaw.stats.tail_values import check_size

_EXACT = 2.0**53  # the integers up to here are floats
_TABLE = (64, 2**17)  # values that are drawn from a table, at least and at most
_LARGEST_DRAW = 1e300  # a draw beyond it, rarer than one in 10^8 for integers below 2^53, would overflow


@dataclass(frozen=True)
class DiscretePowerLawFit:
    """A power law of integers from x_min on, fitted to the k values of a sample that reach it.

    ``s`` = 1 / (beta - 1) is the exponent by rank. ``log_likelihood`` is that of the k values. ``p_value`` is the share
    of synthetic tails, each with its own fit, that are at least as far from their law as this one (plus one, over
    samples plus one); ``d_critical_calibrated`` is the distance that a share alpha of them exceeds.
    """

    k: int
    x_min: int
    beta: float
    beta_standard_error: float
    s: float
    d_ks: float
    d_critical_calibrated: float
    p_value: float
    is_power_law_calibrated: bool
    log_likelihood: float
    tail: str
    samples: int
    seed: int


def fit_discrete_power_law(
    values: Array,
    k: int | None = None,
    x_min: int | None = None,
    *,
    alpha: float = 0.05,
    tail: Side = "both",
    samples: int = 1000,
    seed: int = 0,
    nan_policy: NanPolicy = "raise",
) -> DiscretePowerLawFit:
    """Fit a power law to the tail of a sample of integers and test the fit.

    For counts, degrees, ranks, and for values on a lattice once they are divided by its step. The continuous law of
    :func:`fit_power_law` is biased on small integers, and its p-value rejects them.

    Args:
        values: array of shape (L,), integers of any dtype; their magnitudes are used.
        k: x_min is the k-th largest magnitude (1000 by default); all values equal to it belong to the tail, so that
            the k of the result may be larger.
        x_min: where the law begins, an integer of at least 1, instead of k.
        alpha: significance level of the verdict, at least 1 / (1 + samples).
        tail: "both" takes magnitudes, "right" positive values, "left" the magnitudes of negative ones.
        samples: how many synthetic tails; the standard error of p is at most 1 / (2 sqrt(samples)).
        seed: of the draws.
        nan_policy: "raise" refuses NaN, "omit" leaves them out.

    Returns:
        The maximum-likelihood fit with the zeta likelihood (Clauset, Shalizi, Newman 2009, Eq. 3.5 and B.17, not the
        approximation 3.7), its asymptotic standard error (Eq. 3.6), the Kolmogorov-Smirnov distance sup |F_n - F| over
        all integers, observed or not, and its p-value by the parametric bootstrap at fixed x_min and k.

    Raises:
        InputError: values that are no integers or beyond 2^53, arguments that do not fit, a value that is not finite,
            or a tail of fewer than two values or of equal ones.

    Example:
        >>> import numpy as np
        >>> fit = fit_discrete_power_law(np.random.default_rng(0).zipf(2.5, 10_000), x_min=1)
        >>> fit.k, round(fit.beta, 1), fit.p_value > 0.05
        (10000, 2.5, True)
    """
    samples, seed, alpha = checked_settings(samples, seed, alpha)
    x, start = _tail(magnitudes(values, tail, nan_policy), k, x_min)
    mean = np.array([_log_ratios(x, start).mean()])
    beta = float(_exponents(mean, start)[0])
    d_ks = _distance(x, beta, start)
    synthetic = _synthetic_distances(beta, start, len(x), samples, seed)
    p_value = bootstrap_p_value(synthetic, d_ks)
    normaliser = float(log_zeta(np.array(beta), np.array(start)))
    return DiscretePowerLawFit(
        k=len(x),
        x_min=start,
        beta=beta,
        beta_standard_error=1 / math.sqrt(len(x) * _log_variance(beta, start)),
        s=1 / (beta - 1),
        d_ks=d_ks,
        d_critical_calibrated=bootstrap_critical_value(synthetic, alpha),
        p_value=p_value,
        is_power_law_calibrated=p_value > alpha,
        log_likelihood=-len(x) * (normaliser + beta * (float(mean[0]) + math.log(start))),
        tail=tail,
        samples=samples,
        seed=seed,
    )


def _tail(sample: Tensor, k: int | None, x_min: int | None) -> tuple[np.ndarray, int]:
    """The integers from x_min on, float64, and x_min."""
    if x_min is not None and k is not None:
        raise InputError(f"k={k} and x_min={x_min} both choose the tail: give one of them")
    x: np.ndarray = sample.double().cpu().numpy()
    broken = np.flatnonzero(x != np.rint(x))
    if len(broken):
        raise InputError(
            f"the values must be integers, but a magnitude is {x[broken[0]]}; divide values on a lattice by its step, "
            "or see fit_power_law for a continuous law"
        )
    if x.max(initial=0.0) > _EXACT:
        raise InputError(f"integers beyond 2^53 are not exact, got {x.max():.17g}; see fit_power_law")
    if x_min is None:
        size = check_size(k, len(x))
        start = int(np.partition(x, len(x) - size)[len(x) - size])
        if start == 0:
            raise InputError(f"k={size}, but only {np.count_nonzero(x)} magnitudes are nonzero: take a smaller k")
    else:
        start = count(x_min, "x_min")
    reaching = x[x >= start]
    if len(reaching) < 2 or (reaching == start).all():
        raise InputError(
            f"{len(reaching)} values reach x_min={start} and {np.count_nonzero(reaching > start)} exceed it: "
            "no law can be fitted"
        )
    if (reaching == reaching[0]).all():
        raise InputError(f"the {len(reaching)} values that reach x_min={start} all equal {reaching[0]:.0f}")
    return reaching, start


def _log_ratios(x: np.ndarray, start: int) -> np.ndarray:
    return np.log1p((x - start) / start)


def _exponents(mean: np.ndarray, start: int) -> np.ndarray:
    """The exponents at which ln(x / x_min) has these means: the equation of maximum likelihood; infinite for 0.

    1 / mean rises almost linearly with beta, and lies above beta - 1, which it is for the continuous law.
    """
    positive = mean > 0
    wanted = 1 / np.where(positive, mean, 1.0)

    def surplus(beta: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return 1 / mean_log_ratio(beta, np.array(float(start))) - wanted[rows]

    beta, _ = monotone_roots(surplus, np.full_like(mean, 1 + 1e-12), 1 + wanted)
    return np.where(positive, beta, np.inf)


def _log_variance(beta: float, start: int) -> float:
    """Of ln x: the Fisher information of one value, the derivative of the mean by beta."""
    step = 1e-4 * (beta - 1)
    low, high = mean_log_ratio(np.array([beta - step, beta + step]), np.array(float(start)))
    return float(low - high) / (2 * step)


def _distance(x: np.ndarray, beta: float, start: int) -> float:
    return float(_distances(x[None], np.array([beta]), start)[0])


def _distances(x: np.ndarray, beta: np.ndarray, start: int) -> np.ndarray:
    """Sup |F_n - F| of every row of integers.

    Both distribution functions are constant between integers, and F rises between observed ones: the largest
    difference is at an observed value or just before one.
    """
    k = x.shape[1]
    ordered = np.sort(x, axis=1)
    first = np.ones(ordered.shape, bool)
    first[:, 1:] = ordered[:, 1:] > ordered[:, :-1]
    rows, columns = np.nonzero(first)  # the observed values, row by row
    observed, reaching = ordered[rows, columns], (k - columns) / k
    beyond = np.append(reaching[1:], 0.0)
    beyond[np.append(rows[1:] != rows[:-1], True)] = 0.0  # nothing lies beyond the largest of a row
    exponent = np.where(np.isinf(beta), 2.0, beta)[rows]
    normaliser = log_zeta(np.where(np.isinf(beta), 2.0, beta), np.array(float(start)))[rows]
    survival = np.exp(log_zeta(exponent, observed) - normaliser)
    after = survival - np.exp(-exponent * np.log(observed) - normaliser)
    difference = np.maximum(np.abs(reaching - survival), np.abs(beyond - after))
    distance = np.maximum.reduceat(difference, np.flatnonzero(np.append(True, rows[1:] != rows[:-1])))
    return np.where(np.isinf(beta), 0.0, distance)  # a row of x_min alone is what it is fitted by


def _synthetic_distances(beta: float, start: int, k: int, samples: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([random_streams.DISCRETE_BOOTSTRAP, seed])
    draws = _Zeta(beta, start)
    parts = []
    for rows in at_a_time(samples, k):
        x = draws.draw(rng, rows * k).reshape(-1, k)
        parts.append(_distances(x, _exponents(_log_ratios(x, start).mean(axis=1), start), start))
    return np.concatenate(parts)


class _Zeta:
    """Draws of the law: by inversion of a table, and beyond it by rejection from a continuous power law (Devroye 1986).

    An integer x is proposed with the integral of y^(-beta) from x - 1/2 to x + 1/2, which by convexity is at least
    x^(-beta): it is kept with the ratio, which is near 1 where x is large against beta.
    """

    def __init__(self, beta: float, start: int):
        self.beta, self.start = beta, start
        size = int(min(max(_TABLE[0], 10 * beta), _TABLE[1]))
        probability = np.exp(-beta * np.log1p(np.arange(size) / start))
        rest = math.exp(float(log_zeta(np.array(beta), np.array(start + size))) + beta * math.log(start))
        self.survival = np.cumsum(np.append(rest, probability[::-1]))  # P(X >= start + size - i), not yet normalised
        self.survival /= self.survival[-1]

    def draw(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """Integers as float64."""
        size = len(self.survival) - 1
        x = self.start + size - np.searchsorted(self.survival, rng.random(number), side="right").astype(np.float64)
        far = np.flatnonzero(x >= self.start + size)
        x[far] = self._far(rng, len(far), self.start + size)
        return x

    def _far(self, rng: np.random.Generator, number: int, start: int) -> np.ndarray:
        kept = [np.empty(0)]
        missing = number
        while missing:
            with np.errstate(over="ignore"):
                y = (start - 0.5) * rng.random(missing) ** (-1 / (self.beta - 1))
            x = np.minimum(np.rint(y), _LARGEST_DRAW)
            # The integral over x^(-beta) is (1 - 1/2x)^(1 - beta) - (1 + 1/2x)^(1 - beta), times x / (beta - 1).
            power = 1 - self.beta
            lower, upper = np.expm1(power * np.log1p(-0.5 / x)), np.expm1(power * np.log1p(0.5 / x))
            proposal = np.where(x < 1e6, (lower - upper) * x / (self.beta - 1), 1.0)
            kept.append(x[rng.random(missing) * proposal <= 1])
            missing -= len(kept[-1])
        return np.concatenate(kept)
