"""Tied values in a tail, and the lattice they lie on: a continuous law has neither."""

from typing import NamedTuple

import numpy as np

_LARGEST_COUNT = 2.0**53  # beyond it floats are no consecutive integers
_DIVISORS = range(1, 9)  # the smallest gap of a sample may be a few steps of its lattice
_NOTABLE_TIES = 0.01  # share of a tail; a tie of two shifts the empirical distribution by 1 / k
_NOTABLE_STEP = 1e-3  # of lambda_min; a step of the distribution function is about (beta - 1) times that
_SURE, _SURE_OF_MANY, _MANY = 1e-3, 0.05, 12  # of a step: without a lattice so many values do not come so close


class Ties(NamedTuple):
    """``share`` of the values equals another one; ``lattice`` is a step of which all are multiples, or None."""

    share: float
    lattice: float | None


def find_ties(values: np.ndarray, eps: float = float(np.finfo(np.float64).eps)) -> Ties:
    """Ties and lattice of positive values of shape (k,), k >= 2; ``eps`` is the relative precision they came in.

    A lattice is looked for among integers and where values are tied: floats are multiples of their last binary digit,
    which says nothing about them.
    """
    distinct, counts = np.unique(values, return_counts=True)
    share = float(counts[counts > 1].sum() / len(values))
    if distinct[-1] < _LARGEST_COUNT and (distinct == np.rint(distinct)).all():
        return Ties(share, float(np.gcd.reduce(distinct.astype(np.int64))))
    return Ties(share, _step(distinct, eps) if share > 0 and len(distinct) > 2 else None)


def _step(distinct: np.ndarray, eps: float) -> float | None:
    """The largest step of which all ascending values are multiples, up to their precision."""
    gap, sure = float(np.diff(distinct).min()), _SURE if len(distinct) < _MANY else _SURE_OF_MANY
    for divisor in _DIVISORS:
        step = gap / divisor
        multiples = np.rint(distinct / step)
        if multiples[-1] > sure / (4 * eps):  # all values of this precision are multiples of so small a step
            return None
        step = float(distinct @ multiples / (multiples @ multiples))  # the gap has the rounding of two values
        if multiples[0] >= 1 and np.abs(distinct / step - multiples).max() <= min(sure, 4 * eps * multiples[-1]):
            return step
    return None


def fit_notices(k: int, lambda_min: float, ties: float, lattice: float | None) -> tuple[str, ...]:
    """What ties and a lattice mean for the verdict of a continuous law, in words."""
    if ties < _NOTABLE_TIES and (lattice is None or lattice < _NOTABLE_STEP * lambda_min):
        return ()
    tied = f"{ties:.0%} of the {k} values equal another of them"
    if lattice is None or lattice < _NOTABLE_STEP * lambda_min:
        to = "" if lattice is None else f" to multiples of {lattice:.6g}"
        return (f"{tied}: the values are rounded{to}, which can make d_ks larger and the p-value smaller",)
    what = "integers" if lattice == 1 else f"multiples of {lattice:.6g}"
    advice = "fit_discrete_power_law" + ("" if lattice == 1 else f" of the values divided by {lattice:.6g}")
    return (f"{tied} and all are {what}: a continuous law and its p-value do not describe them; see {advice}",)
