"""Where does the power law begin? The scan over lambda_min of Clauset, Shalizi, Newman 2009, and its bootstrap test."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlaw import random_streams
from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, count
from gradlaw.errors import seed as check_seed
from gradlaw.stats.arrays import Array, as_sample, refuse_non_finite
from gradlaw.stats.nan_policy import NanPolicy, without_nan
from gradlaw.stats.powerlaw import PowerLawFit, check_k, fit_power_law, fit_power_law_rows

_BLOCK = 2**19  # values that are worked on at once
_COLUMNS = 2**16  # of them, of one tail
_SMALLEST_QUOTIENT = 1e-290  # that still has all of its digits, with room
_MOST_REDRAWN = 20  # synthetic samples without a tail to try, to each one with


@dataclass(frozen=True, eq=False)
class TailStartScan(ByValue):
    """The k with the smallest Kolmogorov-Smirnov distance, and the distances and exponents of all k that were tried.

    ``k``, ``d_ks`` and ``s`` are arrays of shape (c,), k ascending. ``best`` is the fit at the chosen k. Its
    ``d_critical``, ``d_critical_calibrated``, ``p_value`` and both verdicts are those of a k fixed beforehand: they
    **do not hold** for a k chosen by its distance, which makes that distance too small. See
    :func:`bootstrap_p_value`.
    """

    best: PowerLawFit
    k: Array
    d_ks: Array
    s: Array


def scan_tail_start(
    values: Array,
    smallest: int = 10,
    largest: int | None = None,
    points: int | None = 200,
    *,
    nan_policy: NanPolicy = "raise",
) -> TailStartScan:
    """Choose the number of values k in the tail, and with it lambda_min, that minimises d_ks.

    Only tails that hold all values equal to their lambda_min are tried: a k that would divide a group of ties is moved
    to its end. The values are sorted once, the exponents come from one cumulative sum. The memory is that of up to
    eight copies of the values in float64, and 30 MB.

    Args:
        values: array of shape (L,).
        smallest: the smallest k, at least 2. Distances of very small tails are erratic.
        largest: the largest k, by default all nonzero magnitudes.
        points: how many k to try, in geometric progression; None tries them all, in time O(largest^2).
        nan_policy: "raise" refuses NaN, "omit" leaves them out.

    Returns:
        The scan (Clauset, Shalizi, Newman 2009, section 3.3). The verdicts of its ``best`` fit do not allow for the
        choice.

    Raises:
        InputError: not 2 <= smallest <= largest <= number of nonzero magnitudes, points < 2, no two different
            magnitudes in any tail, or a value that is not finite.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> scan = scan_tail_start(np.concatenate([rng.pareto(1.5, 1000) + 1, rng.random(9000)]))
        >>> 500 < scan.best.k < 1100
        True
    """
    sample = without_nan(as_sample(values), nan_policy)
    logs = _log_magnitudes(sample)
    smallest, largest = _checked_range(logs, smallest, largest)
    sizes, distances, exponents = _scan(logs, smallest, largest, _checked_points(points))
    if len(sizes) == 0:
        raise InputError(
            f"no tail of {smallest} values or more holds two different magnitudes and whole groups of ties"
        )
    best = fit_power_law(sample, int(sizes[distances.argmin()]))
    return TailStartScan(best, *(_alike(column, values) for column in (sizes, distances, exponents)))


def bootstrap_p_value(
    values: Array,
    smallest: int = 10,
    largest: int | None = None,
    points: int | None = 200,
    samples: int = 1000,
    seed: int = 0,
    *,
    nan_policy: NanPolicy = "raise",
) -> float:
    """The probability that a power-law tail gives the smallest distance of a scan, or a larger one.

    The semi-parametric bootstrap of Clauset, Shalizi, Newman 2009, section 4.1: each synthetic sample has L values,
    with probability k / L drawn from the fitted power law, otherwise one of the observed magnitudes below lambda_min;
    it is scanned with the same settings. Clauset et al. rule out the power law at p <= 0.1.

    Args:
        values: array of shape (L,).
        smallest: the smallest k.
        largest: the largest k, by default all nonzero magnitudes.
        points: how many k to try, as in :func:`scan_tail_start`.
        samples: how many synthetic samples; the standard error of p is at most 1 / (2 sqrt(samples)).
        seed: of the draws.
        nan_policy: "raise" refuses NaN, "omit" leaves them out.

    Returns:
        (1 + number of synthetic distances >= the observed one) / (1 + samples), never zero; Clauset et al. leave out
        the ones. In synthetic samples ``largest`` is lowered to the number of nonzero magnitudes, and samples without
        any tail to try are drawn anew.

    Raises:
        InputError: as :func:`scan_tail_start`, samples < 1, a negative seed, or values of which synthetic samples
            hardly ever have a tail to try.
    """
    samples, seed = count(samples, "samples"), check_seed(seed)
    sample = without_nan(as_sample(values), nan_policy)
    scan = scan_tail_start(sample.cpu().numpy(), smallest, largest, points)
    observed = float(scan.d_ks.min())
    logs = _log_magnitudes(sample)
    smallest, most = _checked_range(logs, smallest, largest)
    rng = np.random.default_rng([random_streams.SCAN_BOOTSTRAP, seed])
    scanned = redrawn = larger = 0
    while scanned < samples:
        synthetic = _semiparametric_sample(logs, scan.best, rng)
        nonzero = _nonzero(synthetic)
        _, distances, _ = _scan(synthetic, smallest, nonzero if largest is None else min(nonzero, most), points)
        if len(distances):
            scanned += 1
            larger += bool(distances.min() >= observed)
        else:
            redrawn += 1
        if redrawn > _MOST_REDRAWN * (scanned + 1):
            raise InputError(
                f"of {scanned + redrawn} synthetic samples {redrawn} have no tail of {smallest} values to try: too few "
                "different magnitudes; take a smaller ``smallest``, or values that are less rounded"
            )
    return float((1 + larger) / (1 + samples))


def fixed_k_bootstrap_p_value(k: int, d_ks: float, samples: int = 1000, seed: int = 0) -> float:
    """The probability that a power-law tail of k values, k fixed beforehand, has a distance of d_ks or more.

    The parametric bootstrap by fits of synthetic tails. It estimates ``ks_null(k).sf(sqrt(k) * d_ks)``, which is
    exact to the simulation behind the table and costs nothing: this is the check of that table.

    Args:
        k: how many values, at least 2.
        d_ks: the distance that was measured.
        samples: how many synthetic tails.
        seed: of them.

    Returns:
        (1 + number of synthetic distances >= d_ks) / (1 + samples).

    Raises:
        InputError: k < 2, a distance that is not finite, samples < 1 or a negative seed.
    """
    k, samples, seed = count(k, "k", 0), count(samples, "samples"), check_seed(seed)
    check_k(k, max(k, 2))
    if not math.isfinite(d_ks):
        raise InputError(f"d_ks must be a finite distance, got {d_ks}")
    rng = np.random.default_rng([random_streams.TAIL_BOOTSTRAP, seed])
    rows = max(1, _BLOCK // k)
    larger = 0
    for done in range(0, samples, rows):
        tails = np.exp(rng.standard_exponential((min(rows, samples - done), k)))
        tails[:, 0] = 1.0  # lambda_min
        larger += int((fit_power_law_rows(tails, k).d_ks >= d_ks).sum())
    return (1 + larger) / (1 + samples)


def _log_magnitudes(values: Array) -> np.ndarray:
    """ln(x / largest) of the magnitudes, descending, -inf for zeros."""
    sample = as_sample(values)
    refuse_non_finite(sample[None])
    magnitudes: np.ndarray = sample.abs().double().cpu().numpy()
    magnitudes.sort()
    magnitudes = magnitudes[::-1]
    if magnitudes[0] == 0:
        return np.full(len(magnitudes), -np.inf)
    # A quotient, since a difference of logarithms loses the digits of close values; but it may vanish, or lose its own.
    logs = magnitudes / magnitudes[0]
    with np.errstate(divide="ignore"):
        far = slice(np.searchsorted(-logs, -_SMALLEST_QUOTIENT), None)
        np.log(logs, out=logs)
        logs[far] = np.log(magnitudes[far]) - np.log(magnitudes[0])
    return logs


def _nonzero(logs: np.ndarray) -> int:
    return int(np.searchsorted(-logs, np.inf))


def _alike(column: np.ndarray, values: Array) -> Array:
    return torch.from_numpy(column).to(values.device) if isinstance(values, Tensor) else column


def _checked_range(logs: np.ndarray, smallest: int, largest: int | None) -> tuple[int, int]:
    nonzero = _nonzero(logs)
    smallest = count(smallest, "smallest", 0)
    end = nonzero if largest is None else count(largest, "largest", 0)
    if not 2 <= smallest <= end <= nonzero:
        raise InputError(
            f"tails of smallest={smallest} to largest={end} values were asked for; "
            f"a series with {nonzero} nonzero values allows 2 to {nonzero}"
        )
    return smallest, end


def _checked_points(points: int | None) -> int | None:
    if points is None:
        return None
    points = count(points, "points", 0)
    if points < 2:
        raise InputError(f"points must be at least 2, got {points}; None tries every k")
    return points


def _scan(
    logs: np.ndarray, smallest: int, largest: int, points: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sizes tried, their distances and exponents s; ``logs`` of the magnitudes, descending, in any unit."""
    sizes = _sizes(logs, smallest, largest, points)
    if len(sizes) == 0:
        return sizes, np.empty(0), np.empty(0)
    logs = logs[: sizes[-1]]
    exponents = np.cumsum(logs)[sizes - 1] / sizes - logs[sizes - 1]
    parts = [_distances(logs, sizes[start:stop], exponents[start:stop]) for start, stop in _blocks(sizes)]
    return sizes, np.concatenate(parts), exponents


