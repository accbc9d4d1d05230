"""The tests of a gradient history by groups of dimensions: the rates of each layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gradlaw.stats.gaussian import SHORTEST
from gradlaw.stats.rates import GradientTests, SeriesTester, as_source

Groups = Mapping[Any, Sequence[slice]]


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
            tested at each iteration, k and gaussian_k lowered to the size of the group where it is smaller; a group of
            a single dimension has no dimension-wise test and is left out. Iteration-wise, the rates are over the
            dimensions of the group.
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
    return _frame({name: group_tester.result() for name, group_tester in testers.items()}, groups)


def group_rates(tests: GradientTests, groups: Groups) -> pd.DataFrame:
    """The rates of iteration-wise tests by groups of dimensions; see :func:`rates_by_group`."""
    parts = {
        name: tests.part(np.concatenate([np.arange(ranges.start, ranges.stop) for ranges in group]))
        for name, group in groups.items()
    }
    return _frame(parts, groups)


def _tester(size: int, k: int, gaussian_k: int | None, alpha: float, seed: int) -> SeriesTester:
    drawn = None if gaussian_k is None or size < SHORTEST else min(gaussian_k, size)
    return SeriesTester("dimension", size, min(k, size), drawn, alpha, seed)


def _columns(block: Tensor, ranges: Sequence[slice]) -> Tensor:
    parts = [block[:, r] for r in ranges]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _sizes(groups: Groups) -> dict[Any, int]:
    return {name: sum(r.stop - r.start for r in ranges) for name, ranges in groups.items()}


def _frame(tests: Mapping[Any, GradientTests], groups: Groups) -> pd.DataFrame:
    sizes = _sizes(groups)
    rows = {name: {"dimensions": sizes[name], **t.scalars()} for name, t in tests.items()}
    return pd.DataFrame.from_dict(rows, orient="index")
