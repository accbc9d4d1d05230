"""The values of a tail, chosen by their number or by a threshold."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gradlaw.errors import InputError, count
from gradlaw.stats.sample import largest, positive

DEFAULT_K = 1000


@dataclass(frozen=True)
class TailValues:
    """The largest magnitudes of a sample of ``length``, descending, float64.

    ``pinned``: lambda_min is the smallest of them; otherwise it is a threshold that was chosen beforehand.
    """

    values: np.ndarray
    lambda_min: float
    pinned: bool
    length: int

    @property
    def log_min(self) -> float:
        return math.log(self.lambda_min)

    @property
    def log_ratio(self) -> np.ndarray:
        """ln(x / lambda_min) of every value."""
        with np.errstate(over="ignore"):
            # Of close values the difference is exact, the quotient is not; of distant ones it may overflow.
            excess = (self.values - self.lambda_min) / self.lambda_min
        return np.where(np.isinf(excess), np.log(self.values) - self.log_min, np.log1p(excess))

    def refuse_degenerate(self) -> None:
        """Refuse a tail to which nothing can be fitted."""
        if self.lambda_min == 0:
            nonzero = int(np.count_nonzero(self.values))
            raise InputError(f"k={len(self.values)}, but only {nonzero} magnitudes are nonzero: take a smaller k")
        if self.values[0] == self.lambda_min:
            what = f"the k={len(self.values)} largest magnitudes all equal {self.lambda_min}"
            raise InputError(f"{what}: no distribution can be fitted")


def tail_values(sample: Tensor, k: int | None, threshold: float | None) -> TailValues:
    """The k largest of a sample of magnitudes, or all from the threshold on.

    Raises:
        InputError: both or a k that does not fit; a threshold that is no positive number, or that fewer than two
            magnitudes reach.
    """
    if threshold is None:
        size = check_size(k, len(sample))
        values = largest(sample, size).numpy()
        return TailValues(values, float(values[-1]), True, len(sample))
    if k is not None:
        raise InputError(f"k={k} and threshold={threshold} both choose the tail: give one of them")
    threshold = positive(threshold, "threshold")
    # Compared in float64, in which the threshold is given.
    reaching = sample[sample.double() >= threshold]
    if len(reaching) < 2:
        raise InputError(
            f"threshold={threshold} is reached by {len(reaching)} of {len(sample)} magnitudes; a fit needs 2"
        )
    return TailValues(largest(reaching, len(reaching)).numpy(), threshold, False, len(sample))


def check_size(k: int | None, length: int) -> int:
    """k, 1000 by default, as a Python integer if a sample of this length has as many values."""
    if length < 2:
        raise InputError(f"a series of {length} values is too short for a power law: it needs at least 2")
    size = DEFAULT_K if k is None else count(k, "k", 0)
    if not 2 <= size <= length:
        raise InputError(f"k={size} values were asked for; a series of {length} values allows k from 2 to {length}")
    return size
