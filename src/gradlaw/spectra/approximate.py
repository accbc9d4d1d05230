"""Leading eigenvalues, exponent and KS distance from sketches, each with an interval; for any number of gradients.

A :class:`~gradlaw.spectra.sketch.GradientSketch` of b independent blocks is one sample of b draws. Half of the blocks
are a sketch of half the size, and b - 1 ways of halving them are orthogonal (the rows of a Hadamard matrix), so that
what a statistic differs by between the two halves of each tells its standard error: balanced half-samples
(McCarthy 1969), of which Epperly and Tropp (2024) use the leave-one-out form on randomized matrix computations.

A sketch also spreads eigenvalues that lie close together. What a statistic changes by from halves to the whole, D, is
what it has yet to change to the gradients themselves where that spread falls as 1/m, as of single eigenvalues,
D / (sqrt(2) - 1) where it falls as 1/sqrt(m), as of a bulk, and D / (r - 1) where it still grows, r being how much more
the eigenvalues change from quarters to halves. Which it is cannot be told: an interval reaches from no change to the
largest of them, the same from the change to halves of halves, which is less noisy, and t quantiles of the standard
error beyond. Eigenvalues whose ranks are within a factor of 1.5 share the root mean square of their standard errors,
and the largest change; the interval of s also has what these changes make of it. The interval of d_KS is the same of
the largest change that the fitted tail makes anywhere, which the triangle inequality makes one of d_KS. Where
eigenvalues are not known to within a half (the median of their intervals) the sketch is too small for their line: the
interval of s is then (0, inf), that of d_KS all it can be. How often intervals cover was measured: docs/sketch.md.

Of T gradients up to m, the T x T Gram matrices of the blocks are held, 8 b T^2 bytes; of more, the m x m second moment
of the sketches, 8 m^2 bytes, to which each gradient adds, so that T has no limit (:class:`SketchedMoment`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.linalg import hadamard
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, count
from gradlaw.spectra.access import rounding_floor
from gradlaw.spectra.spectrum import Spectrum
from gradlaw.stats.intervals import Interval
from gradlaw.stats.powerlaw import fit_power_law

_LEAST_SHARE, _STREAMED_SHARE = 8, 16  # numbers of a sketch for each eigenvalue; by default where T is above m
_ROUNDING = 1e-6  # relative, of sketches in single precision
_NEIGHBOURS = 1.5  # ranks within this factor share their standard error
_BULK = 1 / (math.sqrt(2) - 1)  # what is left to change, over the change from halves to the whole
_LEAST_GROWTH = 1.1  # of changes, from halves to quarters
_LEVEL = 0.95
_TOLD = 0.5  # half width of eigenvalues up to which anything is said of their line


@dataclass(frozen=True, eq=False)
class ApproximateSpectrum(ByValue):
    """The leading eigenvalues of T gradients as a sketch of them tells, with intervals of 95%, each by itself.

    Attributes:
        spectrum: as the sketch has it: min(T, m) eigenvalues, of which those after the first k are not to be relied on.
        k: how many have an interval.
        lower, upper: of the k largest eigenvalues, shape (k,).
        s: the Zipf exponent of these, as the sketch has it; of the power-law fit, as ``d_ks``.
        s_interval: its interval.
        d_ks: the KS distance to the fitted power law.
        d_ks_interval: its interval.
        size: m.
        blocks: that the sketch is made of.
    """

    spectrum: Spectrum
    k: int
    lower: np.ndarray
    upper: np.ndarray
    s: float
    s_interval: Interval
    d_ks: float
    d_ks_interval: Interval
    size: int
    blocks: int

    @property
    def half_width(self) -> float:
        """Half the width of the interval of an eigenvalue, relative; the median over the k."""
        return half_width(self.lower, self.upper)

    @property
    def is_told(self) -> bool:
        """Whether anything is said of s and d_KS; if not, the sketch is too small."""
        return math.isfinite(self.s_interval.high)

    def __str__(self) -> str:
        (s_low, s_high), (d_low, d_high) = self.s_interval, self.d_ks_interval
        return (
            f"approximate {self.spectrum.matrix} from sketches of {self.size:,} numbers, top {self.k:,} eigenvalues: "
            f"s = {self.s:.3f} ({s_low:.3f} to {s_high:.3f}), d_KS = {self.d_ks:.3f} ({d_low:.3f} to {d_high:.3f}), "
            f"an eigenvalue to {self.half_width:.0%}"
        )


class SketchedMoment:
    """The second moment and the mean of any number of sketches, in m x m numbers of float64.

    What one has seen can be added to another (:meth:`merge`), whoever saw it, and kept as tensors (:attr:`moment`,
    :attr:`total`, :attr:`iterations`).

    Args:
        size: m.
        blocks: of the sketch, eight or more.

    Raises:
        InputError: too few blocks, or an m that they do not divide.
    """

    def __init__(self, size: int, blocks: int = 8):
        self.size, self.blocks = count(size, "size"), _checked_blocks(blocks)
        if self.size % self.blocks:
            raise InputError(f"sketches of {size} numbers have no {blocks} blocks")
        self.moment = torch.zeros(self.size, self.size, dtype=torch.float64)
        self.total = torch.zeros(self.size, dtype=torch.float64)
        self.iterations = 0

    def add(self, sketches: Tensor) -> None:
        """Take some sketches, shape (C, m) or (m,).

        Raises:
            InputError: another m, or values that are not finite.
        """
        rows = sketches.detach().reshape(-1, sketches.shape[-1]).double().cpu()
        if rows.shape[1] != self.size:
            raise InputError(f"sketches have {rows.shape[1]} numbers, these {self.size}")
        if not torch.isfinite(rows).all():
            raise InputError("a sketch is of a gradient that is not finite; leave it out")
        self.moment.addmm_(rows.T, rows)
        self.total += rows.sum(0)
        self.iterations += len(rows)

    def merge(self, other: "SketchedMoment") -> None:
        """Take what another one saw, of the same sketch.

        Raises:
            InputError: of another sketch.
        """
        if (other.size, other.blocks) != (self.size, self.blocks):
            raise InputError("moments of sketches of different sizes or blocks cannot be added")
        self.moment += other.moment
        self.total += other.total
        self.iterations += other.iterations


def approximate_spectrum(
    sketches: Tensor | SketchedMoment,
    dimensions: int,
    blocks: int = 8,
    center: bool = True,
    k: int | None = None,
    lower: bool = False,
) -> ApproximateSpectrum:
    """The leading spectrum of the covariance, or of the second moment, of T gradients from their sketches.

    Args:
        sketches: shape (T, m), of one :class:`~gradlaw.spectra.sketch.GradientSketch` of that many blocks; or what a
            :class:`SketchedMoment` made of them.
        dimensions: n, numbers of a gradient.
        blocks: of the sketch, eight or more.
        center: take the mean over the T gradients off first.
        k: how many of the largest eigenvalues, at most m / 8. Default: 1000, at most a third of T and m / 8, or m / 16
            where T is above m: there more make the interval of s too short in one case of four.
        lower: take fewer than k where fewer are above rounding, in place of an error.

    Raises:
        InputError: fewer than three gradients, values that are not finite, a k that this sketch cannot tell or that
            reaches down to rounding.
    """
    if isinstance(sketches, SketchedMoment):
        blocks, size, iterations = sketches.blocks, sketches.size, sketches.iterations
        halves = _of_moment(sketches, center)
    else:
        blocks, (iterations, size) = _checked_blocks(blocks), sketches.shape
        if size % blocks:
            raise InputError(f"sketches of {size} numbers have no {blocks} blocks")
        if not torch.isfinite(sketches).all():
            raise InputError("a sketch is of a gradient that is not finite; leave it out")
        if iterations > size:
            moment = SketchedMoment(size, blocks)
            moment.add(sketches)
            return approximate_spectrum(moment, dimensions, blocks, center, k, lower)
        halves = _of_grams(sketches, blocks, center)
    if iterations < 3:
        raise InputError(f"a spectrum needs at least 3 gradients, got {iterations}")
    k = leading(iterations, size) if k is None else count(k, "k", 2)
    if k > min(size // _LEAST_SHARE, iterations - center):
        least = 2 ** math.ceil(math.log2(_LEAST_SHARE * k))
        raise InputError(
            f"sketches of {size:,} numbers of {iterations:,} gradients do not tell {k:,} eigenvalues: use "
            f"size={least}, or k={leading(iterations, size)}"
        )
    spectrum = _spectrum(halves(range(blocks)), iterations, dimensions, center, _power(sketches, blocks))
    k = min(k, max(2, spectrum.rank)) if lower else k
    if spectrum.rank < k:
        raise InputError(f"k={k} but only {spectrum.rank} eigenvalues of the sketch are above rounding")
    return _with_intervals(spectrum, halves, k, size, blocks)


def half_width(lower: np.ndarray, upper: np.ndarray) -> float:
    """Half the width of intervals, relative, on a logarithmic scale; their median."""
    return float(np.median(np.sqrt(upper / lower) - 1))


def leading(iterations: int, size: int) -> int:
    """How many eigenvalues are told by default: 1000, at most a third of T, and what the sketch tells."""
    return min(1000, iterations // 3, most_told(iterations, size))


def most_told(iterations: int, size: int) -> int:
    """How many eigenvalues a sketch tells by default: an eighth of m, a sixteenth where T is above m."""
    return size // (_LEAST_SHARE if iterations <= size else _STREAMED_SHARE)


Halves = Callable[[Sequence[int]], np.ndarray]  # eigenvalues from some of the blocks, descending


def _of_grams(sketches: Tensor, blocks: int, center: bool) -> Halves:
    """Of the T x T Gram matrices of the blocks."""
    rows = sketches.double().unflatten(1, (blocks, -1))
    if center:
        rows = rows - rows.mean(dim=0)
    grams = [rows[:, block] @ rows[:, block].T for block in range(blocks)]
    iterations = len(rows)

    def eigenvalues(chosen: Sequence[int]) -> np.ndarray:
        gram = grams[chosen[0]].clone()
        for block in chosen[1:]:
            gram += grams[block]
        return torch.linalg.eigvalsh(gram).flip(0).cpu().numpy() / len(chosen) / iterations

    return eigenvalues


def _of_moment(moment: SketchedMoment, center: bool) -> Halves:
    """Of the parts of the m x m second moment."""
    matrix = moment.moment / max(1, moment.iterations)
    if center:
        mean = moment.total / max(1, moment.iterations)
        matrix = matrix - torch.outer(mean, mean)
    places = torch.arange(moment.size).unflatten(0, (moment.blocks, -1))

    def eigenvalues(chosen: Sequence[int]) -> np.ndarray:
        where = places[list(chosen)].flatten()
        return torch.linalg.eigvalsh(matrix[where][:, where]).flip(0).numpy() / len(chosen)

    return eigenvalues


def _spectrum(eigenvalues: np.ndarray, iterations: int, dimensions: int, center: bool, power: float) -> Spectrum:
    eigenvalues = eigenvalues[: min(iterations, dimensions)]
    trace = float(eigenvalues.sum())
    if not eigenvalues[0] > 0:
        raise InputError("the gradients are all alike: there is no spectrum")
    floor = rounding_floor(iterations, float(eigenvalues[0]), power, _ROUNDING)
    return Spectrum(
        eigenvalues=eigenvalues,
        centred=center,
        iterations=iterations,
        dimensions=dimensions,
        trace=trace,
        floor=floor,
    )


def _power(sketches: Tensor | SketchedMoment, blocks: int) -> float:
    """The mean squared norm of a gradient, of which rounding is a part."""
    if isinstance(sketches, SketchedMoment):
        return float(sketches.moment.trace()) / sketches.iterations / blocks
    return float(sketches.double().square().sum(1).mean()) / blocks


def _with_intervals(spectrum: Spectrum, halves: Halves, k: int, size: int, blocks: int) -> ApproximateSpectrum:
    from scipy import stats  # half a second to load

    whole = _statistics(spectrum.eigenvalues, k)
    pairs = []
    for signs in hadamard(blocks)[1:]:
        both = [np.flatnonzero(signs == side).tolist() for side in (1, -1)]
        pairs.append([_statistics(halves(chosen), k) for chosen in both])
    of_halves = np.array(pairs)  # (b - 1, 2, statistics)
    mean = of_halves.mean(axis=(0, 1))
    quarters = np.arange(blocks).reshape(4, -1).tolist()
    of_quarters = np.mean([_statistics(halves(chosen), k) for chosen in quarters], axis=0)
    growth = np.abs(of_quarters - mean)[:k].sum() / np.abs(mean - whole)[:k].sum()
    left = max(_BULK, 1 / (max(growth, _LEAST_GROWTH) - 1))
    variance = np.square((of_halves[:, 0] - of_halves[:, 1]) / 2).mean(axis=0)
    variance += left**2 * of_halves.mean(axis=1).var(axis=0, ddof=1) / len(of_halves)  # of the change itself
    variance[:k] = _over_neighbours(variance[:k])
    width = stats.t.ppf((1 + _LEVEL) / 2, blocks - 1) * np.sqrt(variance)
    changes = [mean - whole, (of_quarters - mean) / math.sqrt(2), np.zeros_like(whole)]
    largest, smallest = left * np.max(changes, axis=0), left * np.min(changes, axis=0)
    largest[:k], smallest[:k] = _largest_near(largest[:k]), -_largest_near(-smallest[:k])
    low, high = whole - largest - width, whole - smallest + width
    of_line = [change[k - 1] - change[:k].mean() for change in (largest, smallest)]  # what these make of s
    low[k] = min(low[k], whole[k] + min(of_line) - width[k])
    high[k] = max(high[k], whole[k] + max(of_line) + width[k])
    tail = slice(k + 2, None)
    moved = float(left * np.abs(mean - whole)[tail].max() + np.abs(of_halves - mean)[..., tail].max())
    d_ks = float(whole[k + 1])
    told = half_width(np.exp(low[:k]), np.exp(high[:k])) <= _TOLD
    s_interval = Interval(max(0.0, float(low[k])), float(high[k])) if told else Interval(0.0, math.inf)
    moved = moved if told else 1.0
    return ApproximateSpectrum(
        spectrum=spectrum,
        k=k,
        lower=np.exp(low[:k]),
        upper=np.exp(high[:k]),
        s=float(whole[k]),
        s_interval=s_interval,
        d_ks=d_ks,
        d_ks_interval=Interval(max(1 / (2 * k), d_ks - moved), min(1.0, d_ks + moved)),
        size=size,
        blocks=blocks,
    )


def _statistics(eigenvalues: np.ndarray, k: int) -> np.ndarray:
    """Logarithms of the k largest, s, d_KS and the fitted tail at each of them, one after the other."""
    largest = eigenvalues[:k].clip(min=np.finfo(np.float64).tiny)
    fit = fit_power_law(largest, k)
    logarithms = np.log(largest)
    tail = np.exp(-(logarithms - logarithms[-1]) / fit.s)
    return np.concatenate([logarithms, [fit.s, fit.d_ks], tail])


def _neighbours(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each of so many ranks: the first of those within a factor, and the one after the last."""
    ranks = np.arange(1, count + 1)
    first = np.ceil(ranks / _NEIGHBOURS).astype(int) - 1
    return first, np.minimum(count, np.floor(ranks * _NEIGHBOURS)).astype(int)


def _largest_near(values: np.ndarray) -> np.ndarray:
    """The largest over the ranks within a factor."""
    return np.array([values[first:stop].max() for first, stop in zip(*_neighbours(len(values)), strict=True)])


def _over_neighbours(variance: np.ndarray) -> np.ndarray:
    """The mean over the ranks within a factor."""
    first, stop = _neighbours(len(variance))
    total = np.concatenate([[0.0], np.cumsum(variance)])
    mean: np.ndarray = (total[stop] - total[first]) / (stop - first)
    return mean


def _checked_blocks(blocks: Any) -> int:
    blocks = count(blocks, "blocks", minimum=8)
    if blocks & (blocks - 1):
        raise InputError(f"blocks must be a power of two, got {blocks}")
    return blocks
