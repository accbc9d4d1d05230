"""The tail index of series under the assumption that their values are alpha-stable.

Sums of n independent strictly alpha-stable values are distributed as n^(1/alpha) times one of them, so that the mean
logarithms of sums and of single values tell alpha (Mohammadi, Mohammadpour, Ogata 2015, Corollary 2.4). This is the
estimator behind "gradient noise is alpha-stable with alpha < 2" (Simsekli, Sagun, Gurbuzbalaban 2019). It answers
whatever it is given: it is no test of stability. What alpha < 2 can also mean:

- entries that are not alike: values of different scale, mixed within a sum, look heavy-tailed;
- entries that are not independent: sums of alike neighbours grow faster than n^(1/2), equal ones as n (alpha = 1);
- a mean that is not zero: sums grow as n; see ``center``;
- values on a lattice (integers, counts, quantised or rounded values). Zeros, and sums that vanish, have no logarithm
  and are left out, which a continuous law never needs. Student t values with 2 degrees of freedom, K1 = 10, give 1.46;
  rounded to multiples of q = 0.1, 0.3, 1 and 2 they give 1.54, 1.62, 1.82 and 1.95, Gaussian ones 2.1, 2.2, 2.4 and
  2.4, and coarser lattices anything (signs alone 2.15, a die less 3.5 2.1). With ``center`` the former zeros count as
  tiny values: t gives 1.46, 1.37, 1.00 and 0.73. ``zero_sums`` and ``tied`` of the result tell a lattice.

Across dimensions the first two pull apart by the order of the entries. Simsekli et al. flatten the noise vectors of
all minibatches of an epoch into one series, each in the order of the network's parameters, and sum neighbours without
permuting them: mostly entries of one layer, of one scale, but dependent. A permutation makes the entries of a sum
nearly independent and mixes the scales of the layers. Where the two orders disagree, neither alpha is a tail index.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlaw import random_streams
from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, count, seed
from gradlaw.stats.arrays import Array, as_matrix, as_type_of, refuse_non_finite

_EPS = torch.finfo(torch.float64).eps
_SAFE = 2.0**-900
_LOOKED_AT = 1000  # values of a row that are compared with one another


@dataclass(frozen=True, eq=False)
class StableIndices(ByValue):
    """Tail indices of m series by the alpha-stable estimator: arrays of shape (m,), and the settings that they share.

    ``inverse`` is the estimate of 1/alpha itself, which is unbiased under the model, and ``alpha`` its reciprocal: not
    clipped, so that Gaussian series scatter about 2, and inf where the estimate of 1/alpha is not positive (sums that
    grow more slowly than any stable law's). For L independent values 1/alpha scatters by at most about
    sqrt(pi^2 / 6 (1/alpha^2 + 1/2) block / L) / ln(block): simulated, by 97% of it and more from alpha = 1 and block =
    100 on, but by 88% at alpha = 0.5 and block = 20, by 78% at block = 7 and by 53% at block = 2, where a sum and its
    largest value say the same.

    ``zero_sums`` is the share of the sums of two or more nonzero values that vanish but for rounding, and ``tied`` the
    share of the nonzero values, of up to 1000 looked at, with the magnitude of another one. Both are next to zero for
    values of a continuous law. Where either is not, the values are discrete or coarsely rounded and alpha is that of
    the lattice too (see above for how far off): half a percent of zero sums went with 5% of alpha, 5% with 25%.
    ``tied`` alone, with next to no zero sums, is also what half precision gives, which costs the index nothing.

    No entry is NaN. A ``degenerate`` series has no sum of two or more nonzero values to look at: inverse = 0 and
    alpha = inf.
    """

    block: int
    shuffle_seed: int | None
    alpha: Array
    inverse: Array
    degenerate: Array
    zero_sums: Array
    tied: Array


def stable_index_rows(
    matrix: Array,
    block: int | None = None,
    shuffle_seed: int | None = None,
    *,
    center: bool = False,
    block_bytes: int = 2**22,
) -> StableIndices:
    """The alpha-stable tail index of every row, from K1 = ``block`` values a sum and K2 = L // K1 sums a row.

    1/alpha = (mean of ln|Y| - mean of ln|X|) / ln K1, X being the K1 K2 values and Y the sums of K1 consecutive ones
    (Mohammadi et al. 2015, Corollary 2.4). Two choices differ from those of Simsekli et al. and their code:

    1. Zeros are left out of both means, and a sum in which only n < K1 values are not zero counts with ln n in place of
       ln K1: the same expectation, so that a share of exact zeros (dead units) costs no bias. Sums that are zero, or
       not above the rounding of their terms, are left out and counted in ``zero_sums``. Simsekli et al. take
       ln(|x| + 2.2e-16), by which every zero counts as -36: Gaussian values with 40% of zeros come out at alpha = 0.3.
    2. Without ``block`` K1 = floor(sqrt(L)), and the last L - K1 K2 values are dropped. Simsekli et al. take the
       largest divisor of L up to sqrt(L), the same for a square; but LeNet's 61,706 = 2 * 30,853 leaves them K1 = 2.
       The variance is smallest at K1 = 7, while a larger K1 is nearer to the limit law of values that are not stable.

    Args:
        matrix: array of shape (m, L), L >= 4, or L >= ``block``.
        block: K1, from 2 to L; None chooses as above.
        shuffle_seed: permutes the columns, all rows alike, before values are summed or dropped; None keeps their order.
        block_bytes: of float64 values that are worked on at a time, eight such arrays;
            the result does not depend on it.
        center: subtracts from each row the mean of all its values, zeros included, which makes nonzero what was zero.
            Off as in the published estimator, which is given gradients less the mean gradient.

    Raises:
        InputError: a block that does not fit, or a value that is not finite.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> rows = np.stack([rng.standard_normal(100_000), rng.standard_cauchy(100_000)])
        >>> [round(float(alpha), 1) for alpha in stable_index_rows(rows, block=10).alpha]
        [2.0, 1.0]
    """
    rows = as_matrix(matrix)
    block = _checked_block(block, rows.shape[1])
    shuffle_seed = None if shuffle_seed is None else seed(shuffle_seed)
    kept = rows.shape[1] // block * block
    order = None if shuffle_seed is None else _permutation(rows.shape[1], shuffle_seed)[:kept].to(rows.device)
    parts, eps = [], torch.finfo(rows.dtype).eps
    for part in rows.split(max(1, count(block_bytes, "block_bytes") // (8 * rows.shape[1]))):
        if not torch.isfinite(part).all():
            refuse_non_finite(rows)
        values, error = _values(part, center)
        values = values[:, :kept] if order is None else values[:, order]
        inverse, degenerate, zero_sums = _estimate(values.unflatten(1, (-1, block)), eps, error)
        parts.append((inverse, degenerate, zero_sums, _tied(part)))
    inverse, degenerate, zero_sums, tied = (torch.cat(columns) for columns in zip(*parts, strict=True))
    alpha = torch.where(inverse > 0, 1 / inverse, torch.inf)
    columns = (as_type_of(column, matrix) for column in (alpha, inverse, degenerate, zero_sums, tied))
    return StableIndices(block, shuffle_seed, *columns)


def _checked_block(block: int | None, length: int) -> int:
    if block is None and length < 4:
        raise InputError(f"a series of {length} values is too short: sums of floor(sqrt(L)) values need at least 4")
    chosen = math.isqrt(length) if block is None else count(block, "block")
    if not 2 <= chosen <= length:
        raise InputError(f"block={block} values a sum were asked for; a series of {length} allows 2 to {length}")
    return chosen


def _permutation(length: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng([random_streams.SHUFFLE, seed]).permutation(length))


def _values(rows: Tensor, center: bool) -> tuple[Tensor, Tensor]:
    """The rows in float64 and the error of their common mean, shape (m,); far from overflow for any sum of a row.

    They are scaled by powers of two: that is exact, so that integers and other lattices still add up to exact zeros.
    """
    values = rows.double()
    if center:
        values = values / 2 - values[:, :1] / 2  # exact for close values: a constant row becomes zeros
    values = values * _scale(values)
    if not center:
        return values, values.new_zeros(len(values))
    return values - values.mean(dim=1, keepdim=True), values.abs().amax(dim=1) * _EPS


def _scale(values: Tensor) -> Tensor:
    """A power of two for each row that brings its largest magnitude near one, (m, 1).

    Where the smallest would vanish by that, it only makes sure that L values do not overflow when summed.
    """
    exponent = values.abs().amax(dim=1, keepdim=True).frexp().exponent.clamp(-1000, 1000).double()
    scale = torch.exp2(-exponent)
    wide = ((values * scale).abs().lt(_SAFE) & (values != 0)).any(dim=1, keepdim=True)
    bits = math.ceil(math.log2(values.shape[1])) + 1
    return torch.where(wide, torch.exp2(-(exponent + bits - 1000).clamp_min(0)), scale)


def _estimate(blocks: Tensor, eps: float, mean_error: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """1/alpha, whether there is none, and the share of zero sums, of values of shape (m, K2, K1).

    Sums up to the rounding of K1 values of relative error ``eps`` are zero: 0.1 + 0.2 - 0.3 is.
    """
    nonzero = blocks != 0
    sums = blocks.sum(dim=2).abs()
    counts = nonzero.sum(dim=2).double()
    size = blocks.shape[2]
    rounding = (2 * eps * math.sqrt(size) + _EPS * size) * blocks.abs().amax(dim=2) + size * mean_error[:, None]
    used = torch.where(counts > 1, sums > rounding, sums > 0)  # a single value has no rounding
    log_sum = _masked_mean(sums.log(), used)
    log_value = _masked_mean(blocks.abs().log().flatten(1), nonzero.flatten(1))
    log_count = _masked_mean(counts.log(), used)
    degenerate = log_count == 0
    inverse = (log_sum - log_value) / log_count.where(~degenerate, 1.0)
    looked_at = counts > 1
    zero_sums = (looked_at & ~used).sum(dim=1) / looked_at.sum(dim=1).clamp_min(1).double()
    return inverse.where(~degenerate, 0.0), degenerate, zero_sums


def _tied(rows: Tensor) -> Tensor:
    """The share of the nonzero values, of up to 1000 evenly spaced ones, with the magnitude of another."""
    some = rows[:, :: max(1, rows.shape[1] // _LOOKED_AT)][:, :_LOOKED_AT].abs().sort(dim=1).values
    equal = (some[:, 1:] == some[:, :-1]) & (some[:, 1:] > 0)
    tied = torch.zeros_like(some, dtype=torch.bool)
    tied[:, 1:] |= equal
    tied[:, :-1] |= equal
    return tied.sum(dim=1) / (some > 0).sum(dim=1).clamp_min(1).double()


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of every row over the entries of the mask, 0 where it has none."""
    return values.where(mask, 0.0).sum(dim=1) / mask.sum(dim=1).clamp_min(1)
