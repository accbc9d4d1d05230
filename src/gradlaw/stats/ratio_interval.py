"""An interval for the ratio of two means of pairs that also holds where the mean below may be zero."""

import math
from collections.abc import Callable

import numpy as np
from scipy.special import stdtrit

from gradlaw.errors import InputError, significance

_HALVINGS = 60  # of an angle below pi / 2, down to its rounding


def ratio_interval(above: np.ndarray, below: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Limits of E[x] / E[y] from T independent pairs, for ratios from 0 to infinity.

    R is among the limits where the mean of d = x - R y does not differ significantly from 0, by the t test (Fieller
    1954) or by that with Hall's (1992) transformation for skewed data: the first holds its level where y makes the
    noise of d, the second where a skewed x does. An upper limit of infinity says that the mean of y is not
    significantly above 0; a lower one of 0 says so of x.

    Args:
        above: x, shape (T,) or (T, m) for m ratios; T at least 3.
        below: y, the same shape.
        level: of confidence, inside (0, 1).

    Returns:
        The lower and upper limits, of shape (m,), or numbers of shape (); 0 and 0 where every x is 0, infinity twice
        where the mean of y is significantly below 0, so that no ratio fits.

    Raises:
        InputError: arrays of other shapes, fewer than three pairs, or a value that is not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> lower, upper = ratio_interval(6 + rng.standard_normal(100), 2 + rng.standard_normal(100))
        >>> bool(lower < 3 < upper), bool(ratio_interval(6 + rng.standard_normal(9), np.tile([-1.0, 1, 0], 3))[1] < 99)
        (True, False)
    """
    x, y = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    if x.shape != y.shape or x.ndim not in (1, 2) or len(x) < 3:
        raise InputError(
            f"above and below must be of one shape (T,) or (T, m) with T >= 3, got {x.shape} and {y.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("above or below holds a value that is not finite; leave such pairs out")
    count, quantile = len(x), float(stdtrit(len(x) - 1, 0.5 + significance(level, "level") / 2))
    sizes = [np.where((size := np.abs(z).max(axis=0)) > 0, size, 1.0) for z in (x, y)]
    pairs = _Moments(x / sizes[0], y / sizes[1])

    def accepted(angle: np.ndarray) -> np.ndarray:
        return pairs.distance(angle) <= quantile / math.sqrt(count)

    # Angles make the line of ratios a circle: tan is R in units of the sizes, and pi / 2 stands for infinity.
    start = np.where(pairs.y > 0, np.arctan2(pairs.x.clip(min=0), pairs.y), np.pi / 2)
    lower, upper = (np.tan(_boundary(accepted, start, end)) * sizes[0] / sizes[1] for end in (0.0, np.pi / 2))
    no_limit, none_fits, nothing = accepted(np.full_like(start, np.pi / 2)), ~accepted(start), ~x.any(axis=0)
    lower, upper = np.where(none_fits, np.inf, lower), np.where(none_fits | no_limit, np.inf, upper)
    return np.where(nothing, 0.0, lower), np.where(nothing, 0.0, upper)


class _Moments:
    """Means and central moments of pairs, which give those of x cos - y sin at any angle."""

    def __init__(self, x: np.ndarray, y: np.ndarray):
        self.count, self.x, self.y = len(x), x.mean(axis=0), y.mean(axis=0)
        a, b = x - self.x, y - self.y
        self._second = [(a * a).mean(axis=0), (a * b).mean(axis=0), (b * b).mean(axis=0)]
        self._third = [(p * q * r).mean(axis=0) for p, q, r in ((a, a, a), (a, a, b), (a, b, b), (b, b, b))]

    def distance(self, angle: np.ndarray) -> np.ndarray:
        """Of the mean from 0 in standard deviations, the smaller of plain and for skewed data."""
        cos, sin = np.cos(angle), np.sin(angle)
        mean = cos * self.x - sin * self.y
        xx, xy, yy = self._second
        variance = (cos**2 * xx - 2 * cos * sin * xy + sin**2 * yy).clip(min=0)
        xxx, xxy, xyy, yyy = self._third
        third = cos**3 * xxx - 3 * cos**2 * sin * xxy + 3 * cos * sin**2 * xyy - sin**3 * yyy
        spread = np.sqrt(variance * self.count / (self.count - 1))
        certain = spread <= 1e-15
        safe = np.where(certain, 1.0, spread)
        t, skewness = mean / safe, np.where(certain, 0.0, third / np.where(certain, 1.0, variance) ** 1.5)
        skewed = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / (6 * self.count)
        distance = np.minimum(np.abs(t), np.abs(skewed))
        return np.where(certain, np.where(np.abs(mean) <= 1e-14, 0.0, np.inf), distance)


def _boundary(accepted: Callable[[np.ndarray], np.ndarray], start: np.ndarray, end: float) -> np.ndarray:
    """The last angle on the way from ``start`` to ``end`` that is accepted, by bisection; ``end`` where that is."""
    inside, outside = start, np.full_like(start, end)
    done = accepted(outside)
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        good = accepted(middle)
        inside, outside = np.where(good, middle, inside), np.where(good, outside, middle)
    return np.where(done, end, inside)
