"""How far single iterations scatter in size: the scales w_t of their gradients, from the Gram matrix alone.

Gradients of single samples are far from Gaussian: those of some samples are many times longer than others in every
direction. A sample spectrum of such draws is broader than that of Gaussian ones with the same covariance. The
leave-one-out form of the resolvent, 1 / (tau Q_tt) - 1 = x_t^T (...) x_t / T ~ w_t e with Q = (B + tau)^-1, measures
each w_t beside noise whose variance
follows from the population; the noise is taken off their spread.
"""

import numpy as np

from gradlaw.spectra.population.log_determinants import Weighted, expected_log_determinants

GROUPS = 64  # of scales, by size
WIDE = 1.0  # spread of sizes from which on intervals do not hold: the mean itself is then known to the large ones alone
_EXCESS = 4  # standard errors of a variance, that the spread of equal scales keeps within


def equal_scales(iterations: int) -> Weighted:
    """All draws of one size."""
    return Weighted(np.ones(1), np.array([float(iterations)]))


def estimated_scales(gram: np.ndarray, population: Weighted, scales: Weighted, tau: float) -> Weighted:
    """Scales of mean 1, in groups.

    Args:
        gram: B, shape (T, T).
        population: as it is known so far.
        scales: as they are known so far.
        tau: of the resolvent, in the lower part of the spectrum, so that many directions count.
    """
    iterations = len(gram)
    resolvent = np.linalg.inv(gram + tau * np.eye(iterations)).diagonal()
    logs = np.log(np.maximum(1 / (tau * resolvent) - 1, np.finfo(float).tiny))
    a = expected_log_determinants(population, scales, np.array([tau])).of_population[0]
    shares = population.values / (1 + population.values * a)
    noise = 2 * population.sum(shares**2) / population.sum(shares) ** 2
    spread = logs.var(ddof=1)
    if spread <= noise * (1 + _EXCESS * np.sqrt(2 / iterations)):
        return equal_scales(iterations)
    values = np.exp(np.sort(logs - logs.mean()) * np.sqrt(1 - noise / spread))
    parts = np.array_split(values, min(GROUPS, iterations))
    means, counts = np.array([part.mean() for part in parts]), np.array([float(len(part)) for part in parts])
    return Weighted(means * counts.sum() / (means @ counts), counts)


def spread_of(scales: Weighted) -> float:
    """Standard deviation of the scales over their mean; 0 where all are equal."""
    share = scales.counts / scales.counts.sum()
    return float(np.sqrt(max(0.0, scales.values**2 @ share / (scales.values @ share) ** 2 - 1)))
