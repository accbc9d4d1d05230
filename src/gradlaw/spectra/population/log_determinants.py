"""What T draws from a population are expected to show: log determinants of their Gram matrix, and how these vary.

Of T draws x_t = Lambda^(1/2) z_t with independent Gaussian z_t, the T x T matrix B = X X^T / T has

    L(tau) = log det(I + B / tau) = sum_i log(1 + l_i / tau)

Each is a smooth function of all eigenvalues l_i, close to Gaussian, with mean and covariances that depend on the
population eigenvalues lambda_j alone. With the positive solution e, a of

    e = (1/T) sum_j lambda_j / (tau (1 + lambda_j a)),      a = 1 / (tau (1 + e))

the mean is T log(1 + e) + sum_j log(1 + lambda_j a) - T tau e a - V(tau, tau) / 4 and the covariance of two

    V(tau, tau') = -2 log(1 - g h / (tau tau')),    g = 1 / ((1 + e)(1 + e')),    h = C(tau, tau') / T
    C(tau, tau') = sum_j s_j s'_j,    s_j = lambda_j / (1 + lambda_j a)

(Bai and Silverstein 2004; Hachem, Loubaton, Najim 2008, twice theirs since gradients are real). Draws whose sizes were
measured and divided out (:mod:`gradlaw.spectra.population.sizes`) have nearly the same covariance, and a mean that is
moved by what the errors of the sizes have in common with the draws, see :func:`sizing_shift`. Simulated draws confirm
all of it, for populations that fall as steeply as r^-2 too (``tests/spectra/population``).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gradlaw.by_value import ByValue

_STEPS, _PRECISION = 100, 1e-10


@dataclass(frozen=True, eq=False)
class Weighted(ByValue):
    """Positive values, each so many times; or several populations at once, with the same counts.

    Attributes:
        values: shape (..., m).
        counts: of each, shape (m,).
    """

    values: np.ndarray
    counts: np.ndarray

    def sum(self, terms: np.ndarray) -> np.ndarray:
        """Sums over the last axis of a term for each value."""
        return terms @ self.counts


@dataclass(frozen=True)
class Draws:
    """How many draws there are, and how their sizes were divided out.

    Attributes:
        count: T.
        tau: of the resolvent that measured the sizes; None where they were known.
        reference: how many draws it was made of.
    """

    count: int
    tau: float | None = None
    reference: int = 0


@dataclass(frozen=True, eq=False)
class Expected(ByValue):
    """Log determinants at some tau: means, shape (m,), and their covariance, (m, m)."""

    means: np.ndarray
    covariance: np.ndarray


def log_determinants(eigenvalues: np.ndarray, taus: np.ndarray) -> np.ndarray:
    """L(tau) of measured eigenvalues of B; shape of ``taus``."""
    return np.log1p(np.maximum(eigenvalues, 0)[:, None] / taus).sum(axis=0)


def expected_log_determinants(population: Weighted, draws: Draws, taus: np.ndarray) -> Expected:
    """Their means and covariance for draws from a population.

    Args:
        population: eigenvalues lambda_j, positive.
        draws: T, and how they were made equal in size.
        taus: shape (m,), positive.
    """
    at, sizing = _sides(population, draws, taus)
    covariance = _covariance(population, draws, at)
    return Expected(_means(population, draws, at, sizing, covariance.diagonal()), covariance)


def expected_means(population: Weighted, draws: Draws, taus: np.ndarray) -> np.ndarray:
    """Those of :func:`expected_log_determinants` alone, of all populations: shape (..., m)."""
    at, sizing = _sides(population, draws, taus)
    ratios = population.sum(at.shares**2) / draws.count / (at.taus * (1 + at.e)) ** 2
    return _means(population, draws, at, sizing, -2 * np.log1p(-ratios))


def sizing_shift(population: Weighted, draws: Draws, taus: np.ndarray) -> np.ndarray:
    """By how much log determinants move, on average, where each draw was divided by its measured size.

    The logarithm of a size is measured with an error d, which goes with how far z(tau) the draw is above its
    expectation in the resolvent. To second order L moves by T p (1 - p) (E d^2 / 2 - E d z(tau)), p = e / (1 + e); its
    fluctuations by less, as all draws count alike. E d z = 2 C / (S S' (1 - g C / (T tau tau'))), S = sum_j s_j.

    Args:
        population: see :func:`expected_log_determinants`.
        draws: see there.
        taus: see there.
    """
    return _shift(population, draws, *_sides(population, draws, taus))


def sizing_variance(population: Weighted, draws: Draws) -> float:
    """Variance of the error of ln w_t; 0 where sizes are known."""
    if draws.tau is None:
        return 0.0
    _, sizing = _sides(population, draws, np.array([draws.tau]))
    return float(_common(population, min(draws.reference, draws.count), sizing, sizing)[0, 0])


class _Side(NamedTuple):
    """The solution at some tau: e and a (..., m), and s_j, (..., m, number of values)."""

    taus: np.ndarray
    e: np.ndarray
    a: np.ndarray
    shares: np.ndarray

    def part(self, which: slice) -> "_Side":
        return _Side(self.taus[which], self.e[..., which], self.a[..., which], self.shares[..., which, :])


def _sides(population: Weighted, draws: Draws, taus: np.ndarray) -> tuple[_Side, _Side]:
    """At all tau, and at the one that measured the sizes; both at once where the same draws did."""
    if draws.tau is None:
        side = _solved(population, draws.count, taus)
        return side, side.part(slice(0, 0))
    if draws.reference < draws.count:
        return _solved(population, draws.count, taus), _solved(population, draws.reference, np.array([draws.tau]))
    side = _solved(population, draws.count, np.append(taus, draws.tau))
    return side.part(slice(0, -1)), side.part(slice(-1, None))


def _means(population: Weighted, draws: Draws, at: _Side, sizing: _Side, variances: np.ndarray) -> np.ndarray:
    means = draws.count * (np.log1p(at.e) - at.taus * at.e * at.a)
    means += population.sum(np.log1p(population.values[..., None, :] * at.a[..., None]))
    return np.asarray(means - variances / 4 + _shift(population, draws, at, sizing))


def _covariance(population: Weighted, draws: Draws, at: _Side) -> np.ndarray:
    return np.asarray(-2 * np.log1p(-_overlap(population, draws.count, at, at)))


def _shift(population: Weighted, draws: Draws, at: _Side, sizing: _Side) -> np.ndarray:
    if draws.tau is None:
        return np.zeros(len(at.taus))
    variance = _common(population, min(draws.reference, draws.count), sizing, sizing)[..., 0]
    common = _common(population, draws.count, at, sizing)[..., 0]
    return np.asarray(draws.count * at.e / (1 + at.e) ** 2 * (variance / 2 - common))


def _common(population: Weighted, draws: int, first: _Side, second: _Side) -> np.ndarray:
    """Covariance of ln(x^T R x) for a new draw x and two resolvents R, the second of all or some draws of the first."""
    sums = _pairs(population.sum(first.shares), population.sum(second.shares))
    products = (first.shares * population.counts) @ second.shares.swapaxes(-1, -2)
    return np.asarray(2 * products / sums / (1 - _overlap(population, draws, first, second)))


def _overlap(population: Weighted, draws: int, first: _Side, second: _Side) -> np.ndarray:
    """G h / (tau tau') for all pairs."""
    products = (first.shares * population.counts) @ second.shares.swapaxes(-1, -2)
    return np.asarray(products / draws / _pairs(first.taus * (1 + first.e), second.taus * (1 + second.e)))


def _pairs(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Products of all pairs: (..., m) and (..., k) give (..., m, k)."""
    return first[..., :, None] * second[..., None, :]


def _solved(population: Weighted, draws: int, taus: np.ndarray) -> _Side:
    """E and a by Newton's method from above: what e is compared with is concave in e, so that each step stays above."""
    unit = draws * taus
    values = population.values[..., None, :]
    e = population.sum(values) / unit
    for _ in range(_STEPS):
        shares = values / (1 + values * (1 / (taus * (1 + e)))[..., None])
        slope = population.sum(shares**2) / unit / (taus * (1 + e) ** 2)
        step = (e - population.sum(shares) / unit) / (1 - slope)
        e = e - step
        if np.all(np.abs(step) <= _PRECISION * e):
            break
    a = 1 / (taus * (1 + e))
    return _Side(taus, e, a, values / (1 + values * a[..., None]))
