"""The power law with an exponential cut-off, truncated to a tail."""

import math
from dataclasses import dataclass

import numpy as np

from gradlaw.stats.alternatives.tail import SAME_AS_LIMIT, FitStatus, Fitted, Tail, growth, root

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_NEGLIGIBLE = 45.0  # a density e^-45 below its peak adds nothing in float64
_LARGEST_LOG = 709.0  # exp of more overflows
_STEPS = 2.0 ** np.arange(-50, 11)
_SMALLEST_LOG_RATE = -650.0  # a rate that cannot be told from zero


def fit_cutoff(tail: Tail) -> Fitted:
    """A family exp(-tilt t - rate (e^t - 1 - t)) of t = ln y: match the mean of t by the tilt, of the rest by the rate.

    beta = 1 + tilt - rate. Without the linear term of e^t the two parameters stay apart for values close together too.
    """
    mean_log, mean_growth = float(tail.log_ratio.mean()), float(growth(tail.log_ratio).mean())
    limit = Fitted({"beta": 1 + 1 / mean_log, "rate": 0.0}, None, "power law limit")
    if mean_growth * (1 - mean_log) >= mean_log**2 * (1 - SAME_AS_LIMIT):  # beyond its mean under the power law
        return limit

    def surplus(log_rate: float) -> float:
        rate = math.exp(log_rate)
        return CutoffTail.of(_cutoff_tilt(mean_log, rate)[0], rate).mean_growth / mean_growth - 1

    low = high = -math.log(mean_growth)
    while surplus(low) <= 0:
        if low == _SMALLEST_LOG_RATE:
            return limit
        low = max(low - 1 - (high - low), _SMALLEST_LOG_RATE)
    while surplus(high) >= 0:
        high += 1 + (high - low)
    log_rate, status = root(surplus, low, high)
    rate = math.exp(log_rate)
    tilt, tilt_status = _cutoff_tilt(mean_log, rate)
    parameters = {"beta": 1 + tilt - rate, "rate": rate}
    log_density = _cutoff_log_density(tail.log_ratio, tilt, rate)
    return Fitted(parameters, log_density, status if tilt_status == "converged" else tilt_status)


def _cutoff_tilt(mean_log: float, rate: float) -> tuple[float, FitStatus]:
    """The tilt at which the mean of ln y is the given one."""

    def surplus(tilt: float) -> float:
        return CutoffTail.of(tilt, rate).mean_log / mean_log - 1

    high = 2 / mean_log  # where even without a cut-off the mean is half as large
    low = high / 2
    while surplus(low) <= 0:
        low -= high - low
    return root(surplus, low, high)


def _cutoff_log_density(log_ratio: np.ndarray, tilt: float, rate: float) -> np.ndarray:
    return -(1 + tilt) * log_ratio - rate * growth(log_ratio) - CutoffTail.of(tilt, rate).log_integral


@dataclass(frozen=True)
class CutoffTail:
    """The density exp(-tilt t - rate (e^t - 1 - t)) of t = ln y >= 0, by quadrature.

    Its integral is e^rate E_beta(rate) = e^rate rate^(beta - 1) Gamma(1 - beta, rate), beta = 1 + tilt - rate, the
    generalised exponential integral for any real beta. The exponent is concave, so one interval holds all that counts,
    and the same nodes serve the two means.
    """

    log_integral: float
    mean_log: float
    mean_growth: float

    @classmethod
    def of(cls, tilt: float, rate: float) -> "CutoffTail":
        low = end_of_density(tilt, rate, -1)
        high = end_of_density(tilt - 1, rate, 1)  # of the density times e^t, which reaches farther
        edges = np.linspace(low, high, 17 + int(high - low))
        half = (edges[1] - edges[0]) / 2
        t = (edges[:-1, None] + half * (1 + _NODES)).ravel()
        grown = growth(t)
        exponent = -tilt * t - rate * grown
        largest = float(exponent.max())
        density = np.exp(exponent - largest) * np.tile(half * _WEIGHTS, len(edges) - 1)
        total = density.sum()
        return cls(largest + math.log(total), float(density @ t / total), float(density @ grown / total))


def end_of_density(tilt: float, rate: float, side: int) -> float:
    """A point, on one side of the mode, beyond which exp(-tilt t - rate (e^t - 1 - t)), t >= 0, is negligible."""
    mode = math.log1p(-tilt / rate) if tilt < 0 else 0.0
    slope, curvature = (0.0, rate - tilt) if mode > 0 else (tilt, rate)  # there
    last = 0.0 if side < 0 else _LARGEST_LOG
    points = np.clip(mode + side * _STEPS, 0.0, _LARGEST_LOG)
    distance = np.minimum(points - mode, 600)  # far beyond the end, and short of overflow
    drop = slope * distance + curvature * growth(distance)
    return float(points[np.argmax((drop > _NEGLIGIBLE) | (points == last))])
