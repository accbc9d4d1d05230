"""The tail index of series under the assumption that their values are alpha-stable.

Sums of n independent strictly alpha-stable values are distributed as n^(1/alpha) times one of them, so that the mean
logarithms of sums and of single values tell alpha (Mohammadi, Mohammadpour, Ogata 2015, Corollary 2.4). This is the
estimator behind "gradient noise is alpha-stable with alpha < 2" (Simsekli, Sagun, Gurbuzbalaban 2019). It answers
whatever it is given: it is no test of stability. What alpha < 2 can also mean:

- entries that are not alike: values of different scale, mixed within a sum, look heavy-tailed;
- entries that are not independent: sums of alike neighbours grow faster than n^(1/2), equal ones as n (alpha = 1);
- a mean that is not zero: sums grow as n; see ``center``.

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

from gradlaw import streams
from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.stats.arrays import Array, as_matrix, like, refuse_non_finite

_BLOCK_BYTES = 2**22  # of float64 values; about six such arrays live at a time


@dataclass(frozen=True, eq=False)
class StableIndices(ByValue):
    """Tail indices of m series by the alpha-stable estimator: arrays of shape (m,), and the settings that they share.

    ``inverse`` is the estimate of 1/alpha itself, which is unbiased under the model, and ``alpha`` its reciprocal: not
    clipped, so that Gaussian series scatter about 2, and inf where the estimate of 1/alpha is not positive (sums that
    grow more slowly than any stable law's). For L independent values 1/alpha scatters by about
    sqrt(pi^2 / 6 (1/alpha^2 + 1/2) block / L) / ln(block).

    No entry is NaN. A ``degenerate`` series has no sum of two or more nonzero values to look at: inverse = 0 and
    alpha = inf.
    """

    block: int
    shuffle_seed: int | None
    alpha: Array
    inverse: Array
    degenerate: Array


def stable_index_rows(
    matrix: Array, block: int | None = None, shuffle_seed: int | None = None, *, center: bool = False
) -> StableIndices:
    """The alpha-stable tail index of every row, from K1 = ``block`` values a sum and K2 = L // K1 sums a row.

    1/alpha = (mean of ln|Y| - mean of ln|X|) / ln K1, X being the K1 K2 values and Y the sums of K1 consecutive ones
    (Mohammadi et al. 2015, Corollary 2.4). Two choices differ from those of Simsekli et al. and their code:

    1. Zeros are left out of both means, and a sum in which only n < K1 values are not zero counts with ln n in place of
       ln K1: the same expectation, so that a share of exact zeros (dead units) costs no bias. Sums that are zero are
       left out. Simsekli et al. take ln(|x| + 2.2e-16), by which every zero counts as -36: Gaussian values with 40% of
       zeros come out at alpha = 0.3.
    2. Without ``block`` K1 = floor(sqrt(L)), and the last L - K1 K2 values are dropped. Simsekli et al. take the
       largest divisor of L up to sqrt(L), the same for a square; but LeNet's 61,706 = 2 * 30,853 leaves them K1 = 2.
       The variance is smallest at K1 = 7, while a larger K1 is nearer to the limit law of values that are not stable.

    Args:
        matrix: array of shape (m, L), L >= 4, or L >= ``block``.
        block: K1, from 2 to L; None chooses as above.
        shuffle_seed: permutes the columns, all rows alike, before values are summed or dropped; None keeps their order.
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
    kept = rows.shape[1] // block * block
    order = None if shuffle_seed is None else _permutation(rows.shape[1], shuffle_seed)[:kept].to(rows.device)
    step = max(1, _BLOCK_BYTES // (8 * rows.shape[1]))
    parts = []
    for part in rows.split(step):
        if not torch.isfinite(part).all():
            refuse_non_finite(rows)
        values = _scaled(part, center)
        values = values[:, :kept] if order is None else values[:, order]
        parts.append(_estimate(values.unflatten(1, (-1, block))))
    inverse, degenerate = (torch.cat(columns) for columns in zip(*parts, strict=True))
    alpha = torch.where(inverse > 0, 1 / inverse, torch.inf)
    return StableIndices(block, shuffle_seed, like(alpha, matrix), like(inverse, matrix), like(degenerate, matrix))


def _checked_block(block: int | None, length: int) -> int:
    chosen = math.isqrt(length) if block is None else block
    if block is None and length < 4:
        raise InputError(f"a series of {length} values is too short: sums of floor(sqrt(L)) values need at least 4")
    if not 2 <= chosen <= length:
        raise InputError(f"block={block} values a sum were asked for; a series of {length} allows 2 to {length}")
    return chosen


def _permutation(length: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng([streams.SHUFFLE, seed]).permutation(length))


def _scaled(rows: Tensor, center: bool) -> Tensor:
    """The rows in float64 over their largest magnitude, which costs the index nothing and keeps sums finite."""
    values = rows.double()
    if center:
        values = values / 2 - values[:, :1] / 2  # exact for close values: a constant row becomes zeros
    largest = values.abs().amax(dim=1, keepdim=True)
    values = values / largest.where(largest > 0, 1.0)
    return values - values.mean(dim=1, keepdim=True) if center else values


def _estimate(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """1/alpha and whether there is none, of values of shape (m, K2, K1)."""
    nonzero = blocks != 0
    sums = blocks.sum(dim=2)
    used = sums != 0
    log_sum = _masked_mean(sums.abs().log(), used)
    log_value = _masked_mean(blocks.abs().log().flatten(1), nonzero.flatten(1))
    log_count = _masked_mean(nonzero.sum(dim=2).double().log(), used)
    degenerate = log_count == 0
    inverse = (log_sum - log_value) / log_count.where(~degenerate, 1.0)
    return inverse.where(~degenerate, 0.0), degenerate


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of every row over the entries of the mask, 0 where it has none."""
    return values.where(mask, 0.0).sum(dim=1) / mask.sum(dim=1).clamp_min(1)
