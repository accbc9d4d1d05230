"""The Gram matrix of a history that is at hand: from its gradients, or layer by layer where that is much less work."""

from typing import NamedTuple

from torch import Tensor

from gradlaw.history import GradientHistory
from gradlaw.history.engines.layerwise import LayerwiseEngine
from gradlaw.history.sharded_history import ShardedHistory
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.spectra.access import own_columns
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
    share, each multiplies the columns that it has, and all get the sum.
    """
    progress = progress or SILENT
    minibatches = history.settings.minibatches()
    if isinstance(history, GradientHistory) and _saved(history, problem, minibatches, least_saved) > least_saved:
        by_layers = factor_gram(problem, minibatches, progress=progress)
        return HistoryGram(by_layers.gram, max(history.rounding, by_layers.rounding))
    own = own_columns(history)
    with progress.stage("form the Gram matrix", own.dimensions) as advance:
        gram = gram_matrix(own.gradients, lambda columns: advance(columns * own.ranks.size))
        return HistoryGram(own.ranks.sum(gram), history.rounding)


def _saved(history: GradientHistory, problem: Problem, minibatches: Minibatches, least: float) -> float:
    """Multiply-adds that the products layer by layer have less than the dense one; 0 where it is less than ``least``
    for sure.
    """
    settings, (iterations, dimensions) = history.settings, history.shape
    pairs = iterations**2 / 2
    as_computed = not settings.transforms and settings.storage.dtype == settings.dtype
    if not as_computed or settings.engine != LayerwiseEngine.name or pairs * dimensions < least:
        return 0.0
    first = [minibatches[0], minibatches[1]]
    engine = LayerwiseEngine(problem, first)
    contributions = engine.contributions_by_parameter(first)
    passes = plan_passes(problem, contributions, engine.fallback, iterations, len(first), None, "auto")
    return pairs * (dimensions - sum(gram_pass.cost for gram_pass in passes))
