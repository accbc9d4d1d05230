"""A gradient history of which each rank holds all iterations of some of the dimensions."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from torch import Tensor

from gradlaw.choices import Axis
from gradlaw.history.record import Recorded
from gradlaw.problem import ParameterSlice
from gradlaw.ranks.group import RankGroup
from gradlaw.stats.arrays import as_float
from gradlaw.stats.rates import GradientTests
from gradlaw.stats.series import check_axis, series_blocks
from gradlaw.stats.shared_series import SharedMatrix, shared_tests, whole_rows


@dataclass(frozen=True, eq=False)
class ShardedHistory(Recorded):
    """What a :class:`~gradlaw.history.GradientHistory` is, T x n, shared out among ranks by dimensions.

    What it gives needs all ranks, which have to ask for the same.

    Attributes:
        ranks: those that hold it.
        share: of this rank, (T, n / ranks), in the type that gradients are stored in; all else is float32 or float64.
        columns: which of the n dimensions that is.

    The others are those of :class:`~gradlaw.history.record.Recorded`, of all iterations and the same on every rank.
    """

    ranks: RankGroup = field(compare=False)
    share: Tensor
    columns: range

    @property
    def shape(self) -> tuple[int, int]:
        """(T, n), of all ranks together."""
        return len(self.share), self.layout[-1].stop

    def __getitem__(self, t: int) -> Tensor:
        """The gradient of iteration t, (n,), on every rank."""
        return self.ranks.joined(as_float(self.share[t : t + 1]), self.shape[1])[0]

    def dimension(self, i: int) -> Tensor:
        """The T gradients of dimension i; shape (T,), on every rank."""
        owner = next(rank for rank, columns in enumerate(self.ranks.shares(self.shape[1])) if i in columns)
        here = i - self.columns.start if i in self.columns else 0
        return self.ranks.broadcast(as_float(self.share[:, here].clone()), owner)

    def blocks_here(self, axis: Axis) -> Iterator[tuple[int, Tensor]]:
        """Yield (first, block): the series ``first`` onwards of those that fall to this rank, as rows.

        ``axis="iteration"`` streams the dimensions that are here, blocks of shape (m, T). ``axis="dimension"`` streams
        a share of the iterations, neighbours too, blocks of shape (m, n): ranks exchange what they have of them, so
        that all have to read to the end. What the ranks find, in their order, is of all series.
        """
        check_axis(axis)
        matrix = self._matrix()
        if axis == "dimension":
            yield from ((rows.start, block) for rows, block in whole_rows(matrix, self.ranks.shares(len(self))))
        else:
            yield from ((self.columns.start + first, block) for first, block in series_blocks(self.share, axis))

    def _matrix(self) -> SharedMatrix:
        return SharedMatrix(self.share, self.columns, self.shape[1], self.ranks)

    def layout_here(self) -> list[ParameterSlice]:
        """The parameter tensors of which this rank has any dimension, with their places in its share."""
        first, stop = self.columns.start, self.columns.stop
        parts = [part for part in self.layout if part.start < stop and part.stop > first]
        return [replace(p, start=max(p.start, first) - first, stop=min(p.stop, stop) - first) for p in parts]

    def tested(
        self,
        axis: Axis,
        k: int,
        gaussian_k: int | None,
        alpha: float,
        seed: int,
        advance: Callable[[int], None] | None = None,
    ) -> GradientTests:
        """:func:`~gradlaw.stats.rates.gradient_tests` of it, on every rank."""
        return shared_tests(self._matrix(), axis, k, gaussian_k, alpha, seed, advance)
