"""The lognormal, truncated to a tail."""

import math

import numpy as np
from scipy import special

from gradlaw.stats.alternatives.tail import SAME_AS_LIMIT, Fitted, FittedRows, Tail, TailRows, root
from gradlaw.stats.roots import monotone_roots

_FAR_START = 1e3  # beyond it the difference of two quantiles loses digits, and the ratio of Mills ratios is 1 to 1e-6


def fit_lognormal(tail: Tail) -> Fitted:
    """A normal distribution of z = ln y >= 0: its curvature depends on mu / sigma alone, and falls with it."""
    if tail.curvature <= SAME_AS_LIMIT:
        return Fitted({"mu": -math.inf, "sigma": math.inf}, None, "power law limit")
    mean, deviation = float(tail.log_ratio.mean()), float(tail.log_ratio.std())
    low, high = -10 - 2 * mean / deviation, 10 + 2 / math.sqrt(tail.curvature)
    start, status = root(lambda start: normal_tail(start)[1] - tail.curvature, low, high)
    sigma = mean / normal_tail(start)[0]
    mu = -start * sigma
    return Fitted({"mu": mu, "sigma": sigma}, _lognormal_log_density(tail.log_ratio, mu, sigma), status)


def normal_tail(start: float) -> tuple[float, float]:
    """Of a standard normal distribution beyond ``start``: the mean distance from ``start``, and the curvature.

    With M_j the j-th moment of that distance, M_(j+1) = j M_(j-1) - start M_j. For start > 2 its continued fraction
    M_j / M_(j-1) = j / (start + M_(j+1) / M_j) has positive terms only, so that nothing cancels as start -> inf.
    """
    if start <= 2:
        density_over_survival = math.exp(-(start**2) / 2 - special.log_ndtr(-start)) / math.sqrt(2 * math.pi)
        first = density_over_survival - start
        return first, 1 - (1 - start * first) / (2 * first**2)
    following = 0.0
    for j in range(200, 2, -1):
        following = j / (start + following)  # M_j / M_(j-1)
    second = 2 / (start + following)
    return 1 / (start + second), (following - second) / (start + following)


def _lognormal_log_density(log_ratio: np.ndarray, mu: float, sigma: float) -> np.ndarray:
    start = -mu / sigma
    scaled = log_ratio / sigma
    if start > 0:  # P(ln y > 0) = erfcx(start / sqrt 2) exp(-start^2 / 2) / 2: the exponentials cancel by hand
        log_survival = math.log(special.erfcx(start / math.sqrt(2)) / 2)
    else:
        log_survival = float(special.log_ndtr(-start)) + start**2 / 2
    constant = math.log(sigma) + math.log(2 * math.pi) / 2 + log_survival
    return -log_ratio - scaled * (start + scaled / 2) - constant


def fit_lognormal_rows(tails: TailRows) -> FittedRows:
    """Only mean and curvature of ln y matter: no pass over the data."""
    at_limit = tails.curvature <= SAME_AS_LIMIT
    curvature = np.where(at_limit, 0.25, tails.curvature)
    deviation = tails.log_ratio.std(axis=1)

    def surplus(start: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return normal_tails(start)[1] - curvature[rows]

    low, high = -10 - 2 * tails.mean / deviation, 10 + 2 / np.sqrt(curvature)
    start, converged = monotone_roots(surplus, low, high)
    sigma = tails.mean / normal_tails(start)[0]
    return FittedRows({"mu": -start * sigma, "sigma": sigma}, at_limit, converged | at_limit)


def normal_tails(start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """:func:`normal_tail` of an array."""
    far = start > 2
    near = np.where(far, 0.0, start)
    first = np.exp(-(near**2) / 2 - special.log_ndtr(-near)) / math.sqrt(2 * math.pi) - near
    mean, curvature = first, 1 - (1 - near * first) / (2 * first**2)
    if far.any():
        mean[far], curvature[far] = _far_normal_tails(start[far])
    return mean, curvature


def _far_normal_tails(start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    following = np.zeros_like(start)
    for j in range(200, 2, -1):
        following = j / (start + following)
    second = 2 / (start + following)
    return 1 / (start + second), (following - second) / (start + following)


def lognormal_log_density_rows(tails: TailRows, fits: FittedRows) -> np.ndarray:
    mu, sigma = fits.parameters["mu"], fits.parameters["sigma"]
    start = -mu / sigma
    forward, backward = np.maximum(start, 0), np.minimum(start, 0)
    near = special.log_ndtr(-backward) + backward**2 / 2
    log_survival = np.where(start > 0, np.log(special.erfcx(forward / math.sqrt(2)) / 2), near)
    constant = np.log(sigma) + math.log(2 * math.pi) / 2 + log_survival
    scaled = tails.log_ratio / sigma[:, None]
    return -tails.log_ratio - scaled * (start[:, None] + scaled / 2) - constant[:, None]


def lognormal_survival_rows(tails: TailRows, fits: FittedRows) -> np.ndarray:
    start = (-fits.parameters["mu"] / fits.parameters["sigma"])[:, None]
    scaled = tails.log_ratio / fits.parameters["sigma"][:, None]
    forward = np.maximum(start, 0) / math.sqrt(2)
    beyond = special.erfcx(forward + scaled / math.sqrt(2)) / special.erfcx(forward)
    beyond *= np.exp(-scaled * (np.maximum(start, 0) + scaled / 2))
    return np.where(start > 0, beyond, special.ndtr(-start - scaled) / special.ndtr(-np.minimum(start, 0)))


def draw_lognormal(parameters: dict[str, float], surprise: np.ndarray) -> np.ndarray:
    """Ln y of which the survival probability is exp(-surprise)."""
    mu, sigma = parameters["mu"], parameters["sigma"]
    start = -mu / sigma
    if start > _FAR_START:
        return sigma * 2 * surprise / (start + np.sqrt(start**2 + 2 * surprise))
    return sigma * (-special.ndtri_exp(special.log_ndtr(-start) - surprise) - start).clip(min=0)
