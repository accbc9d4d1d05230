"""A noise scale with an interval that stays right where the signal is nearly lost."""

import math
from dataclasses import dataclass

from gradlaw.spectra.noise import Estimate


@dataclass(frozen=True)
class ScaleEstimate:
    """A gradient noise scale, in samples.

    Attributes:
        value: infinite where the measured signal is not above 0.
        low, high: of its confidence interval; ``high`` is infinite where the signal is not significantly above 0.
        standard_error: of ``value``; infinite where it has none.
    """

    value: float
    low: float
    high: float
    standard_error: float

    @property
    def has_signal(self) -> bool:
        """Whether the signal is significantly above 0."""
        return math.isfinite(self.high)


def noise_scale_of(inverse: Estimate, degrees: int, level: float) -> ScaleEstimate:
    """The noise scale from signal over noise per sample, its inverse.

    The inverse is nearly normal even where the signal is lost, while the noise scale itself then has neither mean nor
    variance; so the interval is that of the inverse, turned over (Fieller 1954, for a noise that is known far better
    than the signal).

    Args:
        inverse: |g|^2 / tr Sigma with its standard error; may be below 0.
        degrees: of freedom of the standard error.
        level: of the interval.
    """
    from scipy import stats  # half a second to load

    reach = float(stats.t.ppf((1 + level) / 2, degrees)) * inverse.standard_error
    below, above = inverse.value - reach, inverse.value + reach
    value = 1 / inverse.value if inverse.value > 0 else math.inf
    error = inverse.standard_error * value**2 if math.isfinite(value) else math.inf
    return ScaleEstimate(value, 1 / above if above > 0 else math.inf, 1 / below if below > 0 else math.inf, error)
