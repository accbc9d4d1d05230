"""What the power-law verdicts are worth: how often series without a power law pass them.

A Gaussian series has no power-law tail, but over few of its largest values nobody can tell. The share of Gaussian
series that pass is the false-alarm rate of "power law" as a finding. It falls with K and, at the same K, grows with the
length L of the series, whose tail then starts further out and looks straighter.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from gradlaw.errors import InputError
from gradlaw.stats.powerlaw import check_k, fit_power_law_rows

K = 1000  # the paper's, where no other is asked for
GAUSSIAN_K = 100
HIGHEST_SHARE = 0.2  # of Gaussian series that may pass a verdict worth giving
TAIL_SHARE = 3  # a tail is at most this part of its series
_VALUES = 400_000  # simulated, or thereabouts
_FEWEST, _MOST = 200, 2000  # series: a share of 20% is known to 2.8% and to 0.9%
_BLOCK = 2**21  # values in memory at once
_LONGEST = 10**6  # length up to which one is looked for


class FalseAlarmRates(NamedTuple):
    """Shares of series that pass the published and the calibrated verdict."""

    published: float
    calibrated: float


@lru_cache(maxsize=4096)
def false_alarm_rates(length: int, k: int, alpha: float = 0.05) -> FalseAlarmRates:
    """The shares of series of independent Gaussian values whose k largest magnitudes pass as a power law.

    Simulated with a seed of its own, so that the same arguments always give the same shares, from 200 series (large k)
    to 2,000. Only the k largest magnitudes are drawn, whatever the length: the survival probabilities of the largest of
    L independent values are Gamma_i / Gamma_(L + 1), with Gamma the partial sums of standard exponentials (Renyi 1953).

    Args:
        length: L, values in a series; the mean is taken for known to be zero.
        k: how many of the largest magnitudes are used, from 2 to L.
        alpha: significance level of both verdicts, in (0, 1).

    Raises:
        InputError: k does not fit the length, or an alpha out of its range.
    """
    check_k(k, length)
    draws = min(_MOST, max(_FEWEST, _VALUES // k))
    random = np.random.default_rng([length, k])
    passed = np.zeros(2)
    for first in range(0, draws, max(1, _BLOCK // k)):
        rows = min(draws - first, max(1, _BLOCK // k))
        fits = fit_power_law_rows(_largest_of_gaussian(random, rows, length, k), k, alpha)
        passed += fits.is_power_law.sum(), fits.is_power_law_calibrated.sum()
    return FalseAlarmRates(*(passed / draws).tolist())


def _largest_of_gaussian(random: np.random.Generator, rows: int, length: int, k: int) -> np.ndarray:
    """The k largest magnitudes of ``rows`` series, descending; shape (rows, k)."""
    sums = random.standard_exponential((rows, k)).cumsum(axis=1)
    total = sums[:, -1:] + random.standard_gamma(length + 1 - k, (rows, 1))
    return -ndtri(sums / total / 2)


def no_verdict(length: int, k: int, alpha: float = 0.05, calibrated: bool = False) -> str | None:
    """Why k of so many values give no verdict on a power law, and which would; None if they give one.

    There is none where k is more than a third of the series, which is no tail any more, or where more than 20% of
    Gaussian series pass.

    Args:
        length: L, values in a series.
        k: how many of the largest magnitudes are used.
        alpha: significance level.
        calibrated: of the calibrated verdict instead of the published one.

    Raises:
        InputError: see :func:`false_alarm_rates`.
    """
    share = false_alarm_rates(length, k, alpha)[calibrated]
    if k * TAIL_SHARE > length:
        why = f"K = {k:,} is more than a third of the {length:,} values of a series"
    elif share > HIGHEST_SHARE:
        why = f"{share:.0%} of Gaussian series of {length:,} values pass too at K = {k:,}"
    else:
        return None
    return f"{why}; {_what_would(length, alpha, calibrated)}"


def lowered_k(k: int, length: int) -> int:
    """k, or a third of the length where that is smaller: a tail of all values is none. No less than 2."""
    return min(k, max(2, length // TAIL_SHARE))


@lru_cache(maxsize=1024)
def _what_would(length: int, alpha: float, calibrated: bool) -> str:
    smallest = smallest_k(length, alpha, calibrated)
    most = length // TAIL_SHARE
    if smallest is not None:
        between = f"K = {most:,}" if smallest == most else f"K from {smallest:,} to {most:,}"
        return f"{between} would give a verdict on series of this length"
    shortest = shortest_length(alpha, calibrated)
    return f"series of {shortest:,} values with K = {shortest // TAIL_SHARE:,} would give a verdict, shorter ones none"


@lru_cache(maxsize=1024)
def smallest_k(length: int, alpha: float = 0.05, calibrated: bool = False) -> int | None:
    """The smallest K, to two digits, at which series of this length get a verdict; None if none up to a third does."""
    most = length // TAIL_SHARE
    if most < 2:
        return None

    def passes(k: int) -> bool:
        return false_alarm_rates(length, k, alpha)[calibrated] <= HIGHEST_SHARE

    first = _first(most, passes)
    return first if first < most else most if passes(most) else None


@lru_cache(maxsize=64)
def shortest_length(alpha: float = 0.05, calibrated: bool = False) -> int:
    """The smallest length, to two digits, at which K of a third of the series gives a verdict.

    Raises:
        InputError: none up to a million values does, at an alpha very close to 0.
    """

    def passes(length: int) -> bool:
        return false_alarm_rates(length, length // TAIL_SHARE, alpha)[calibrated] <= HIGHEST_SHARE

    found = _first(_LONGEST, passes)
    if found >= _LONGEST:
        raise InputError(f"alpha={alpha}: no series of up to {_LONGEST:,} values gives a verdict at this level")
    return found


def _first(most: int, passes: Callable[[int], bool]) -> int:
    """The first of 11, ..., 99, 100, 110, ... that passes, by bisection; one no less than ``most`` if none below does.

    What passes must go on to do so above. The doubling steps keep away from large values, which take longest.
    """
    low, high = 0, 1
    while _two_digits(high) < most and not passes(_two_digits(high)):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _two_digits(middle) >= most or passes(_two_digits(middle)):
            high = middle
        else:
            low = middle
    return _two_digits(high)


def _two_digits(index: int) -> int:
    decade, digits = divmod(index, 90)
    return (10 + digits) * 10**decade
