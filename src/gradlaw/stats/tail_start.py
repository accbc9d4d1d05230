"""Where does the power law begin? The scan over lambda_min of Clauset, Shalizi, Newman 2009, and its bootstrap test."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlaw import streams
from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.stats.arrays import Array, as_float, refuse_non_finite
from gradlaw.stats.powerlaw import PowerLawFit, check_k, fit_power_law, fit_power_law_rows

_BLOCK = 2**19  # values that are worked on at once


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
    values: Array, smallest: int = 10, largest: int | None = None, points: int | None = 200
) -> TailStartScan:
    """Choose the number of values k in the tail, and with it lambda_min, that minimises d_ks.

    Only tails that hold all values equal to their lambda_min are tried: a k that would divide a group of ties is moved
    to its end. The values are sorted once, the exponents come from one cumulative sum.

    Args:
        values: array of shape (L,).
        smallest: the smallest k, at least 2. Distances of very small tails are erratic.
        largest: the largest k, by default all nonzero magnitudes.
        points: how many k to try, in geometric progression; None tries them all, in time O(largest^2).

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
    magnitudes = _descending(values)
    sizes, distances, exponents = _scan(magnitudes, smallest, _checked_largest(magnitudes, smallest, largest), points)
    if len(sizes) == 0:
        raise InputError(
            f"no tail of {smallest} values or more holds two different magnitudes and whole groups of ties"
        )
    best = fit_power_law(values, int(sizes[distances.argmin()]))
    return TailStartScan(best, *(_alike(column, values) for column in (sizes, distances, exponents)))


