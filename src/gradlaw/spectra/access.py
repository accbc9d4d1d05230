"""How to get at the gradients of a history, or of an array: the matrix, its rounding errors, its layout, its stream."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.history.sharded_history import ShardedHistory
from gradlaw.problem import ParameterSlice
from gradlaw.ranks.group import ALONE, RankGroup
from gradlaw.stats.arrays import as_matrix, refuse_non_finite
from gradlaw.stats.rates import SeriesSource, as_source

_HALF_EPS = {"bfloat16": 2.0**-7, "float16": 2.0**-10}


@runtime_checkable
class HoldsGradients(Protocol):
    """A GradientHistory, or anything that holds a (T, n) matrix likewise.

    It may also have ``rounding``, the relative rounding error of its gradients, which is otherwise that of their type,
    and ``layout``, the parameter tensors among the dimensions, which the functions that look at layers need.
    """

    @property
    def gradients(self) -> Any: ...


class Origin(NamedTuple):
    """What the eigenvectors of a spectrum are made from.

    ``gradients`` is streamed by its rows each time that eigenvectors are asked for: a GradientHistory, or anything with
    a ``shape`` (T, n) whose ``blocks("dimension")`` yields (first, rows first onwards of shape (m, n)), computed anew
    if need be. ``gram`` is G G^T of the same, uncentred; ``rounding`` its relative rounding error.
    """

    gradients: SeriesSource
    gram: Tensor
    rounding: float


def origin_of(history: HoldsGradients | Any, gram: Tensor) -> Origin:
    """The gradients of a history, or of a (T, n) array, beside their Gram matrix."""
    return Origin(as_source(history), gram, rounding_of(history))


class OwnColumns(NamedTuple):
    """What this process has of a (T, n) matrix: all of it, or its share where ranks share it out.

    Attributes:
        gradients: some columns of it, all T rows.
        columns: which they are.
        dimensions: n.
        ranks: those that have the others.
    """

    gradients: Any
    columns: range
    dimensions: int
    ranks: RankGroup


def own_columns(history: ShardedHistory | HoldsGradients | Any) -> OwnColumns:
    """The columns of a history, or of a (T, n) array, that are here."""
    if isinstance(history, ShardedHistory):
        return OwnColumns(history.share, history.columns, history.shape[1], history.ranks)
    gradients = gradients_of(history)
    return OwnColumns(gradients, range(gradients.shape[1]), gradients.shape[1], ALONE)


def gradients_of(history: HoldsGradients | Any) -> Any:
    """The (T, n) matrix of a GradientHistory, in memory or on disk, or an array as a checked tensor."""
    if isinstance(history, HoldsGradients):
        return history.gradients
    if isinstance(history, ShardedHistory):
        raise InputError("this is not computed from a history that several ranks share; collect it with one rank")
    matrix = as_matrix(history, "history")
    if matrix.shape[0] < 2:
        raise InputError(f"a spectrum needs at least 2 iterations, got {matrix.shape[0]}")
    refuse_non_finite(matrix)
    return matrix


def rounding_of(history: HoldsGradients | Any) -> float:
    """The relative rounding error of the gradients: measured where they were collected, else that of their type."""
    measured = getattr(history, "rounding", None)
    if measured is not None:
        return measured
    half = _HALF_EPS.get(str(getattr(history, "dtype", None)).removeprefix("torch."))
    return half or torch.finfo(as_matrix(history).dtype).eps


def layout_of(history: HoldsGradients | Any) -> list[ParameterSlice]:
    """Where each parameter tensor sits among the dimensions.

    Raises:
        InputError: an array, which has no layout.
    """
    layout = getattr(history, "layout", None)
    if not layout:
        raise InputError(f"layers need a GradientHistory, whose layout names them; got {type(history).__name__}")
    return layout


def own_layout(history: ShardedHistory | HoldsGradients | Any) -> list[ParameterSlice]:
    """:func:`layout_of` the columns that are here."""
    return history.layout_here() if isinstance(history, ShardedHistory) else layout_of(history)


def rounding_floor(iterations: int, largest: float, second_moment_trace: float, rounding: float) -> float:
    """``Spectrum.floor``: up to where eigenvalues cannot be told from rounding."""
    solver = iterations * float(np.finfo(np.float64).eps) * max(largest, second_moment_trace / iterations)
    return max(solver, rounding**2 * second_moment_trace)
