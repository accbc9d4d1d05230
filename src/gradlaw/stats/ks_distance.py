"""The Kolmogorov-Smirnov distance of many samples from continuous laws: the largest gap on both sides of every step.

The distance on a lattice, where the law has steps of its own, is in :mod:`gradlaw.stats.discrete`; that of many tails
of one sample at once, in tiles of values, in :mod:`gradlaw.stats.tail_start`.
"""

import numpy as np


def ks_distances(probabilities: np.ndarray) -> np.ndarray:
    """Sup |F_n - F| of every row, shape (m,).

    Args:
        probabilities: shape (m, k), what the law says of each value, ascending: P(X <= x) of ascending values or
            P(X >= x) of descending ones.
    """
    k = probabilities.shape[1]
    rank = np.arange(1, k + 1)
    return np.maximum((rank / k - probabilities).max(axis=1), (probabilities - (rank - 1) / k).max(axis=1))


def exponential_ks_distances(values: np.ndarray, total: np.ndarray) -> np.ndarray:
    """The same from the exponential law fitted by maximum likelihood, without further arrays of the size of ``values``.

    Args:
        values: shape (m, k), descending and not negative; overwritten.
        total: their sums, shape (m,); the distance of a row without a fit, whose sum is 0, is 0.
    """
    k = values.shape[1]
    rate = np.divide(k, total, out=np.zeros_like(total), where=total > 0)
    # F_hat steps at the i-th smallest from (i-1)/k to i/k; this is (i-1)/k - F(x_i), and F = -expm1(-rate * x).
    values *= -rate[:, None]
    below = np.expm1(values, out=values)
    below += np.arange(k - 1, -1, -1) / k
    return np.where(total > 0, np.maximum(below.max(axis=1) + 1 / k, -below.min(axis=1)), 0.0)
