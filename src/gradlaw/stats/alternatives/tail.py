"""A tail in the variables in which all families are fitted, and what a fit gives."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import special

from gradlaw.errors import InputError
from gradlaw.stats.arrays import Array, as_float
from gradlaw.stats.powerlaw import PowerLawFit, fit_power_law

FitStatus = Literal["converged", "power law limit", "not converged"]

LARGEST_LOG_RATIO = 600.0  # of a tail, so that sums over it do not overflow
SAME_AS_LIMIT = 1e-10  # curvature of the tail below which family and power law agree to K * 1e-20 in log-likelihood
_FEW = 300
_SERIES = np.array([2 / math.factorial(n + 2) for n in range(14)])  # of (e^t - 1 - t) / (t^2 / 2)


def fitted_tail(values: Array, k: int) -> tuple[PowerLawFit, np.ndarray]:
    """The power law of a sample and the k magnitudes it was fitted to, descending, float64; degenerate ones refused."""
    fit = fit_power_law(values, k)
    k = fit.k
    tail: np.ndarray = as_float(values).abs().topk(k).values.double().cpu().numpy()
    if fit.lambda_min == 0:
        raise InputError(f"k={k}, but only {np.count_nonzero(tail)} magnitudes are nonzero: take a smaller k")
    if fit.degenerate:
        raise InputError(f"the k={k} largest magnitudes all equal {fit.lambda_min}: no distribution can be fitted")
    if np.log(tail[0]) - np.log(tail[-1]) > LARGEST_LOG_RATIO:
        raise InputError(f"the k={k} largest magnitudes span more than 260 decades: they would overflow")
    return fit, tail


@dataclass(frozen=True)
class Tail:
    """A tail as ln y and y - 1, y = x / lambda_min."""

    log_ratio: np.ndarray
    excess: np.ndarray
    curvature: float  # 1 - mean(ln^2 y) / (2 mean(ln y)^2): 0 for a power law, 1/2 for ln y without spread

    @classmethod
    def of(cls, tail: np.ndarray) -> "Tail":
        excess = (tail - tail[-1]) / tail[-1]  # without the rounding of y, which would matter close to 1
        log_ratio = np.log1p(excess)
        curvature = 1 - float(np.mean(log_ratio**2) / (2 * log_ratio.mean() ** 2))
        return cls(log_ratio, excess, curvature)


@dataclass(frozen=True)
class Fitted:
    parameters: dict[str, float]
    log_density: np.ndarray | None  # of each value; None at the power law limit
    status: FitStatus


def root(function: Callable[[float], float], low: float, high: float) -> tuple[float, FitStatus]:
    """The root of a monotone function between two points of opposite sign."""
    from scipy import optimize  # a fifth of a second to load

    result: Any = optimize.brentq(
        function, low, high, xtol=1e-300, rtol=1e-14, maxiter=200, full_output=True, disp=False
    )
    return float(result[0]), "converged" if result[1].converged else "not converged"


def power_law_log_density(tail: Tail, beta: float) -> np.ndarray:
    return math.log(beta - 1) - beta * tail.log_ratio


def growth(t: np.ndarray) -> np.ndarray:
    """e^t - 1 - t, by its series where the difference would cancel."""
    result: np.ndarray = np.expm1(t)
    result -= t
    small = np.abs(t) < 0.5
    near = t[small]
    if near.size < _FEW:  # one call costs less than the steps of the series
        result[small] = near * near / 2 * special.hyp1f1(1, 3, near)
        return result
    series = np.full_like(near, _SERIES[-1])
    for coefficient in _SERIES[-2::-1]:
        series *= near
        series += coefficient
    result[small] = near * near / 2 * series
    return result


@dataclass(frozen=True)
class TailRows:
    """m tails of k values as ln y and y - 1, y = x / lambda_min: arrays of shape (m, k), descending.

    ``mean`` is that of ln y and ``curvature`` that of :class:`Tail`, both of shape (m,).
    """

    log_ratio: np.ndarray
    excess: np.ndarray
    mean: np.ndarray
    curvature: np.ndarray

    @classmethod
    def of(cls, tails: np.ndarray) -> "TailRows":
        """From magnitudes, descending in every row."""
        excess = (tails - tails[:, -1:]) / tails[:, -1:]
        return cls._from(np.log1p(excess), excess)

    @classmethod
    def of_logs(cls, log_ratio: np.ndarray) -> "TailRows":
        """From ln y, descending in every row and 0 at its end."""
        return cls._from(log_ratio, np.expm1(log_ratio))

    @classmethod
    def _from(cls, log_ratio: np.ndarray, excess: np.ndarray) -> "TailRows":
        mean = log_ratio.mean(axis=1)
        curvature = 1 - np.einsum("ij,ij->i", log_ratio, log_ratio) / log_ratio.shape[1] / (2 * mean**2)
        return cls(log_ratio, excess, mean, curvature)

    def part(self, chosen: np.ndarray) -> "TailRows":
        """Some of the tails, by index or mask."""
        return TailRows(self.log_ratio[chosen], self.excess[chosen], self.mean[chosen], self.curvature[chosen])


@dataclass(frozen=True)
class FittedRows:
    """A family fitted to m tails: its parameters, arrays of shape (m,) by name.

    Where ``at_limit`` the power law is the best member, and where not ``converged`` a slower way has to be taken: the
    parameters mean nothing there, but no function of them fails.
    """

    parameters: dict[str, np.ndarray]
    at_limit: np.ndarray
    converged: np.ndarray

    def part(self, chosen: np.ndarray) -> "FittedRows":
        """Some of the fits, by index or mask."""
        parameters = {name: column[chosen] for name, column in self.parameters.items()}
        return FittedRows(parameters, self.at_limit[chosen], self.converged[chosen])


def power_law_log_density_rows(tails: TailRows) -> np.ndarray:
    """Ln p of every value under the fitted power law, beta - 1 = 1 / mean."""
    return -np.log(tails.mean)[:, None] - (1 + 1 / tails.mean)[:, None] * tails.log_ratio
