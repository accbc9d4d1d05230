"""Differences of two groups of runs, with intervals and p-values where valid ones can be given."""

from dataclasses import dataclass

import numpy as np

from gradlaw.analyze import Analysis
from gradlaw.compare.exponents import jackknifed
from gradlaw.compare.quantities import Quantity, Value
from gradlaw.compare.values import GroupValue
from gradlaw.stats.blocks import block_means
from gradlaw.stats.intervals import DifferenceEstimate, Interval, MeanEstimate


@dataclass(frozen=True)
class Difference:
    """One quantity of two groups, second less first.

    Attributes:
        first, second: names of the groups.
        quantity: its name.
        difference: None where one has no value or they do not compare; of an inverse, that of the inverses.
        interval: None where no valid one can be given.
        p_value: of no difference, two-sided; None likewise.
        reason: how, or why not.
    """

    first: str
    second: str
    quantity: str
    difference: float | None
    interval: Interval | None
    p_value: float | None
    reason: str


def difference_of(first: GroupValue, second: GroupValue, level: float) -> Difference:
    """The difference of a quantity between two groups.

    Groups with seeds are compared over seeds: Welch's test; Student's for pairs where both have the same seeds, which
    holds however seeds tie them; and where one group is a single run, whether it could be one more seed of the other,
    if both spread alike. Two single runs are compared at their own parameters.
    """
    names, quantity = (first.group.name, second.group.name), first.quantity
    differing = _disagreement(quantity, first.group.first, second.group.first)
    if differing:
        return Difference(*names, quantity.name, None, None, None, f"not compared: {differing}")
    a, b = first.mean.value, second.mean.value
    if a is None or b is None:
        return Difference(*names, quantity.name, None, None, None, (first if a is None else second).mean.reason)
    if first.seeds == second.seeds == 1:
        estimate, reason = _of_single_runs(first, second)
    else:
        estimate, reason = _over_seeds(first, second)
    if estimate is None:
        return Difference(*names, quantity.name, b - a, None, None, reason)
    return Difference(*names, quantity.name, estimate.value, estimate.interval(level), _p_value(estimate), reason)


def shared_draws(first: Analysis, second: Analysis) -> str:
    """How the minibatches of two runs depend: ``"same"`` at each iteration, ``"some"``, or ``"none"``."""
    a, b = first.settings, second.settings
    if any(a[name] != b[name] for name in ("seed", "samples", "replacement")):
        return "none"
    return "same" if all(a[name] == b[name] for name in ("batch_size", "iterations")) else "some"


Estimated = DifferenceEstimate | MeanEstimate


def _of_single_runs(first: GroupValue, second: GroupValue) -> tuple[Estimated | None, str]:
    a, b = first.of_runs[0], second.of_runs[0]
    draws = shared_draws(first.group.first, second.group.first)
    for value in (a, b):
        if value.estimate is None:
            return None, value.reason
    assert a.estimate is not None
    assert b.estimate is not None
    if draws == "same" and a.replicates is not None and b.replicates is not None:
        how = "same minibatches, jackknife over blocks of iterations left out of both"
        return jackknifed((b.value or 0) - (a.value or 0), b.replicates - a.replicates), how
    if draws == "same" and a.series is not None and b.series is not None:
        return _of_pairs(a, b)
    if draws == "none":
        return DifferenceEstimate(a.estimate, b.estimate, 0.0), "minibatches of different seeds, taken for independent"
    how = "the same minibatches in part, so that the worst dependence is assumed"
    return DifferenceEstimate(a.estimate, b.estimate, -1.0), how


def _of_pairs(a: Value, b: Value) -> tuple[Estimated | None, str]:
    """Both saw the same minibatches: what one iteration gives to both is resampled together."""
    assert a.series is not None
    assert b.series is not None
    assert a.estimate is not None
    assert b.estimate is not None
    pairs = block_means(np.stack([a.series[:, 0], b.series[:, 0]], axis=1))
    how = f"same minibatches, block bootstrap over pairs of iterations, blocks of {pairs.block}"
    if a.rate:
        product = float(np.prod(np.sqrt(pairs.covariance.diagonal())))
        correlation = float(np.clip(pairs.covariance[0, 1] / product, -1, 1)) if product > 0 else 0.0
        # Correlated errors make a difference surer; of rates near 0 or 1 that is hard to know, and not used.
        return DifferenceEstimate(a.estimate, b.estimate, min(0.0, correlation) if _few(a, b) else correlation), how
    of_difference = block_means(b.series[:, 0] - a.series[:, 0])
    error = float(np.sqrt(of_difference.covariance[0, 0]))
    if error == 0:
        return None, "no interval: the same difference in every iteration"
    return MeanEstimate(float(of_difference.values[0]), error, of_difference.degrees), how


def _few(a: Value, b: Value) -> bool:
    """Whether fewer than ten iterations pass, or do not, in one of the two."""
    counts = [min(v.series[:, 0].sum(), len(v.series) - v.series[:, 0].sum()) for v in (a, b) if v.series is not None]
    return min(counts) < 10


def _over_seeds(first: GroupValue, second: GroupValue) -> tuple[MeanEstimate | None, str]:
    a, b = (np.array([value.value for value in group.of_runs], dtype=np.float64) for group in (first, second))
    difference = float(b.mean() - a.mean())
    if min(len(a), len(b)) == 1:
        many = a if len(b) == 1 else b
        error, degrees = float(many.std(ddof=1) * np.sqrt(1 + 1 / len(many))), float(len(many) - 1)
        how = f"one run against {len(many)} seeds: could it be one more of them?"
    elif len(a) == len(b) and set(first.group.seeds) == set(second.group.seeds):
        order = [second.group.seeds.index(seed) for seed in first.group.seeds]
        pairs = b[order] - a
        error, degrees = float(pairs.std(ddof=1) / np.sqrt(len(pairs))), float(len(pairs) - 1)
        how = f"{len(pairs)} pairs of one seed, Student's test"
    else:
        parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
        error = float(np.sqrt(parts.sum()))
        weights = parts**2 / np.array([len(a) - 1, len(b) - 1])
        degrees = float(parts.sum() ** 2 / weights.sum()) if weights.sum() else 1.0
        how = f"{len(a)} and {len(b)} seeds, Welch's test"
    if error == 0:
        return None, "no interval: no spread over the seeds"
    return MeanEstimate(difference, error, degrees), how


def _p_value(estimate: Estimated) -> float:
    if isinstance(estimate, DifferenceEstimate):
        return estimate.p_value()
    from scipy import special  # the distribution alone, without scipy.stats

    return float(2 * special.stdtr(estimate.degrees, -abs(estimate.value) / estimate.standard_error))


def _disagreement(quantity: Quantity, first: Analysis, second: Analysis) -> str:
    """The settings on which two runs would have to agree and do not."""
    pairs = {name: (of(first), of(second)) for name, of in quantity.needs.items()}
    return ", ".join(f"{name} is {a} and {b}" for name, (a, b) in pairs.items() if a != b)
