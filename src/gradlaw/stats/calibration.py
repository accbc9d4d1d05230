"""The null distributions by which verdicts are calibrated, tabulated by sample size.

Both statistics are free of the parameters of their null, so one table each serves every series. The tables are
simulated by ``tools/make_null_tables.py``. Between sizes they are interpolated linearly in size^(-1/2), between
probabilities linearly in the logarithm of the survival probability; beyond the last tabulated probability (1e-4) a
p-value continues as exp(-c x^2) does.
"""

import math
from functools import lru_cache
from importlib.resources import files

import numpy as np
from scipy import special

from gradlaw.errors import InputError


@lru_cache(maxsize=1)
def _tables() -> dict[str, np.ndarray]:
    with files("gradlaw.stats").joinpath("null_tables.npz").open("rb") as file, np.load(file) as tables:
        return dict(tables)


class NullDistribution:
    """The distribution of one tabulated statistic under its null, for samples of one size."""

    def __init__(self, statistic: str, size: int):
        tables = _tables()
        root = tables[f"{statistic}_sizes"] ** -0.5  # descending, the last is zero
        position = np.interp(-(size**-0.5), -root, np.arange(len(root)))
        low, share = int(position), position % 1
        rows = tables[f"{statistic}_quantiles"]
        quantiles = rows[low] if share == 0 else (1 - share) * rows[low] + share * rows[low + 1]
        # Levels are ascending survival probabilities, quantiles therefore descending: turn both round.
        self._quantiles = np.maximum.accumulate(quantiles[::-1])
        self._log_survival = np.log(tables["levels"])[::-1]

    def isf(self, alpha: float) -> float:
        """The value exceeded with probability ``alpha``."""
        if not np.exp(self._log_survival[-1]) <= alpha <= np.exp(self._log_survival[0]):
            raise InputError(f"alpha must lie in the tabulated range 0.0001 to 0.9999, got {alpha}")
        return float(np.interp(-np.log(alpha), -self._log_survival, self._quantiles))

    def sf(self, value: np.ndarray) -> np.ndarray:
        """The probability of a larger value."""
        value = np.asarray(value, dtype=np.float64)
        inside = np.interp(value, self._quantiles, self._log_survival, left=0.0)
        last, log_last = self._quantiles[-1], self._log_survival[-1]
        return np.exp(np.where(value > last, log_last * (value / last) ** 2, inside))


def ks_null(k: int) -> NullDistribution:
    """sqrt(k) d_ks of a fitted power law, for a tail of k values that is one."""
    return NullDistribution("ks_power_law", k)


def critical_distance(k: int, alpha: float = 0.05) -> float:
    """The published critical Kolmogorov-Smirnov distance: 1.36 / sqrt(k) at alpha = 0.05.

    It belongs to a fully specified distribution (Massey 1951), while the exponent here is fitted to the same data: see
    :func:`calibrated_critical_distance`. The constant is sqrt(ln(2 / alpha) / 2), rounded to two digits as in the
    published tables.
    """
    return round(math.sqrt(math.log(2 / alpha) / 2), 2) / math.sqrt(k)


def calibrated_critical_distance(k: int, alpha: float = 0.05) -> float:
    """The distance that a true power-law tail of k values exceeds with probability alpha when its exponent is fitted.

    A Lilliefors-type quantile: about 1.088 / sqrt(k) at alpha = 0.05 and k = 1000.
    """
    return ks_null(k).isf(alpha) / math.sqrt(k)


def gaussian_pass_rate(k: int, alpha: float = 0.05) -> float:
    """The probability that k independent normal values have a D'Agostino-Pearson p-value above alpha.

    It is 0.946 at k = 100 rather than 0.95, for the test's p-value comes from the limit of its distribution.
    """
    return 1 - float(NullDistribution("normaltest", k).sf(np.array(special.chdtri(2, alpha))))
