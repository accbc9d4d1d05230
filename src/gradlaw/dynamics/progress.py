"""How the loss changes along a step, along its part in a subspace, and along the rest."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlaw.argument_types import checked
from gradlaw.by_value import ByValue
from gradlaw.curvature.operators.plain_loss import PlainLoss
from gradlaw.curvature.operators.samples import Samples, choose_samples
from gradlaw.dynamics.subspace import Subspace
from gradlaw.errors import InputError
from gradlaw.problem import Problem


@dataclass(frozen=True, eq=False)
class SubspaceProgress(ByValue):
    """What a step changes of the loss, from the same parameters.

    Attributes:
        loss: before the step.
        whole: L(theta + d) - L(theta).
        within: L(theta + P d) - L(theta).
        outside: L(theta + d - P d) - L(theta).
        share: ||P d||^2 / ||d||^2 of the step.
    """

    loss: float
    whole: float
    within: float
    outside: float
    share: float

    @property
    def interaction(self) -> float:
        """What both parts together change beyond the sum of each alone."""
        return self.whole - self.within - self.outside


@checked
def subspace_progress(
    problem: Problem,
    subspace: Subspace,
    step: Tensor,
    *,
    samples: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> SubspaceProgress:
    """The change of the loss along a step, along its part in a subspace, and along the rest.

    Args:
        problem: model, loss and data at the parameters before the step; the model is left as it is.
        subspace: of ``problem.dimensions`` dimensions.
        step: d, shape (n,), added to the parameters: -eta times a gradient for SGD.
        samples: of the loss, from the start of the seeded first epoch. Default: all N, in one pass.
        batch_size: take the mean over fixed, seeded minibatches of this size: where one pass needs too much memory, or
            the loss couples the samples of a minibatch.
        seed: of samples and minibatches.

    Raises:
        InputError: a step or subspace of another number of dimensions, a step that is zero, or a loss that is not
            finite or differs between two passes at the same parameters.
    """
    if step.shape != (problem.dimensions,) or subspace.dimensions != problem.dimensions:
        raise InputError(
            f"the problem has {problem.dimensions:,} dimensions, the subspace {subspace.dimensions:,}, and the step "
            f"has shape {tuple(step.shape)}"
        )
    share = float(subspace.shares(step[None])[0])
    chosen = choose_samples(problem, samples, batch_size, seed)
    whole = step.double().to(problem.device)
    within = subspace.project(whole)
    steps = (0 * whole, 0 * whole, whole, within, whole - within)
    loss, again, *losses = [_loss_after(problem, chosen, part) for part in steps]
    if not np.isfinite([loss, *losses]).all():
        raise InputError(f"the loss is not finite before or after the step: {loss:g}, {losses}")
    if loss != again:
        raise InputError(
            f"two passes at the same parameters gave the losses {loss:.17g} and {again:.17g} (dropout?): call "
            "model.eval()"
        )
    after, inside, outside = (value - loss for value in losses)
    return SubspaceProgress(loss, after, inside, outside, share)


@torch.no_grad()
def _loss_after(problem: Problem, samples: Samples, step: Tensor) -> float:
    """The mean loss with a step added to the parameters."""
    plain = PlainLoss(problem, None)
    pieces = list(samples.indices) if samples.grouped else [samples.indices]
    total = 0.0
    for piece in pieces:
        with plain.in_place(), torch.no_grad():
            for parameter, part in zip(plain.parameters, problem.layout, strict=True):
                parameter.add_(step[part.start : part.stop].view(part.shape).to(parameter.dtype))
            total += float(plain(*plain.fetch(piece)))
    return total / len(pieces)
