"""What every test by synthetic samples has in common: its checks, how many samples at a time, and its p-value."""

import math
from collections.abc import Iterator

import numpy as np

from gradlaw.errors import InputError, count, significance
from gradlaw.errors import seed as checked_seed

_VALUES = 2**20  # of synthetic samples that are in memory at once


def checked_settings(samples: int, seed: int, alpha: float) -> tuple[int, int, float]:
    """The three of them, if so many samples can reject at the level ``alpha``.

    Raises:
        InputError: fewer samples than 1 / alpha - 1, below which no p-value is as small as alpha; or no count, no seed,
            or no level.
    """
    samples, seed, alpha = count(samples, "samples"), checked_seed(seed), significance(alpha)
    if alpha * (1 + samples) < 1:
        raise InputError(f"alpha={alpha} needs at least {math.ceil(1 / alpha) - 1} samples, got {samples}")
    return samples, seed, alpha


def at_a_time(samples: int, length: int, values: int = _VALUES) -> Iterator[int]:
    """How many of the samples of ``length`` values to draw at a time: numbers that sum to ``samples``."""
    most = max(1, values // length)
    for done in range(0, samples, most):
        yield min(most, samples - done)


def bootstrap_p_value(synthetic: np.ndarray, observed: float) -> float:
    """The share of statistics that reach the observed one, which is counted among them and so never zero."""
    return (1 + int((synthetic >= observed).sum())) / (1 + len(synthetic))


def bootstrap_critical_value(synthetic: np.ndarray, alpha: float) -> float:
    """The statistic that a share ``alpha`` of them exceeds."""
    return float(np.quantile(synthetic, 1 - alpha, method="higher"))
