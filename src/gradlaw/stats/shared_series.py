"""Both tests of the series of a (T, n) matrix of which each rank has some columns, all rows of them.

Across iterations a series lies on one rank. Across dimensions no rank has one whole: each sends its k largest
magnitudes, among which the k largest of all are, and the values that the Gaussian test draws. Series have the same
tests, bit for bit, whatever the number of ranks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.choices import Axis
from gradlaw.ranks.group import RankGroup
from gradlaw.stats.arrays import as_float
from gradlaw.stats.gaussian import drawn_places, normal_test
from gradlaw.stats.powerlaw import fit_series
from gradlaw.stats.rates import GradientTests, SeriesTester
from gradlaw.stats.series import check_axis, series_blocks
from gradlaw.stats.tail_kernel import largest_magnitudes

_SENT_BYTES = 64 * 2**20  # by a rank at once


@runtime_checkable
class SharedSource(Protocol):
    """A history that ranks share: its series of either axis fall to one rank or another (see
    :meth:`gradlaw.history.sharded_history.ShardedHistory.blocks_here`).
    """

    @property
    def ranks(self) -> RankGroup: ...

    @property
    def shape(self) -> tuple[int, int]: ...

    def blocks_here(self, axis: Axis) -> Iterator[tuple[int, Tensor]]: ...


@dataclass(frozen=True, eq=False)
class SharedMatrix(ByValue):
    """A (T, n) matrix of finite values.

    Attributes:
        share: the columns of this rank, (T, n / ranks); half precision is taken as float32.
        columns: which of the n they are.
        dimensions: n.
        ranks: those that have the others.
    """

    share: Tensor
    columns: range
    dimensions: int
    ranks: RankGroup


def shared_tests(
    matrix: SharedMatrix,
    axis: str,
    k: int,
    gaussian_k: int | None,
    alpha: float,
    seed: int,
    advance: Callable[[int], None] | None = None,
) -> GradientTests:
    """:func:`~gradlaw.stats.rates.gradient_tests` of all series, on every rank; all of them call it.

    Args:
        matrix: the share of this rank.
        axis: as of ``gradient_tests``, as the arguments that follow.
        k: largest magnitudes in a power-law test.
        gaussian_k: values in a Gaussian test, or None.
        alpha: significance level.
        seed: of the draws.
        advance: called with the number of series just tested by this rank, times the ranks.
    """
    check_axis(axis)
    length = matrix.dimensions if axis == "dimension" else len(matrix.share)
    tester = SeriesTester(axis, length, k, gaussian_k, alpha, seed)
    tests = _along_rows(matrix, tester) if axis == "dimension" else _along_columns(matrix, tester)
    for series in tests:
        if advance:
            advance(series * matrix.ranks.size)
    return GradientTests.joined(matrix.ranks.gather(tester.result()))


def _along_columns(matrix: SharedMatrix, tester: SeriesTester) -> Iterator[int]:
    for first, block in series_blocks(matrix.share, "iteration"):
        tester.add(matrix.columns.start + first, block)
        yield len(block)


def _along_rows(matrix: SharedMatrix, tester: SeriesTester) -> Iterator[int]:
    """Each rank tests a share of the rows, of which it gets what is needed from all others."""
    k, drawn, ranks = tester.k, tester.gaussian_k, matrix.ranks
    widths = [min(k, len(columns)) for columns in ranks.shares(matrix.dimensions)]
    bytes_of_row = max(4, matrix.share.element_size()) * (max(widths) + (drawn or 0))
    step = max(1, _SENT_BYTES // (bytes_of_row * ranks.size))
    for rows in _steps(ranks.shares(len(matrix.share)), step):
        own = rows[ranks.rank]
        pieces = [_largest(as_float(matrix.share[r.start : r.stop]), k) for r in rows]
        largest = torch.cat(ranks.exchange(pieces, [(len(own), width) for width in widths]), dim=1)
        fits = fit_series(largest, k, tester.alpha, largest, own.start) if own else None
        p_values = None
        if drawn is not None:
            pieces = [_drawn(matrix, r, drawn, tester.seed) for r in rows]
            p_values = normal_test(torch.stack(ranks.exchange(pieces, [(len(own), drawn)] * ranks.size)).sum(dim=0))
        if fits is not None:
            tester.take(fits, p_values)
            yield len(own)


def whole_rows(matrix: SharedMatrix, shares: Sequence[range]) -> Iterator[tuple[range, Tensor]]:
    """Rows of the whole matrix, some of those of this rank at a time, (m, n); all ranks have to read to the end.

    Args:
        matrix: the columns of this rank.
        shares: by rank, the rows that it gets.
    """
    ranks, share = matrix.ranks, matrix.share
    widths = [len(columns) for columns in ranks.shares(matrix.dimensions)]
    step = max(1, _SENT_BYTES // (matrix.dimensions * max(4, share.element_size())))
    for rows in _steps(shares, step):
        own = rows[ranks.rank]
        pieces = [as_float(share[r.start : r.stop]) for r in rows]
        received = ranks.exchange(pieces, [(len(own), width) for width in widths])
        if own:
            yield own, torch.cat(received, dim=1)


def _steps(shares: Sequence[range], step: int) -> Iterator[list[range]]:
    """Some of each rank's rows at a time, the same number of times on every rank."""
    for start in range(0, max(map(len, shares)), step):
        yield [rows[start : start + step] for rows in shares]


def _largest(rows: Tensor, k: int) -> Tensor:
    """The k largest magnitudes of each row, or all of them where there are fewer."""
    if rows.shape[1] <= k:
        return rows.abs()
    if rows.device.type != "cpu":
        return rows.abs().topk(k, dim=1).values
    return torch.from_numpy(largest_magnitudes(rows.numpy(), k))


def _drawn(matrix: SharedMatrix, rows: range, k: int, seed: int) -> Tensor:
    """The values that the Gaussian test draws from some rows, zeros for those that other ranks have; (rows, k)."""
    places = drawn_places(matrix.dimensions, k, seed, rows.start, len(rows)) - matrix.columns.start
    here = (places >= 0) & (places < len(matrix.columns))
    indices = torch.from_numpy(np.where(here, places, 0)).to(matrix.share.device)
    values = as_float(matrix.share[rows.start : rows.stop]).gather(1, indices)
    return values.where(torch.from_numpy(here).to(values.device), 0.0)
