"""Roots of many monotone functions at once."""

from collections.abc import Callable

import numpy as np


def monotone_roots(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Roots of m functions between points of opposite sign, and whether each was found to 1e-12 of its size.

    ``function(x, rows)`` gives the values at x of the functions that are numbered ``rows``. The Illinois variant of
    the false position method, with a bisection wherever three steps have not halved the bracket.
    """
    low, high = low.astype(float), high.astype(float)
    active = np.arange(len(low))
    at_low, at_high = function(low, active), function(high, active)
    found = np.where(at_low == 0, low, high)
    converged = (at_low == 0) | (at_high == 0)
    width = np.abs(high - low)
    for step in range(200):
        active = active[~converged[active]]
        if not len(active):
            break
        a, b, fa, fb = low[active], high[active], at_low[active], at_high[active]
        middle = (a + b) / 2
        x = b - fb * (b - a) / (fb - fa)
        if step % 3 == 2:
            slow = np.abs(b - a) > width[active] / 2
            x = np.where(slow, middle, x)
            width[active] = np.abs(b - a)
        x = np.where((x - a) * (x - b) < 0, x, middle)
        fx = function(x, active)
        same = np.sign(fx) == np.sign(fb)
        low[active] = np.where(same, a, b)
        at_low[active] = np.where(same, fa / 2, fb)
        high[active], at_high[active] = x, fx
        found[active] = x
        converged[active] = (fx == 0) | (np.abs(x - np.where(same, a, b)) <= 1e-12 * np.abs(x))
        converged[active] |= np.abs(x - b) <= 1e-13 * np.abs(x)
    return found, converged