def bootstrap_p_value(
    values: Array,
    smallest: int = 10,
    largest: int | None = None,
    points: int | None = 200,
    samples: int = 1000,
    seed: int = 0,
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

    Returns:
        (1 + number of synthetic distances >= the observed one) / (1 + samples), never zero; Clauset et al. leave out
        the ones. In synthetic samples ``largest`` is lowered to the number of nonzero magnitudes, and samples without
        any tail to try are drawn anew.

    Raises:
        InputError: as :func:`scan_tail_start`, or samples < 1.
    """
    _check_samples(samples)
    scan = scan_tail_start(values, smallest, largest, points)
    observed = float(scan.d_ks.min())
    magnitudes = _descending(values)
    rng = np.random.default_rng([streams.SCAN_BOOTSTRAP, seed])
    count = larger = 0
    while count < samples:
        synthetic = _semiparametric_sample(magnitudes, scan.best, rng)
        nonzero = int(np.count_nonzero(synthetic))
        _, distances, _ = _scan(synthetic, smallest, min(nonzero, largest or nonzero), points)
        if len(distances):
            count += 1
            larger += bool(distances.min() >= observed)
    return float((1 + larger) / (1 + samples))


def fixed_k_bootstrap_p_value(k: int, d_ks: float, samples: int = 1000, seed: int = 0) -> float:
    """The probability that a power-law tail of k values, k fixed beforehand, has a distance of d_ks or more.

    The parametric bootstrap by fits of synthetic tails. It estimates ``ks_null(k).sf(sqrt(k) * d_ks)``, which is
    exact to the simulation behind the table and costs nothing: this is the check of that table.

    Returns:
        (1 + number of synthetic distances >= d_ks) / (1 + samples).

    Raises:
        InputError: k < 2 or samples < 1.
    """
    check_k(k, max(k, 2))
    _check_samples(samples)
    rng = np.random.default_rng([streams.TAIL_BOOTSTRAP, seed])
    rows = max(1, _BLOCK // k)
    larger = 0
    for done in range(0, samples, rows):
        tails = np.exp(rng.standard_exponential((min(rows, samples - done), k)))
        tails[:, 0] = 1.0  # lambda_min
        larger += int((fit_power_law_rows(tails, k).d_ks >= d_ks).sum())
    return (1 + larger) / (1 + samples)


def _check_samples(samples: int) -> None:
    if samples < 1:
        raise InputError(f"samples must be at least 1, got {samples}")


def _descending(values: Array) -> np.ndarray:
    sample = as_float(values)
    if sample.ndim != 1:
        raise InputError(f"values must have one dimension, got shape {tuple(sample.shape)}")
    refuse_non_finite(sample[None])
    magnitudes: np.ndarray = sample.abs().double().cpu().numpy()
    return -np.sort(-magnitudes)


def _alike(column: np.ndarray, values: Array) -> Array:
    return torch.from_numpy(column).to(values.device) if isinstance(values, Tensor) else column


def _checked_largest(magnitudes: np.ndarray, smallest: int, largest: int | None) -> int:
    nonzero = int(np.count_nonzero(magnitudes))
    end = nonzero if largest is None else largest
    if not 2 <= smallest <= end <= nonzero:
        raise InputError(
            f"tails of smallest={smallest} to largest={end} values were asked for; "
            f"a series with {nonzero} nonzero values allows 2 to {nonzero}"
        )
    return end


def _scan(
    magnitudes: np.ndarray, smallest: int, largest: int, points: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sizes tried, their distances and exponents s; ``magnitudes`` descending."""
    sizes = _sizes(magnitudes, smallest, largest, points)
    if len(sizes) == 0:
        return sizes, np.empty(0), np.empty(0)
    logs = np.log(magnitudes[: sizes[-1]] / magnitudes[0])
    exponents = np.cumsum(logs)[sizes - 1] / sizes - logs[sizes - 1]
    parts = [_distances(logs, sizes[start:stop], exponents[start:stop]) for start, stop in _blocks(sizes)]
    return sizes, np.concatenate(parts), exponents


def _sizes(magnitudes: np.ndarray, smallest: int, largest: int, points: int | None) -> np.ndarray:
    """The k to try: a geometric grid, or all, moved to the ends of groups of ties."""
    if points is not None and points < 2:
        raise InputError(f"points must be at least 2, got {points}; None tries every k")
    if smallest > largest:
        return np.empty(0, dtype=np.int64)
    wanted = np.arange(smallest, largest + 1)
    if points is not None:
        wanted = np.unique(np.geomspace(smallest, largest, points).round().astype(np.int64))
    ends = np.append(np.flatnonzero(magnitudes[1:] < magnitudes[:-1]) + 1, len(magnitudes))
    moved = np.unique(ends[np.searchsorted(ends, wanted)])
    return moved[(moved <= largest) & (magnitudes[moved - 1] < magnitudes[0])]


def _blocks(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of sizes that differ by at most a factor of two, each of at most about _BLOCK values."""
    start = 0
    while start < len(sizes):
        stop = int(np.searchsorted(sizes, 2 * sizes[start], side="right"))
        stop = min(stop, start + max(1, _BLOCK // int(sizes[stop - 1])))
        yield start, stop
        start = stop


def _distances(logs: np.ndarray, sizes: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """The distances d_ks of the tails of these sizes: one row a tail, one column a value, descending."""
    rank = np.arange(1, sizes[-1] + 1)
    survival = np.exp((logs[sizes - 1, None] - logs[None, : sizes[-1]]).clip(max=0) / exponents[:, None])
    empirical = rank / sizes[:, None]
    # The share of values >= x falls from rank/k to (rank-1)/k behind x: the supremum sees both.
    distance = np.maximum(empirical - survival, survival - empirical + 1 / sizes[:, None])
    return np.where(rank <= sizes[:, None], distance, 0.0).max(axis=1)


def _semiparametric_sample(magnitudes: np.ndarray, fit: PowerLawFit, rng: np.random.Generator) -> np.ndarray:
    """As many values, descending: each from the power law with the probability k / L, else from those below it."""
    length = len(magnitudes)
    body = magnitudes[fit.k :]
    in_tail = int(rng.binomial(length, fit.k / length))
    tail = fit.lambda_min * np.exp(fit.s * rng.standard_exponential(in_tail))
    drawn = np.concatenate([tail, body[rng.integers(len(body), size=length - in_tail)] if len(body) else body])
    return -np.sort(-drawn)
