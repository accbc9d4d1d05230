"""Confidence intervals of means and rates, of their differences, and p-values of many of these."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

_SURE = 1e-12  # the smallest p-value that is searched for


class Interval(NamedTuple):
    """Its ends."""

    low: float
    high: float


class Measured(Protocol):
    """A value with an interval at any level."""

    @property
    def value(self) -> float: ...

    def interval(self, level: float) -> Interval: ...


@dataclass(frozen=True)
class MeanEstimate:
    """A value whose error is nearly normal.

    Attributes:
        value: of it.
        standard_error: estimated.
        degrees: of freedom of ``standard_error``.
    """

    value: float
    standard_error: float
    degrees: float

    def interval(self, level: float) -> Interval:
        """Student's."""
        reach = _quantile(level, self.degrees) * self.standard_error
        return Interval(self.value - reach, self.value + reach)


@dataclass(frozen=True)
class RateEstimate:
    """A share of series that pass, which are worth fewer independent ones.

    Attributes:
        value: from 0 to 1.
        count: how many independent series have a rate of this variance.
        degrees: of freedom of that count.
    """

    value: float
    count: float
    degrees: float

    def interval(self, level: float) -> Interval:
        """Wilson's, with Student's quantile; never empty, also at rates of 0 and 1."""
        q = _quantile(level, self.degrees)
        weight = q**2 / self.count
        middle = (self.value + weight / 2) / (1 + weight)
        reach = q / (1 + weight) * math.sqrt(self.value * (1 - self.value) / self.count + weight / (4 * self.count))
        return Interval(max(0.0, min(middle - reach, self.value)), min(1.0, max(middle + reach, self.value)))


@dataclass(frozen=True)
class DifferenceEstimate:
    """The difference of two measured values, second less first.

    The interval puts together how far each value's own interval reaches (the method of variance estimates recovery:
    Newcombe 1998 for rates, Zou and Donner 2008), and the p-value is the level at which it just reaches 0.

    Attributes:
        first, second: the values.
        correlation: of their errors. -1, the worst case, holds whatever it is.
    """

    first: Measured
    second: Measured
    correlation: float

    @property
    def value(self) -> float:
        """Second less first."""
        return self.second.value - self.first.value

    def interval(self, level: float) -> Interval:
        """Of the difference."""
        a, b = self.first.interval(level), self.second.interval(level)
        below = self._reach(self.second.value - b.low, a.high - self.first.value)
        above = self._reach(b.high - self.second.value, self.first.value - a.low)
        return Interval(self.value - below, self.value + above)

    def p_value(self) -> float:
        """Of no difference, two-sided; at least 1e-12."""
        from scipy.optimize import brentq  # loads slowly

        def beyond(p: float) -> float:
            low, high = self.interval(1 - p)
            return min(-low, high)  # below 0 where 0 lies outside

        if self.value == 0 or beyond(1 - _SURE) >= 0:
            return 1.0
        if beyond(_SURE) <= 0:
            return _SURE
        return float(brentq(beyond, _SURE, 1 - _SURE, xtol=1e-12))

    def _reach(self, of_second: float, of_first: float) -> float:
        square = of_second**2 + of_first**2 - 2 * self.correlation * of_second * of_first
        return math.sqrt(max(0.0, square))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """P-values adjusted for their number (Holm 1979): those at most alpha hold all together at level alpha.

    NaN stays what it is, and does not count.

    Args:
        p_values: of several tests, dependent in any way.
    """
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.maximum.accumulate(np.minimum(1.0, factors * p[order]))
    return adjusted


def _quantile(level: float, degrees: float) -> float:
    from scipy import special  # the quantile alone, without scipy.stats

    return float(special.stdtrit(degrees, (1 + level) / 2))
