"""Means of series that are not independent: the variance that a block bootstrap gives, in closed form.

The circular block bootstrap (Politis and Romano 1992) draws blocks of b successive values, the last joined to the
first. The variance of a mean under it needs no drawing: it is (1/T) sum_k (1 - |k|/b)_+ R(k), with R(k) the circular
autocovariances. The block length follows Politis and White (2004) with the correction of Patton, Politis and White
(2009). That variance is too small where blocks are short, so it is at least the one of the flat-top estimate from which
the block length is chosen (Politis and Romano 1995), which has less bias; and at least that of independent values, also
for series that repel one another, as those of epochs without replacement do.
"""

import math
from dataclasses import dataclass

import numpy as np

from gradlaw.by_value import ByValue

_SIGNIFICANT = 2.0  # standard deviations of an autocorrelation of white noise, times sqrt(log10 T)
_FEWEST_INSIGNIFICANT = 5  # successive lags


@dataclass(frozen=True, eq=False)
class BlockMeans(ByValue):
    """Means of m series over the same iterations.

    Attributes:
        values: shape (m,).
        covariance: of the means, shape (m, m).
        block: length of the blocks.
        inflation: variance of each mean over that of as many independent values, at least 1; shape (m,).
        degrees: of freedom: blocks less one.
        length: T.
    """

    values: np.ndarray
    covariance: np.ndarray
    inflation: np.ndarray
    block: int
    degrees: int
    length: int


def block_means(series: np.ndarray) -> BlockMeans:
    """The means of series with their covariance.

    Args:
        series: (T,), or (T, m) for m series over the same iterations.
    """
    columns = np.asarray(series, dtype=np.float64).reshape(len(series), -1)
    length = len(columns)
    blocks, levels = zip(*map(_dependence, columns.T), strict=True)
    block = max(blocks)
    centred = columns - columns.mean(axis=0)
    independent = centred.T @ centred / length**2
    covariance = independent.copy()
    for lag in range(1, block):
        moved = centred.T @ np.roll(centred, -lag, axis=0) / length**2
        covariance += (1 - lag / block) * (moved + moved.T)
    measured = _ratio(covariance.diagonal(), independent.diagonal())
    inflation = np.maximum(np.maximum(1, measured), levels)
    scale = np.sqrt(inflation / np.maximum(measured, np.finfo(float).tiny))
    covariance *= np.outer(scale, scale) * length / max(1, length - 1)
    return BlockMeans(columns.mean(axis=0), covariance, inflation, block, max(1, length // block - 1), length)


def block_length(series: np.ndarray) -> int:
    """The block length that makes the variance of the mean most accurate; 1 for white noise and for a constant.

    Args:
        series: (T,).
    """
    return _dependence(series)[0]


def _dependence(series: np.ndarray) -> tuple[int, float]:
    """The block length, and the variance of the mean over that of independent values by a flat-top lag window."""
    length = len(series)
    centred = series - series.mean()
    most = math.ceil(min(3 * math.sqrt(length), length / 3))
    fewest = max(_FEWEST_INSIGNIFICANT, math.ceil(math.sqrt(math.log10(max(length, 2)))))
    variance = float(centred @ centred)
    if variance <= (np.finfo(float).eps * length * np.abs(series).max()) ** 2 or length <= 2 * fewest:
        return 1, 1.0
    lags = min(length - 1, most + fewest)
    r = np.array([centred[: length - k] @ centred[k:] for k in range(lags + 1)]) / variance
    significant = np.abs(r[1:]) >= _SIGNIFICANT * math.sqrt(math.log10(length) / length)
    last = next((m for m in range(lags - fewest + 1) if not significant[m : m + fewest].any()), most)
    width = min(2 * last, lags)
    if width == 0:
        return 1, 1.0
    k = np.arange(1, width + 1)
    flat_top = np.clip(2 * (1 - k / width), 0, 1)
    slope = 2 * float((flat_top * k * r[1 : width + 1]).sum())
    level = 1 + 2 * float((flat_top * r[1 : width + 1]).sum())
    best = (2 * slope**2 / (4 / 3 * level**2)) ** (1 / 3) * length ** (1 / 3) if level else most
    return int(min(most, max(1, math.ceil(best)))), level


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(below > 0, above / np.where(below > 0, below, 1), 1.0)
