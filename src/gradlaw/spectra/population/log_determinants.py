"""What T draws from a population are expected to show: log determinants of their Gram matrix, and how these vary.

Of T draws x_t = sqrt(w_t) Lambda^(1/2) z_t with independent Gaussian z_t, the T x T matrix B = X X^T / T has

    L(tau) = log det(I + B / tau) = sum_i log(1 + l_i / tau)

Each is a smooth function of all eigenvalues l_i, close to Gaussian, with mean and covariances that depend on the
population eigenvalues lambda_j and the scales w_t alone. With the positive solution e, a of

    e = (1/T) sum_j lambda_j / (tau (1 + lambda_j a)),      a = (1/T) sum_t w_t / (tau (1 + w_t e))

the mean is sum_t log(1 + w_t e) + sum_j log(1 + lambda_j a) - T tau e a - V(tau, tau) / 4 and the covariance of two

    V(tau, tau') = -2 log(1 - g h / (tau tau')),    g = (1/T) sum_t w_t^2 / ((1 + w_t e)(1 + w_t e'))

with h likewise of lambda and a

(Hachem, Loubaton, Najim 2008, twice theirs since gradients are real; with equal scales Bai and Silverstein 2004).
Simulated draws confirm all of it, for populations that fall as steeply as r^-2 too (``tests/spectra/population``).
"""

from dataclasses import dataclass

import numpy as np

from gradlaw.by_value import ByValue

_STEPS, _PRECISION = 100, 1e-10


@dataclass(frozen=True, eq=False)
class Weighted(ByValue):
    """Positive values, each so many times.

    Attributes:
        values: shape (m,).
        counts: of each, shape (m,).
    """

    values: np.ndarray
    counts: np.ndarray

    def sum(self, terms: np.ndarray) -> np.ndarray:
        """Sums over the last axis of a term for each value."""
        return terms @ self.counts


@dataclass(frozen=True, eq=False)
class Expected(ByValue):
    """Log determinants at some tau: means (m,), covariance (m, m), and e and a of the module's formulas, (m,) each."""

    means: np.ndarray
    covariance: np.ndarray
    of_draws: np.ndarray
    of_population: np.ndarray


def log_determinants(eigenvalues: np.ndarray, taus: np.ndarray) -> np.ndarray:
    """L(tau) of measured eigenvalues of B; shape of ``taus``."""
    return np.log1p(np.maximum(eigenvalues, 0)[:, None] / taus).sum(axis=0)


def expected_log_determinants(population: Weighted, scales: Weighted, taus: np.ndarray) -> Expected:
    """Their means and covariance for draws from a population.

    Args:
        population: eigenvalues lambda_j, positive.
        scales: w_t, of mean 1; their counts add up to T.
        taus: shape (m,), positive.
    """
    total = float(scales.counts.sum())
    of_draws, of_population = _solved(population, scales, taus)
    e, a = of_draws[:, None], of_population[:, None]
    means = scales.sum(np.log1p(scales.values * e)) + population.sum(np.log1p(population.values * a))
    means -= total * taus * of_draws * of_population
    g = _products(scales, e) / total
    h = _products(population, a) / total
    covariance = -2 * np.log1p(-g * h / np.outer(taus, taus))
    return Expected(means - covariance.diagonal() / 4, covariance, of_draws, of_population)


def _solved(population: Weighted, scales: Weighted, taus: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E and a by Newton's method from above: what e is compared with is concave in e, so that each step stays above."""
    unit = scales.counts.sum() * taus
    e = population.sum(population.values) / unit
    for _ in range(_STEPS):
        draws = scales.values / (1 + scales.values * e[:, None])
        a = scales.sum(draws) / unit
        eigenvalues = population.values / (1 + population.values * a[:, None])
        slope = population.sum(eigenvalues**2) / unit * scales.sum(draws**2) / unit
        step = (e - population.sum(eigenvalues) / unit) / (1 - slope)
        e = e - step
        if np.all(np.abs(step) <= _PRECISION * e):
            break
    return e, scales.sum(scales.values / (1 + scales.values * e[:, None])) / unit


def _products(weighted: Weighted, at: np.ndarray) -> np.ndarray:
    """The sum of v^2 / ((1 + v x)(1 + v x')) over values v, for all pairs x, x' of ``at`` (m, 1)."""
    terms = weighted.values / (1 + weighted.values * at)
    return (terms * weighted.counts) @ terms.T
