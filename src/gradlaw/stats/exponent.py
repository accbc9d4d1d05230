"""The exponent of a power-law tail without its bias, and its exact interval."""

import numpy as np
from scipy import special

from gradlaw.errors import InputError, significance


def corrected_exponent(beta: float, k: int, pinned: bool) -> float:
    """The exponent without bias: 1 + (k - 2) / k (beta - 1), or with k - 1 above a threshold chosen beforehand.

    beta - 1 is k over a sum that has the gamma distribution of shape k - 1 (``pinned``: the log ratio of lambda_min
    itself is zero) or k, and the mean of its inverse is the true value over the shape less one.

    Raises:
        InputError: a k so small that the estimate has no mean: it has to be above 2, or above 1.
    """
    shape = _shape(k, pinned)
    if shape < 2:
        raise InputError(f"of k={k} values the estimate of the exponent has no mean, and no bias that can be corrected")
    return 1 + (shape - 1) / k * (beta - 1)


def exponent_interval(beta: float, k: int, pinned: bool, level: float) -> tuple[float, float]:
    """The equal-tailed interval of confidence ``level`` that the same gamma distribution gives, exact for every k."""
    level = significance(level, "level")
    ends = special.gammaincinv(_shape(k, pinned), np.array([(1 - level) / 2, (1 + level) / 2]))
    low, high = (float(end) for end in 1 + (beta - 1) * ends / k)
    return low, high


def _shape(k: int, pinned: bool) -> int:
    return k - 1 if pinned else k
