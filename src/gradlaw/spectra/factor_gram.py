"""The Gram matrix of gradients that are never all formed, layer by layer from inputs and output gradients."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.history.engines import Choice, Engine, choose_engine
from gradlaw.history.layerwise import LayerwiseEngine, Share
from gradlaw.history.loop import LoopEngine
from gradlaw.history.preflight import Findings, inspect_problem
from gradlaw.history.streamed import StreamedGradients
from gradlaw.history.vmap import VmapEngine
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.spectra.factor_passes import PROBED, FactorPasses
from gradlaw.spectra.factor_plan import Pass, describe_plan, plan_passes
from gradlaw.spectra.gram import gram_matrix

_RELATIVE_EPS = 4e4  # of |g_s| |g_t|, that an entry may be off the reference: two gradients, each by 2e4 eps


@dataclass(frozen=True, eq=False)
class FactorGram(ByValue):
    """The Gram matrix G G^T of the gradients of T minibatches.

    Attributes:
        gram: (T, T), float64, uncentred.
        losses: tensor (T,), the minibatch losses.
        gradients: the same gradients once more, computed anew each time that they are read.
        rounding: relative rounding error ||error|| / ||g|| of a gradient.
        notices: what was decided on the way, in words.
    """

    gram: Tensor
    losses: Tensor
    gradients: StreamedGradients
    rounding: float
    notices: list[str] = field(default_factory=list)


def factor_gram(
    problem: Problem,
    minibatches: Minibatches,
    *,
    memory: int | None = None,
    form: str = "auto",
    progress: Progress | None = None,
) -> FactorGram:
    """The Gram matrix of the gradients of minibatches at fixed parameters, without the (T, n) matrix.

    The gradient of a linear layer's weight is a sum of d x^T over rows, of its inputs x and the gradients d of its
    outputs, so that its share of the Gram matrix is (X X^T) * (D D^T) elementwise, summed over pairs of rows: with one
    row an iteration T^2 (in + out) multiply-adds instead of T^2 in out. Convolutions and embeddings have rows as well.
    Layers for which that costs more, and all others, have their gradients formed in blocks of columns. Products are
    accumulated in float64, inputs and gradients are of the problem's type.

    What exceeds ``memory`` takes several forward and backward passes. Parameters that are used outside of known layers
    come from vmap or the loop, and so do all of a model whose samples cannot be computed together.

    Args:
        problem: model, loss and data; neither parameters nor buffers change.
        minibatches: T of them.
        memory: bytes for inputs and gradients of layers, beside T x T matrices and blocks of about 0.4 GB. Default: a
            quarter of what is free.
        form: ``"auto"`` takes the cheaper one for each layer, ``"outer"`` and ``"dense"`` one wherever it exists.
        progress: where to show it.

    Raises:
        InputError: whatever the first minibatch shows (see :func:`~gradlaw.history.preflight.inspect_problem`), a loss
            or gradient that is not finite in any iteration, or a result that disagrees with plain autograd on the first
            minibatches.
    """
    progress = progress or SILENT
    reference = LoopEngine(problem, minibatches.seed)
    findings = inspect_problem(problem, minibatches, reference)
    choice = _choose(problem, minibatches, reference, findings)
    first = [minibatches[t] for t in range(PROBED)]
    passes = _plan(choice.engine, first, len(minibatches), memory, form)
    work = FactorPasses(choice.engine, minibatches, passes)
    _check(work.run(PROBED, SILENT)[0], problem, reference, first)
    notices = findings.notices + choice.notices
    for line in (*notices, describe_plan(passes, len(minibatches))):
        progress.say(line)
    gram, losses = work.run(len(minibatches), progress)
    _check(gram, problem, reference, first)
    rounding = max(findings.rounding, choice.difference)
    gradients = StreamedGradients(choice.engine, minibatches, losses)
    return FactorGram(gram, losses, gradients, rounding, notices)


def _choose(problem: Problem, minibatches: Minibatches, reference: LoopEngine, findings: Findings) -> Choice:
    """The layer-wise engine, or else one that takes more models."""
    notices: list[str] = []
    for name in (LayerwiseEngine.name, VmapEngine.name):
        if findings.random:
            break
        try:
            choice = choose_engine(name, problem, minibatches, reference, findings)
        except InputError as error:
            notices.append(f"engine {name} left out: {error}")
        else:
            return Choice(choice.engine, choice.difference, notices)
    return Choice(reference, notices=notices)


def _plan(engine: Engine, first: Sequence[np.ndarray], iterations: int, memory: int | None, form: str) -> list[Pass]:
    """From what the layers take of the first minibatches."""
    shares: dict[str, list[Share]] = {}
    rest = {part.name for part in engine.problem.layout}
    if isinstance(engine, LayerwiseEngine):
        engine.shares(first, lambda share: shares.setdefault(share.part.name, []).append(share))
        rest = set(engine.fallback)
    return plan_passes(engine.problem, shares, rest, iterations, len(first), memory, form)


def _check(gram: Tensor, problem: Problem, reference: LoopEngine, first: Sequence[np.ndarray]) -> None:
    """Compare the entries of the first minibatches with plain autograd."""
    rows = torch.empty(len(first), problem.dimensions, dtype=problem.dtype, device=problem.device)
    reference.gradients(0, first, rows)
    expected = gram_matrix(rows)
    norms = expected.diagonal().sqrt()
    tolerance = _RELATIVE_EPS * torch.finfo(problem.dtype).eps * norms[:, None] * norms[None, :]
    difference = (gram[: len(first), : len(first)] - expected).abs()
    if not (difference <= tolerance).all():
        raise InputError(
            "the Gram matrix by layers disagrees with plain autograd on the first minibatches: off by "
            f"{float(difference.max()):.3g}, where entries are up to {float(norms.max()) ** 2:.3g}. Use "
            "gradient_spectrum(collect(problem)), and please report the model"
        )
