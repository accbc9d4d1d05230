"""The tests of a gradient history by groups of dimensions: the rates of each layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gradlaw.stats.gaussian import SHORTEST
from gradlaw.stats.power import lowered_k
from gradlaw.stats.rates import GradientTests, SeriesTester, as_source

Groups = Mapping[Any, Sequence[slice]]
FEWEST_DIMENSIONS = 30  # of a group with a dimension-wise power-law rate: a tail of 10 values is a third of them
_WITHOUT_POWER_LAW = ("axis", "length", "series", "alpha", "seed", "mean_p_value")


def rates_by_group(
    history: Any,
    groups: Groups,
    axis: str = "dimension",
    k: int = 1000,
    gaussian_k: int | None = 100,
    alpha: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Every rate and mean of both tests, for each group of dimensions.

    Args:
        history: a GradientHistory, or a (T, n) array or tensor.
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
    """
    source = as_source(history)
    if axis == "iteration":
        tester = SeriesTester(axis, source.shape[0], k, gaussian_k, alpha, seed)
        for first, block in source.blocks(axis):
            tester.add(first, block)
        return group_rates(tester.result(), groups)
    testers = {name: _tester(size, k, gaussian_k, alpha, seed) for name, size in _sizes(groups).items() if size > 1}
    for first, block in source.blocks(axis):
        for name, group_tester in testers.items():
            group_tester.add(first, _columns(block, groups[name]))
    return _frame({name: group_tester.result() for name, group_tester in testers.items()}, groups, FEWEST_DIMENSIONS)


def group_rates(tests: GradientTests, groups: Groups) -> pd.DataFrame:
    """The rates of iteration-wise tests by groups of dimensions; see :func:`rates_by_group`."""
    parts = {
        name: tests.part(np.concatenate([np.arange(ranges.start, ranges.stop) for ranges in group]))
        for name, group in groups.items()
    }
    return _frame(parts, groups)


def _tester(size: int, k: int, gaussian_k: int | None, alpha: float, seed: int) -> SeriesTester:
    drawn = None if gaussian_k is None or size < SHORTEST else min(gaussian_k, size)
    return SeriesTester("dimension", size, lowered_k(k, size), drawn, alpha, seed)


def _columns(block: Tensor, ranges: Sequence[slice]) -> Tensor:
    parts = [block[:, r] for r in ranges]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _sizes(groups: Groups) -> dict[Any, int]:
    return {name: sum(r.stop - r.start for r in ranges) for name, ranges in groups.items()}


def _frame(tests: Mapping[Any, GradientTests], groups: Groups, fewest: int = 0) -> pd.DataFrame:
    """One row a group; without a power law in groups of fewer than ``fewest`` dimensions."""
    rows = {}
    for name, size in _sizes(groups).items():
        if name in tests:
            row = tests[name].scalars()
            missing = () if size >= fewest else [column for column in row if not _of_gaussian(column)]
            rows[name] = {"dimensions": size, **row, **dict.fromkeys(missing)}
    return pd.DataFrame.from_dict(rows, orient="index")


def _of_gaussian(column: str) -> bool:
    return column.startswith("gaussian") or column in _WITHOUT_POWER_LAW
