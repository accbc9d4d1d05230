"""The null distributions by which verdicts are calibrated, tabulated by sample size.

Both statistics are free of the parameters of their null, so one table each serves every series:
``tools/make_null_tables.py`` computes that of the power-law fit exactly and simulates that of the Gaussian test.
Between sizes they are interpolated linearly in size^(-1/2), between probabilities linearly in the logarithm of the
survival probability. Beyond the last tabulated probability (1e-10 and 1e-4) they continue as
:class:`NullDistribution` says.
"""

import math
from functools import lru_cache
from importlib.resources import files

import numpy as np
from scipy import special

from gradlaw.errors import count, significance
from gradlaw.stats.gaussian import SHORTEST

_ROUNDING = 1e-12  # relative: a distance this close to the smallest one is the smallest one


@lru_cache(maxsize=1)
def _tables() -> dict[str, np.ndarray]:
    with files("gradlaw.stats").joinpath("null_tables.npz").open("rb") as file, np.load(file) as tables:
        return dict(tables)


class NullDistribution:
    """The distribution of one tabulated statistic under its null, for samples of one size.

    sqrt(k) times the distance of a fitted power law has an atom at its smallest value, k^(-1/2): all samples of two
    values are there, 46% of those of three, 21% of four, 9% of five, 3% of six and next to none above ten. So ``sf`` is
    P(statistic >= value), which is 1 at the atom. Its largest value is sqrt(k) (1 - 1/k). Beyond the tabulated
    probabilities it continues as exp(-c x^2), as the limit for large k does, or as the power of the distance from that
    largest value to which short samples come, whichever is smaller; K^2 of the Gaussian test continues as exp(-c x).
    """

    def __init__(self, statistic: str, size: int):
        tables = _tables()
        root = tables[f"{statistic}_sizes"] ** -0.5  # descending, the last is zero
        position = float(np.interp(-(size**-0.5), -root, np.arange(len(root))))

        def at_size(rows: np.ndarray) -> np.ndarray:
            low, share = int(position), position % 1
            return rows[low] if share == 0 else (1 - share) * rows[low] + share * rows[low + 1]

        # Levels are ascending survival probabilities, quantiles therefore descending: turn both round.
        quantiles = np.maximum.accumulate(at_size(tables[f"{statistic}_quantiles"])[::-1])
        log_survival = np.log(tables[f"{statistic}_levels"])[::-1]
        self._bounded = statistic == "ks_power_law"
        self._smallest, above = (0.0, 1.0)
        self._largest = math.inf
        if self._bounded:
            self._smallest, above = size**-0.5, float(at_size(tables[f"{statistic}_above_smallest"]))
            self._largest = math.sqrt(size) * (1 - 1 / size)
        inside = log_survival < math.log(above) if above else np.zeros(len(log_survival), dtype=bool)
        self._values = np.append(self._smallest, quantiles[inside])
        self._log_survival = np.append(math.log(above) if above else -math.inf, log_survival[inside])

    def isf(self, alpha: float) -> float:
        """The value exceeded with probability ``alpha``, or the smallest value if that is exceeded less often."""
        log_alpha = math.log(significance(alpha))
        if log_alpha >= self._log_survival[0]:
            return self._smallest
        if log_alpha >= self._log_survival[-1]:
            return float(np.interp(-log_alpha, -self._log_survival, self._values))
        last, log_last = self._values[-1], self._log_survival[-1]
        if not self._bounded:
            return float(last * log_alpha / log_last)
        room = (self._largest - last) * math.exp((log_alpha - log_last) / self._power())
        return float(min(last * math.sqrt(log_alpha / log_last), self._largest - room))

    def sf(self, value: np.ndarray) -> np.ndarray:
        """The probability of this value or a larger one."""
        value = np.asarray(value, dtype=np.float64)
        log_survival = np.interp(value, self._values, self._log_survival)
        if len(self._values) > 1:
            log_survival = np.where(value > self._values[-1], self._beyond(value), log_survival)
        return np.where(value <= self._smallest * (1 + _ROUNDING), 1.0, np.exp(log_survival))

    def _beyond(self, value: np.ndarray) -> np.ndarray:
        last, log_last = self._values[-1], self._log_survival[-1]
        if not self._bounded:
            return log_last * value / last
        with np.errstate(divide="ignore"):  # a probability of zero
            room = np.log(np.clip(self._largest - value, 0.0, None) / (self._largest - last))
        return np.minimum(log_last * (value / last) ** 2, log_last + self._power() * room)

    def _power(self) -> float:
        """Of the distance from the largest value: that of the last two tabulated points."""
        left = np.log(self._largest - self._values[-2:])
        return float((self._log_survival[-1] - self._log_survival[-2]) / (left[1] - left[0]))


def ks_null(k: int) -> NullDistribution:
    """sqrt(k) d_ks of a fitted power law, for a tail of k values that is one."""
    return NullDistribution("ks_power_law", k)


def critical_distance(k: int, alpha: float = 0.05) -> float:
    """The published critical Kolmogorov-Smirnov distance: 1.36 / sqrt(k) at alpha = 0.05.

    It belongs to a fully specified distribution (Massey 1951), while the exponent here is fitted to the same data: see
    :func:`calibrated_critical_distance`. The constant is sqrt(ln(2 / alpha) / 2), rounded to two digits as in the
    published tables.

    Args:
        k: how many values, at least 2.
        alpha: the probability, inside (0, 1).

    Raises:
        InputError: k < 2, or alpha outside (0, 1).
    """
    k, alpha = count(k, "k", 2), significance(alpha)
    return round(math.sqrt(math.log(2 / alpha) / 2), 2) / math.sqrt(k)


def calibrated_critical_distance(k: int, alpha: float = 0.05) -> float:
    """The distance that a true power-law tail of k values exceeds with probability alpha when its exponent is fitted.

    A Lilliefors-type quantile: about 1.088 / sqrt(k) at alpha = 0.05 and k = 1000. Any alpha inside (0, 1) will do: to
    1e-10 the table is exact, smaller ones continue it. Short tails have an atom at 1/k, and where more than 1 - alpha
    of the distribution is there this is 1/k, exceeded less often than alpha (at k = 2, never).

    Args:
        k: how many values, at least 2.
        alpha: the probability, inside (0, 1).

    Raises:
        InputError: k < 2, or alpha outside (0, 1).
    """
    k = count(k, "k", 2)
    return ks_null(k).isf(alpha) / math.sqrt(k)


def gaussian_pass_rate(k: int, alpha: float = 0.05) -> float:
    """The probability that k independent normal values have a D'Agostino-Pearson p-value above alpha.

    It is 0.946 at k = 100 rather than 0.95, for the test's p-value comes from the limit of its distribution.

    Args:
        k: how many values, at least 8.
        alpha: significance level, inside (0, 1).

    Raises:
        InputError: k < 8, or alpha outside (0, 1).
    """
    k, alpha = count(k, "k", SHORTEST), significance(alpha)
    return 1 - float(NullDistribution("normaltest", k).sf(np.array(special.chdtri(2, alpha))))
