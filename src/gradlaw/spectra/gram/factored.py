"""The Gram matrix of gradients that are never all formed, layer by layer from inputs and output gradients."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.history.engines.choose import Candidate, Engine, EngineChoice
from gradlaw.history.engines.layerwise import Contribution, LayerwiseEngine
from gradlaw.history.engines.loop import LoopEngine, flatten
from gradlaw.history.engines.preflight import check_unchanged, inspect_problem
from gradlaw.history.engines.verify import Disagreement, NotFinite, Verification
from gradlaw.history.engines.vmap import VmapEngine
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.spectra.gram.blocks import DEFAULT_BLOCKS, BlockSizes
from gradlaw.spectra.gram.passes import PROBED, FactorPasses
from gradlaw.spectra.gram.plan import GramPass, describe_plan, plan_passes
from gradlaw.spectra.gram.streamed import StreamedGradients

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
    blocks: BlockSizes = DEFAULT_BLOCKS,
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
        memory: bytes for inputs and gradients of layers, beside T x T matrices and blocks of about 0.4 GB. Default:
            half of what is free.
        form: ``"auto"`` takes the cheaper one for each layer, ``"outer"`` and ``"dense"`` one wherever it exists.
        blocks: how much to do at a time; memory knobs that do not change results.
        progress: where to show it.

    Raises:
        InputError: whatever the first minibatch shows (see
            :func:`~gradlaw.history.engines.preflight.inspect_problem`), a loss or gradient that is not finite in any
            iteration.
    """
    progress = progress or SILENT
    reference = LoopEngine(problem, minibatches.seed)
    findings = inspect_problem(problem, minibatches, reference)
    candidates = (
        () if findings.random or problem.by_batches else (Candidate(LayerwiseEngine.name), Candidate(VmapEngine.name))
    )
    choice = EngineChoice(candidates, problem, minibatches, reference)
    while True:
        try:
            gram, losses = _attempt(choice, memory, form, blocks, findings.notices, progress)
            break
        except NotFinite:
            raise
        except Exception as error:  # of a model written for one minibatch; the reference takes it, or shows the error
            choice.leave(error, 0)
    check_unchanged(problem, minibatches, findings, reference)
    rounding = max(findings.rounding, choice.difference)
    gradients = StreamedGradients(choice, minibatches, losses)
    return FactorGram(gram, losses, gradients, rounding, [*findings.notices, *choice.notices])


def _attempt(
    choice: EngineChoice,
    memory: int | None,
    form: str,
    blocks: BlockSizes,
    notices: Sequence[str],
    progress: Progress,
) -> tuple[Tensor, Tensor]:
    """Gram matrix and losses by the engine chosen, compared with plain autograd."""
    minibatches = choice.minibatches
    first = [minibatches[t] for t in range(PROBED)]
    passes = _plan(choice.engine, first, len(minibatches), memory, form)
    work = FactorPasses(choice.engine, minibatches, passes, blocks)
    _check(*work.run(PROBED, SILENT), range(PROBED), choice.verification)
    for line in (*notices, *choice.notices, describe_plan(passes, len(minibatches))):
        progress.say(line)
    gram, losses = work.run(len(minibatches), progress)
    _check(gram, losses, choice.verification.spread(losses), choice.verification)
    return gram, losses


def _plan(
    engine: Engine, first: Sequence[np.ndarray], iterations: int, memory: int | None, form: str
) -> list[GramPass]:
    """From what the layers take of the first minibatches."""
    contributions: dict[str, list[Contribution]] = {}
    rest = {part.name for part in engine.problem.layout}
    if isinstance(engine, LayerwiseEngine):
        contributions, rest = engine.contributions_by_parameter(first), set(engine.fallback)
    return plan_passes(engine.problem, contributions, rest, iterations, len(first), memory, form)


def _check(gram: Tensor, losses: Tensor, iterations: Iterable[int], verification: Verification) -> None:
    """Compare losses, and entries of the Gram matrix on and beside its diagonal, with plain autograd.

    Raises:
        Disagreement: some are off by more than rounding can explain.
    """
    problem, reference = verification.problem, verification.reference
    eps = torch.finfo(problem.dtype).eps
    before: tuple[int, Tensor] | None = None
    for t in iterations:
        loss, gradients = reference.gradient(t, verification.minibatches[t])
        gradient = flatten(gradients, problem)
        for s, other in [(t, gradient)] + ([before] if before is not None else []):
            expected, scale = float(gradient.double() @ other.double()), float(gradient.norm()) * float(other.norm())
            off = abs(float(gram[s, t]) - expected)
            if off > _RELATIVE_EPS * eps * scale:
                moved = verification.sensitivity(t) * float(other.norm())
                moved += verification.sensitivity(s) * float(gradient.norm())
                if off > 2 * moved:
                    raise Disagreement(
                        f"the Gram matrix by layers disagrees with plain autograd on iterations {s} and {t}: "
                        f"{float(gram[s, t]):.6g}, where {expected:.6g} is right"
                    )
        if abs(float(losses[t]) - float(loss)) > _RELATIVE_EPS * eps * max(1.0, abs(float(loss))):
            raise Disagreement(f"the loss of iteration {t} is {float(losses[t]):.6g}, and {float(loss):.6g} plainly")
        before = t, gradient
