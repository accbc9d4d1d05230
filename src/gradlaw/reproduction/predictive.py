"""Where a published value falls among those of several seeds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gradlaw.errors import InputError

LEAST_SEEDS = 3
_LEAST_STD = 1e-3  # on the scale: published values are rounded to about three digits


def _rate(angle: float) -> float:
    return math.sin(min(max(angle, 0.0), math.pi / 2)) ** 2


def _arcsine(rate: float) -> float:
    return math.asin(math.sqrt(rate))


# Exponents, distances and p-values are positive and spread by a factor; a rate has the scale that makes the variance
# of a count independent of it, and 0 and 1 finite.
SCALES: dict[str, Callable[[float], float]] = {
    **dict.fromkeys(("s", "d_ks", "mean_d_ks", "mean_d_ks_all", "mean_p_value"), math.log),
    **dict.fromkeys(("power_law_rate", "gaussian_rate"), _arcsine),
}


@dataclass(frozen=True)
class Predictive:
    """The distribution of a quantity under one more seed: Student's t around the mean of the seeds that were measured.

    With m seeds of mean a and standard deviation b on the quantity's scale, (x - a) / (b sqrt(1 + 1/m)) has Student's
    t distribution (normal theory of a future observation; e.g. Gelman et al., Bayesian Data Analysis, section 3.2).

    Attributes:
        quantity: one of ``SCALES``, which says the scale.
        mean: on the scale.
        std: of a single seed, on the scale.
        seeds: m.
        degrees: of freedom of ``std``: m - 1, or more if it is pooled over settings.
    """

    quantity: str
    mean: float
    std: float
    seeds: int
    degrees: int

    @classmethod
    def of(cls, quantity: str, values: Sequence[float], spread: "Spread | None" = None) -> "Predictive":
        """From the values of at least ``LEAST_SEEDS`` seeds, or of any number with a ``spread`` known from elsewhere.

        Raises:
            InputError: too few seeds.
        """
        if spread is None and len(values) < LEAST_SEEDS:
            raise InputError(
                f"{len(values)} seeds do not say how {quantity} spreads; at least {LEAST_SEEDS} are needed"
            )
        scaled = [SCALES[quantity](value) for value in values]
        own = spread or Spread.of(quantity, [values])
        return cls(quantity, float(np.mean(scaled)), own.std, len(scaled), own.degrees)

    @property
    def _error(self) -> float:
        return self.std * math.sqrt(1 + 1 / self.seeds)

    @property
    def center(self) -> float:
        """The mean in the quantity's own unit: a geometric mean of what is positive."""
        return math.exp(self.mean) if SCALES[self.quantity] is math.log else _rate(self.mean)

    def z(self, value: float) -> float:
        """How many predictive standard errors a value lies above the mean."""
        return (SCALES[self.quantity](value) - self.mean) / self._error

    def percentile(self, value: float) -> float:
        """The share of future seeds below a value, 0 to 1."""
        from scipy.stats import t

        return float(t.cdf(self.z(value), self.degrees))

    def log_density(self, value: float) -> float:
        """The logarithm of the density at a value, on the quantity's scale, in nats."""
        from scipy.stats import t

        return float(t.logpdf(self.z(value), self.degrees)) - math.log(self._error)

    def agrees(self, value: float, level: float = 0.95) -> bool:
        """Whether a value lies in the central part of this probability."""
        below = self.percentile(value)
        return (1 - level) / 2 <= below <= (1 + level) / 2


@dataclass(frozen=True)
class Spread:
    """The standard deviation of a quantity over seeds, pooled over settings, with its degrees of freedom."""

    std: float
    degrees: int

    @classmethod
    def of(cls, quantity: str, groups: Sequence[Sequence[float]]) -> "Spread":
        """Pooled over groups of seeds, each around its own mean; at least one has two seeds.

        Raises:
            InputError: no group has two.
        """
        scaled = [[SCALES[quantity](value) for value in group] for group in groups if len(group) > 1]
        if not scaled:
            raise InputError(f"one seed a setting does not say how {quantity} spreads")
        degrees = sum(len(group) - 1 for group in scaled)
        squares = sum(float(np.square(np.subtract(group, np.mean(group))).sum()) for group in scaled)
        return cls(max(math.sqrt(squares / degrees), _LEAST_STD), degrees)