def _sizes(logs: np.ndarray, smallest: int, largest: int, points: int | None) -> np.ndarray:
    """The k to try: a geometric grid, or all, moved to the ends of groups of ties."""
    if smallest > largest:
        return np.empty(0, dtype=np.int64)
    wanted = np.arange(smallest, largest + 1)
    if points is not None:
        wanted = np.unique(np.geomspace(smallest, largest, points).round().astype(np.int64))
    ends = np.append(np.flatnonzero(logs[1:] < logs[:-1]) + 1, len(logs))
    moved = np.unique(ends[np.searchsorted(ends, wanted)])
    return moved[(moved <= largest) & (logs[moved - 1] < logs[0])]


def _blocks(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of sizes that differ by at most a factor of two, each of at most about _BLOCK values."""
    start = 0
    while start < len(sizes):
        stop = int(np.searchsorted(sizes, 2 * sizes[start], side="right"))
        stop = min(stop, start + max(1, _BLOCK // min(_COLUMNS, int(sizes[stop - 1]))))
        yield start, stop
        start = stop


def _distances(logs: np.ndarray, sizes: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """The distances d_ks of the tails of these sizes: one row a tail, one column a value, descending."""
    worst = np.zeros(len(sizes))
    for first in range(0, int(sizes[-1]), _COLUMNS):
        part = logs[first : min(first + _COLUMNS, sizes[-1])]
        rank = np.arange(first + 1, first + 1 + len(part))
        survival = np.exp((logs[sizes - 1, None] - part[None]).clip(max=0) / exponents[:, None])
        empirical = rank / sizes[:, None]
        # The share of values >= x falls from rank/k to (rank-1)/k behind x: the supremum sees both.
        distance = np.maximum(empirical - survival, survival - empirical + 1 / sizes[:, None])
        np.maximum(worst, np.where(rank <= sizes[:, None], distance, 0.0).max(axis=1), out=worst)
    return worst


def _semiparametric_sample(logs: np.ndarray, fit: PowerLawFit, rng: np.random.Generator) -> np.ndarray:
    """As many values, descending: each from the power law with the probability k / L, else from those below it.

    As ln(x / lambda_min), so that neither the scale nor the steepness of the law can cost a digit.
    """
    length = len(logs)
    body = logs[fit.k :] - logs[fit.k - 1]
    in_tail = int(rng.binomial(length, fit.k / length))
    tail = fit.s * rng.standard_exponential(in_tail)
    drawn = np.concatenate([tail, body[rng.integers(len(body), size=length - in_tail)] if len(body) else body])
    return -np.sort(-drawn)
