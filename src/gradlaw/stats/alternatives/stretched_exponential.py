"""The stretched exponential, truncated to a tail."""

import math

import numpy as np
from scipy import special

from gradlaw.stats.alternatives.tail import SAME_AS_LIMIT, Fitted, FittedRows, Tail, TailRows, root


def fit_stretched_exponential(tail: Tail) -> Fitted:
    """The likelihood maximised over the rate is concave in the shape: -K ln mean((y^shape - 1) / shape) is concave."""
    if tail.curvature <= SAME_AS_LIMIT:
        return Fitted({"shape": 0.0, "rate": math.inf}, None, "power law limit")
    mean = float(tail.log_ratio.mean())

    def score(shape: float) -> float:
        exponent = shape * tail.log_ratio
        weights = tail.log_ratio * np.exp(exponent - exponent[0])  # the first is the largest: no overflow
        integral = weights @ special.exprel(-exponent)
        derivative = (weights * tail.log_ratio) @ special.hyp1f1(1, 3, -exponent) / 2
        return mean - float(derivative / integral)

    high = 1 / mean
    while score(high) > 0:
        high *= 2
    shape, status = root(score, 0.0, high)
    exponent = shape * tail.log_ratio
    grown = tail.log_ratio * special.exprel(-exponent) * np.exp(exponent - exponent[0])
    log_slope = -float(exponent[0]) - math.log(grown.mean())  # ln(shape * rate)
    log_density = log_slope + (shape - 1) * tail.log_ratio - grown / grown.mean()
    return Fitted({"shape": shape, "rate": math.exp(log_slope) / shape}, log_density, status)


def fit_stretched_exponential_rows(tails: TailRows) -> FittedRows:
    """Newton's method on the same concave likelihood, kept inside the bracket that its signs give."""
    at_limit = tails.curvature <= SAME_AS_LIMIT
    count = len(at_limit)
    low, high, converged = np.zeros(count), np.full(count, np.inf), at_limit.copy()
    shape = np.where(at_limit, 1.0, tails.curvature.clip(min=0)) / tails.mean
    log_ratio, active = tails.log_ratio[~converged], np.flatnonzero(~converged)
    for _ in range(60):
        if not len(active):
            break
        x = shape[active]
        score, slope = _score_rows(log_ratio, x)
        low[active] = np.where(score > 0, x, low[active])
        high[active] = np.where(score > 0, high[active], x)
        step = x - score / slope
        upper = high[active]
        inside = (step > low[active]) & (step < upper)
        middle = np.where(np.isinf(upper), 2 * x, (low[active] + np.where(np.isinf(upper), 0, upper)) / 2)
        step = np.where(inside, np.minimum(step, 4 * x), middle)
        shape[active] = step
        converged[active] = np.abs(step - x) <= 1e-9 * x
        going = ~converged[active]
        if going.sum() <= 0.7 * len(active) or not going.any():
            active, log_ratio = active[going], log_ratio[going]
    return FittedRows({"shape": shape, "rate": np.exp(_log_slopes(tails, shape)) / shape}, at_limit, converged)


def _score_rows(log_ratio: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The derivative of the likelihood per value by the shape, and the derivative of that.

    With integrals I_j of u^j e^(au) over 0..1, a = shape ln y, the likelihood is -ln mean(ln y I_0) + shape mean(ln y).
    All are scaled by the largest e^a. I_(j+1) = (e^a - (j + 1) I_j) / a loses digits where a is small, but there the
    values count for little.
    """
    exponent = shape[:, None] * log_ratio
    largest = exponent[:, :1]
    end = np.exp(exponent - largest)
    small = exponent < 1e-3
    divisor = np.where(small, 1.0, exponent)
    first = (end - np.exp(-largest)) / divisor
    second = (end - first) / divisor
    third = (end - 2 * second) / divisor
    rows, columns = np.nonzero(small)
    a, scale = exponent[rows, columns], np.exp(-largest[rows, 0])
    first[rows, columns] = scale * (1 + a / 2 + a**2 / 6 + a**3 / 24)
    second[rows, columns] = scale * (1 / 2 + a / 3 + a**2 / 8 + a**3 / 30)
    third[rows, columns] = scale * (1 / 3 + a / 4 + a**2 / 10 + a**3 / 36)
    count = log_ratio.shape[1]
    weights = log_ratio * first
    integral = weights.sum(axis=1)
    weights = log_ratio**2
    derivative = np.einsum("ij,ij->i", weights, second) / integral
    weights *= log_ratio
    bend = np.einsum("ij,ij->i", weights, third) / integral
    return log_ratio.sum(axis=1) / count - derivative, derivative**2 - bend


def _grown(log_ratio: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """(y^shape - 1) / shape, scaled by the largest y^-shape."""
    exponent = shape[:, None] * log_ratio
    largest = exponent[:, :1]
    # Where y^shape is near 1 the difference of the exponentials would cancel.
    scaled = np.where(exponent < 1, np.expm1(np.minimum(exponent, 1)) * np.exp(-largest), 0.0)
    return np.where(exponent < 1, scaled, np.exp(exponent - largest) - np.exp(-largest)) / shape[:, None]


def _log_slopes(tails: TailRows, shape: np.ndarray) -> np.ndarray:
    """ln(shape * rate) of the best rate."""
    return -shape * tails.log_ratio[:, 0] - np.log(_grown(tails.log_ratio, shape).mean(axis=1))


def stretched_exponential_log_density_rows(tails: TailRows, fits: FittedRows) -> np.ndarray:
    """At the best rate for the shape: ``fits`` have to be those of the same tails."""
    shape = fits.parameters["shape"]
    grown = _grown(tails.log_ratio, shape)
    mean = grown.mean(axis=1, keepdims=True)
    log_slope = -shape[:, None] * tails.log_ratio[:, :1] - np.log(mean)
    return log_slope + (shape[:, None] - 1) * tails.log_ratio - grown / mean


def stretched_exponential_survival_rows(tails: TailRows, fits: FittedRows) -> np.ndarray:
    """At the best rate for the shape: ``fits`` have to be those of the same tails."""
    grown = _grown(tails.log_ratio, fits.parameters["shape"])
    return np.exp(-grown / grown.mean(axis=1, keepdims=True))


def draw_stretched_exponential(parameters: dict[str, float], surprise: np.ndarray) -> np.ndarray:
    """Ln y of which the survival probability is exp(-surprise)."""
    return np.log1p(surprise / parameters["rate"]) / parameters["shape"]
