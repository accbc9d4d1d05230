"""Signal and noise from the products of group means: g_i . g_j, or g_i^T H g_j.

Of m groups of q iterations each, with means g_i, let Q_ij = g_i^T A g_j, with A the identity or the Hessian. Samples of
one epoch repel one another: with K_ts = (1/B - 1/N) for t = s, -1/N for two iterations of one epoch and 0 otherwise
(independent draws: 1/B and 0), the mean of Q_ij over its draws is G^T A G + K_ij tr(A Sigma), K_ij the mean of K_ts
over both groups. From the means of Q and K, over all pairs and over the diagonal, follow unbiased tr(A Sigma) and
G^T A G.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gradlaw.spectra.noise import Estimate, jackknife


@dataclass(frozen=True)
class SignalAndNoise:
    """Unbiased estimates with jackknife standard errors over the groups.

    Attributes:
        signal: G^T A G.
        noise: tr(A Sigma), of one sample.
        inverse: signal over noise, the inverse of a noise scale.
        groups: m.
    """

    signal: Estimate
    noise: Estimate
    inverse: Estimate
    groups: int


def signal_and_noise(products: np.ndarray, size: int, batch_size: int, samples: int | None) -> SignalAndNoise:
    """Signal and noise from the m x m products of group means.

    Args:
        products: Q, of the groups in their order.
        size: q, iterations in a group.
        batch_size: B of an iteration.
        samples: N, of epochs without replacement; None for independent draws.
    """
    spread = _spread(len(products), size, batch_size, samples)

    def of(rows: np.ndarray) -> tuple[float, float, float]:
        return _solved(products[np.ix_(rows, rows)], spread[np.ix_(rows, rows)])

    return _jackknifed(of, len(products))


def two_batch_sizes(small: np.ndarray, big: np.ndarray, size: int, batch_size: int) -> SignalAndNoise:
    """Signal and noise from squared norms at two batch sizes (McCandlish et al. 2018, appendix A.1).

    Args:
        small: mean |g|^2 of the iterations of each group; shape (m,).
        big: |g|^2 of the mean of each group; shape (m,).
        size: q, iterations in a group.
        batch_size: B of an iteration; qB of a group. Draws are taken for independent.
    """
    many = batch_size * size

    def of(rows: np.ndarray) -> tuple[float, float, float]:
        s, b = float(small[rows].mean()), float(big[rows].mean())
        signal, noise = (many * b - batch_size * s) / (many - batch_size), (s - b) / (1 / batch_size - 1 / many)
        return signal, noise, signal / noise if noise else math.inf

    return _jackknifed(of, len(small))


def _jackknifed(of: Callable[[np.ndarray], tuple[float, float, float]], groups: int) -> SignalAndNoise:
    everything = np.arange(groups)
    values = np.array([of(everything), *(of(np.delete(everything, i)) for i in everything)])
    signal, noise, inverse = map(jackknife, values.T)
    return SignalAndNoise(signal, noise, inverse, groups)


def _solved(products: np.ndarray, spread: np.ndarray) -> tuple[float, float, float]:
    """Signal, noise and their ratio: two linear equations, for the mean of the diagonal and of all products."""
    noise = (products.diagonal().mean() - products.mean()) / (spread.diagonal().mean() - spread.mean())
    signal = products.mean() - spread.mean() * noise
    return float(signal), float(noise), float(signal / noise) if noise else math.inf


def _spread(groups: int, size: int, batch_size: int, samples: int | None) -> np.ndarray:
    """K_ij; shape (m, m)."""
    if samples is None:
        return np.eye(groups) / (batch_size * size)
    epochs = np.arange(groups * size) // (samples // batch_size)
    # How many iterations of each group are in each epoch: (m, epochs).
    shares = np.stack([np.bincount(row, minlength=epochs[-1] + 1) for row in epochs.reshape(groups, size)]).astype(
        float
    )
    pairs_of_one_epoch = shares @ shares.T
    itself = np.eye(groups) * size
    return (itself / batch_size - pairs_of_one_epoch / samples) / size**2
