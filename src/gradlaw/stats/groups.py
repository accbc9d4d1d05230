"""The tests of a gradient history by groups of dimensions: the rates of each layer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.choices import Axis
from gradlaw.errors import InputError, count
from gradlaw.stats.arrays import refuse_non_finite
from gradlaw.stats.gaussian import SHORTEST
from gradlaw.stats.power import lowered_k
from gradlaw.stats.rates import GradientTests, SeriesSource, SeriesTester, as_source
from gradlaw.stats.shared_series import SharedSource

if TYPE_CHECKING:
    import pandas as pd

Groups = Mapping[Any, Sequence[slice]]
FEWEST_DIMENSIONS = 30  # of a group with a dimension-wise power-law rate: a tail of 10 values is a third of them
_WITHOUT_POWER_LAW = ("axis", "length", "series", "alpha", "seed", "mean_p_value")


def rates_by_group(
    history: Any,
    groups: Groups,
    axis: Axis = "dimension",
    k: int = 1000,
    gaussian_k: int | None = 100,
    alpha: float = 0.05,
    seed: int = 0,
) -> "pd.DataFrame":
    """Every rate and mean of both tests, for each group of dimensions.

    Args:
        history: a GradientHistory, one that ranks share, or a (T, n) array or tensor.
        groups: ranges of dimensions by name (or tuple of names). Dimension-wise, the gradients of a group alone are
            tested at each iteration, with k lowered to a third of the group where it is larger and gaussian_k to its
            size; a group of fewer than 30 dimensions has too few values for a tail, and the columns of its power law
            are missing; one of a single dimension has no test at all and is left out. Iteration-wise, the rates are
            over the dimensions of the group.
        axis: ``"dimension"`` or ``"iteration"``.
        k: see :func:`~gradlaw.stats.rates.gradient_tests`, as the arguments that follow.
        gaussian_k: values in a Gaussian test; groups of fewer than 8 dimensions have no dimension-wise one.
        alpha: significance level.
        seed: of the draws.

    Returns:
        One row a group, named by the index; columns as :meth:`GradientTests.scalars` has them, and ``dimensions``.

    Raises:
        InputError: no groups, a group that is no list of slices, a slice that is empty, has a step or leaves the
            dimensions of the history; or as :func:`~gradlaw.stats.rates.gradient_tests`.
    """
    source = history if isinstance(history, SharedSource) else as_source(history)
    groups, k = checked_groups(groups, source.shape[1]), count(k, "k", 2)
    gaussian_k = None if gaussian_k is None else count(gaussian_k, "gaussian_k", SHORTEST)
    if axis == "iteration":
        tester = SeriesTester(axis, source.shape[0], k, gaussian_k, alpha, seed)
        for first, block in _blocks(source, axis):
            tester.add(first, block)
        return group_rates(_of_all_ranks(source, tester), groups)
    testers = {name: _tester(size, k, gaussian_k, alpha, seed) for name, size in _sizes(groups).items() if size > 1}
    for first, block in _blocks(source, axis):
        for name, group_tester in testers.items():
            columns = _columns(block, groups[name])
            if not torch.isfinite(columns).all():
                refuse_non_finite(block, first)  # with the column of the history, not of the group
            group_tester.add(first, columns)
    tests = {name: _of_all_ranks(source, group_tester) for name, group_tester in testers.items()}
    return _frame(tests, groups, FEWEST_DIMENSIONS)


def group_rates(tests: GradientTests, groups: Groups) -> "pd.DataFrame":
    """The rates of iteration-wise tests by groups of dimensions; see :func:`rates_by_group`."""
    groups = checked_groups(groups, tests.series)
    parts = {
        name: tests.part(np.concatenate([np.arange(ranges.start, ranges.stop) for ranges in group]))
        for name, group in groups.items()
    }
    return _frame(parts, groups)


def checked_groups(groups: Groups, dimensions: int) -> dict[Any, list[slice]]:
    """The groups, every slice with its start and stop.

    Raises:
        InputError: as :func:`rates_by_group`.
    """
    if not groups:
        raise InputError("no groups of dimensions were given: pass at least one, a name and its list of slices")
    return {name: _checked_ranges(name, ranges, dimensions) for name, ranges in groups.items()}


def _checked_ranges(name: Any, ranges: Sequence[slice], dimensions: int) -> list[slice]:
    if not isinstance(ranges, Sequence) or not ranges or not all(isinstance(r, slice) for r in ranges):
        raise InputError(f"group {name!r} must be a list of at least one slice of dimensions, got {ranges!r}")
    checked = []
    for r in ranges:
        if r.step not in (None, 1):
            raise InputError(f"group {name!r}: {r} has a step; list the ranges of neighbouring dimensions one by one")
        start = 0 if r.start is None else count(r.start, f"start of group {name!r}", 0)
        stop = dimensions if r.stop is None else count(r.stop, f"stop of group {name!r}", 0)
        if not start < stop <= dimensions:
            what = "is empty" if start >= stop else "ends behind the last dimension"
            raise InputError(f"group {name!r}: {r} {what}; dimensions are numbered 0 to {dimensions - 1}")
        checked.append(slice(start, stop))
    return checked


def _blocks(source: SharedSource | SeriesSource, axis: Axis) -> Iterator[tuple[int, Tensor]]:
    return source.blocks_here(axis) if isinstance(source, SharedSource) else source.blocks(axis)


def _of_all_ranks(source: SharedSource | SeriesSource, tester: SeriesTester) -> GradientTests:
    """The tests of all series, of which each rank has made some."""
    tests = tester.result()
    return GradientTests.joined(source.ranks.gather(tests)) if isinstance(source, SharedSource) else tests


def _tester(size: int, k: int, gaussian_k: int | None, alpha: float, seed: int) -> SeriesTester:
    drawn = None if gaussian_k is None or size < SHORTEST else min(gaussian_k, size)
    return SeriesTester("dimension", size, lowered_k(k, size), drawn, alpha, seed)


def _columns(block: Tensor, ranges: Sequence[slice]) -> Tensor:
    parts = [block[:, r] for r in ranges]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _sizes(groups: Groups) -> dict[Any, int]:
    return {name: sum(r.stop - r.start for r in ranges) for name, ranges in groups.items()}


def _frame(tests: Mapping[Any, GradientTests], groups: Groups, fewest: int = 0) -> "pd.DataFrame":
    """One row a group; without a power law in groups of fewer than ``fewest`` dimensions."""
    import pandas as pd  # loaded for those who ask for a table

    rows = {}
    for name, size in _sizes(groups).items():
        if name in tests:
            row = tests[name].scalars()
            missing = () if size >= fewest else [column for column in row if not _of_gaussian(column)]
            rows[name] = {"dimensions": size, **row, **dict.fromkeys(missing)}
    return pd.DataFrame.from_dict(rows, orient="index")


def _of_gaussian(column: str) -> bool:
    return column.startswith("gaussian") or column in _WITHOUT_POWER_LAW
