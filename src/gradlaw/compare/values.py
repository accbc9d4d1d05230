"""The quantities of each group of runs: those of its one run, or means over its seeds."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gradlaw.by_value import ByValue
from gradlaw.compare.quantities import Quantity, Value, missing
from gradlaw.compare.runs import Group
from gradlaw.stats.intervals import Interval, MeanEstimate


@dataclass(frozen=True, eq=False)
class GroupValue(ByValue):
    """A quantity of one group.

    Attributes:
        group, quantity: which.
        of_runs: in each of its runs.
        mean: over them: that of the run itself if there is one, a mean with Student's interval over seeds otherwise.
    """

    group: Group
    quantity: Quantity
    of_runs: tuple[Value, ...]
    mean: Value

    @property
    def seeds(self) -> int:
        """How many runs there are."""
        return len(self.of_runs)

    def shown(self, level: float) -> tuple[float | None, float | None, float | None]:
        """Value and interval as they are shown: of inverses turned over, infinite where they reach below 0."""
        if self.mean.value is None:
            return None, None, None
        ends = None if self.mean.estimate is None else self.mean.estimate.interval(level)
        if not self.quantity.inverse:
            low, high = (None, None) if ends is None else _within(ends, self.mean.rate)
            return self.mean.value, low, high
        low, high = (None, None) if ends is None else (_inverse(ends.high), _inverse(ends.low))
        return _inverse(self.mean.value), low, high


def value_of(group: Group, quantity: Quantity, known: Mapping[str, Value] | None = None) -> GroupValue:
    """A quantity of a group of runs; ``known`` has those of runs, by name, that more than a record was used for."""
    known = known or {}
    values = tuple(known[name] if name in known else quantity.of(run) for name, run in group.runs.items())
    return GroupValue(group, quantity, values, values[0] if len(values) == 1 else over_seeds(values))


def over_seeds(values: tuple[Value, ...]) -> Value:
    """The mean over seeds with Student's interval, which holds whatever dependence there is within a run."""
    absent = next((value for value in values if value.value is None), None)
    if absent is not None:
        return missing(f"not in every seed: {absent.reason}")
    numbers = np.array([value.value for value in values], dtype=np.float64)
    if not np.isfinite(numbers).all():
        return missing("infinite in one of the seeds")
    error = float(numbers.std(ddof=1) / np.sqrt(len(numbers)))
    how, rate = f"mean of {len(numbers)} seeds, Student's interval", values[0].rate
    if error == 0:
        return Value(float(numbers[0]), None, f"no interval: the same in all {len(numbers)} seeds", rate=rate)
    return Value(float(numbers.mean()), MeanEstimate(float(numbers.mean()), error, len(numbers) - 1), how, rate=rate)


def _within(ends: Interval, rate: bool) -> tuple[float, float]:
    return (max(0.0, ends.low), min(1.0, ends.high)) if rate else (ends.low, ends.high)


def _inverse(value: float) -> float:
    return 1 / value if value > 0 else float("inf")
