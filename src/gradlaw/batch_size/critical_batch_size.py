"""The front door: the critical batch size of a problem at fixed parameters."""

import math
from typing import TYPE_CHECKING

from gradlaw.argument_types import checked
from gradlaw.batch_size.by_layer import MODEL, noise_by_layer, scale_of
from gradlaw.batch_size.cautions import Training, cautions
from gradlaw.batch_size.groups import group_means
from gradlaw.batch_size.methods import (
    HESSIAN,
    HISTORY,
    AlongHessian,
    MethodEstimate,
    from_hessian,
    from_norm_layers,
    from_two_sizes,
)
from gradlaw.batch_size.result import CriticalBatchSize
from gradlaw.errors import InputError, count, significance
from gradlaw.history import GradientHistory, collect
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 20  # iterations: ten groups of two


@checked
def critical_batch_size(
    problem: Problem,
    iterations: int = 1000,
    batch_size: int = 10,
    *,
    in_use: int | None = None,
    optimizer: str | None = None,
    learning_rate: float | None = None,
    level: float = 0.95,
    hessian_samples: int = 2000,
    seed: int = 0,
    history: GradientHistory | None = None,
    progress: Progress | None = None,
) -> CriticalBatchSize:
    """The batch size beyond which larger batches stop paying, by layer and in all, by several methods, with cautions.

    That batch size is estimated by the gradient noise scale tr Sigma / |G|^2 (McCandlish et al. 2018, Eq. 2.9): at B
    equal to it, noise and mean gradient are of one size. Only trainings at several batch sizes measure the true one;
    the paper finds the two within a small factor of each other.

    Args:
        problem: model, loss and data at fixed parameters.
        iterations: T; at least 20.
        batch_size: B of the gradients to measure with; T times B samples carry the signal.
        in_use: the batch size that the training uses, to compare with.
        optimizer: of the training, such as ``"sgd"`` or ``"adam"``, for the cautions.
        learning_rate: of the training, for the cautions.
        level: of the confidence intervals.
        hessian_samples: how many samples the Hessian is of, for the Hessian-weighted noise scale; 0 leaves it out.
        seed: of the minibatches.
        history: gradients of this problem that were collected already, without transforms; ``iterations``,
            ``batch_size`` and ``seed`` are then those of the history.
        progress: where to show it.

    Returns:
        A :class:`CriticalBatchSize`; ``str`` is the table.

    Raises:
        InputError: fewer than 20 iterations, minibatches of the whole data set, a history with transforms or of another
            model, or what :func:`gradlaw.collect` refuses.

    Example:
        >>> import torch, gradlaw as gl
        >>> rng = torch.Generator().manual_seed(0)
        >>> x = 1 + 3 * torch.randn(5000, 20, generator=rng)  # gradients -x: |G|^2 = 20, tr Sigma = 180
        >>> class Dot(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.w = torch.nn.Parameter(torch.zeros(20))
        ...     def forward(self, x):
        ...         return x @ self.w
        >>> mean = lambda outputs, targets: -outputs.mean()
        >>> found = critical_batch_size(gl.Problem(Dot(), mean, (x, x)), iterations=400, hessian_samples=0)
        >>> abs(found.noise_scale.value / 9 - 1) < 0.1
        True
    """
    level, progress = significance(level, "level"), progress or SILENT
    training = _training(in_use, optimizer, learning_rate)
    count(hessian_samples, "hessian_samples", 0)
    if history is None:
        iterations = count(iterations, "iterations", FEWEST)
        _refuse_whole_data(problem, batch_size)
        history = collect(problem, iterations, batch_size, seed, progress=progress)
    _check(history, problem)
    with progress.stage("signal and noise"):
        layers = noise_by_layer(history, level)
        groups = group_means(history)
    of_history, along = _of_history(layers, history), AlongHessian(MethodEstimate(HESSIAN, None, "left out"), None)
    if of_history.noise_scale is None:
        found = [of_history, along.estimate]
    else:
        if hessian_samples:
            along = from_hessian(problem, history, groups, hessian_samples, level, progress)
        found = [of_history, from_two_sizes(history, groups, level), along.estimate, from_norm_layers(problem, layers)]
    methods = {method.method: method for method in found}
    return CriticalBatchSize(
        model=problem.name,
        unit="batches" if problem.by_batches else "samples",
        batch_size=history.settings.batch_size,
        iterations=len(history),
        level=level,
        layers=layers,
        methods=tuple(methods.values()),
        best_rate=along.best_rate,
        training=training,
        cautions=cautions(problem, history, methods, along.best_rate, training),
    )


def _training(in_use: int | None, optimizer: str | None, learning_rate: float | None) -> Training:
    if learning_rate is not None and not 0 < learning_rate < math.inf:
        raise InputError(f"learning_rate must be positive and finite, got {learning_rate}")
    return Training(None if in_use is None else count(in_use, "in_use"), optimizer, learning_rate)


def _refuse_whole_data(problem: Problem, batch_size: int) -> None:
    if count(batch_size, "batch_size") >= problem.samples:
        raise InputError(
            f"batch_size={batch_size} of {problem.samples} samples: each gradient is of the whole data set, and the "
            "spread of its samples does not show; measure with a smaller batch size"
        )


def _check(history: GradientHistory, problem: Problem) -> None:
    count(len(history), "the number of iterations of the history", FEWEST)
    if history.settings.transforms:
        raise InputError("a noise scale is of plain gradients, and those of the history are transformed; collect anew")
    if [part.name for part in history.layout] != [part.name for part in problem.layout]:
        raise InputError("the history is of other parameters than those of the problem; collect it from this problem")


def _of_history(layers: "pd.DataFrame", history: GradientHistory) -> MethodEstimate:
    scale = scale_of(layers.loc[(MODEL, "all")])
    if scale is None:
        return MethodEstimate(HISTORY, None, "the gradients do not vary above rounding")
    taken = f"all pairs of {len(history):,} minibatches of {history.settings.batch_size:,}"
    return MethodEstimate(HISTORY, scale, taken)
