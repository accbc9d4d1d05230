"""The Gram matrix of a history that is at hand: from its gradients, or layer by layer where that is much less work."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gradlaw.history import GradientHistory
from gradlaw.history.engines.layerwise import LayerwiseEngine
from gradlaw.history.sharded_history import ShardedHistory
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.ranks.group import RankGroup
from gradlaw.resources import MEMORY_SHARE, memory_budget
from gradlaw.spectra.access import OwnColumns, own_columns
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.spectra.gram.factored import factor_gram
from gradlaw.spectra.gram.plan import plan_passes

LEAST_SAVED = 1e11  # multiply-adds: about what a second pass over the minibatches and its checks take


class HistoryGram(NamedTuple):
    """G G^T of uncentred gradients, shape (T, T) in float64, and the relative rounding error of a gradient in it."""

    gram: Tensor
    rounding: float


def history_gram(
    history: GradientHistory | ShardedHistory,
    problem: Problem,
    progress: Progress | None = None,
    *,
    least_saved: float = LEAST_SAVED,
) -> HistoryGram:
    """The Gram matrix of the gradients of ``problem`` that ``history`` holds.

    :func:`~gradlaw.spectra.gram.factored.factor_gram` computes the same gradients again, a layer at a time; both routes
    agree to the rounding of float32 gradients. It is taken if the history holds plain gradients in the type that they
    were computed in, by the layer-wise engine, and by count it saves more than ``least_saved`` multiply-adds. The
    count depends on nothing but sizes, so that one seed gives the same bits each time. Of a history that ranks
    share, each multiplies the columns that it has, or computes some of the layers again, and all get the sum.
    """
    progress, own, minibatches = progress or SILENT, own_columns(history), history.settings.minibatches()
    layers = own.ranks.first(lambda: _layers(history, problem, minibatches, least_saved))
    if layers and own.ranks.size > 1:
        return _by_ranks(history, problem, layers, own, progress)
    if layers:
        by_layers = factor_gram(problem, minibatches, progress=progress)
        return HistoryGram(by_layers.gram, max(history.rounding, by_layers.rounding))
    with progress.stage("form the Gram matrix", own.dimensions) as advance:
        gram = gram_matrix(own.gradients, lambda columns: advance(columns * own.ranks.size))
        return HistoryGram(own.ranks.sum(gram), history.rounding)


def _layers(
    history: GradientHistory | ShardedHistory, problem: Problem, minibatches: Minibatches, least: float
) -> list[tuple[list[str], int]]:
    """The parameters whose parts of the matrix are formed together, and multiply-adds for each pair of iterations; none
    where the products layer by layer save no more than ``least`` multiply-adds.
    """
    settings, (iterations, dimensions) = history.settings, history.shape
    pairs = iterations**2 / 2
    as_computed = not settings.transforms and settings.storage.dtype == settings.dtype
    if not as_computed or settings.engine != LayerwiseEngine.name or pairs * dimensions < least:
        return []
    first = [minibatches[0], minibatches[1]]
    engine = LayerwiseEngine(problem, first)
    contributions = engine.contributions_by_parameter(first)
    passes = plan_passes(problem, contributions, engine.fallback, iterations, len(first), None, "auto")
    if pairs * (dimensions - sum(gram_pass.cost for gram_pass in passes)) <= least:
        return []
    return [(term.names, term.cost) for gram_pass in passes for term in gram_pass.terms]


def _by_ranks(
    history: GradientHistory | ShardedHistory,
    problem: Problem,
    layers: list[tuple[list[str], int]],
    own: OwnColumns,
    progress: Progress,
) -> HistoryGram:
    """The sum over ranks of the matrices of some layers each."""
    names = _shared_out(layers, own.ranks)
    iterations = len(own.gradients)
    gram, rounding = torch.zeros(iterations, iterations, dtype=torch.float64, device=own.gradients.device), 0.0
    with own.ranks.together():
        if names:
            memory = memory_budget(problem.device, None, MEMORY_SHARE / 2 / own.ranks.size)
            part = factor_gram(problem.part(names), history.settings.minibatches(), memory=memory, progress=progress)
            gram, rounding = part.gram, part.rounding
    power = torch.stack([rounding**2 * gram.trace(), gram.trace()])
    own.ranks.sum(gram)
    own.ranks.sum(power)
    return HistoryGram(gram, max(history.rounding, math.sqrt(float(power[0] / power[1]))))


def _shared_out(layers: list[tuple[list[str], int]], ranks: RankGroup) -> list[str]:
    """The parameters of this rank: the dearest layers first, each to the rank that has least to do."""
    costs: dict[str, int] = {}  # a parameter may be formed in several pieces
    together: dict[str, list[str]] = {}
    for names, cost in layers:
        costs[names[0]] = costs.get(names[0], 0) + cost
        together[names[0]] = names
    work, mine = [0] * ranks.size, []
    for first in sorted(costs, key=lambda name: -costs[name]):
        rank = work.index(min(work))
        work[rank] += costs[first]
        mine += together[first] if rank == ranks.rank else []
    return mine
