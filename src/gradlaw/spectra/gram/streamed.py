"""Gradients that are computed anew each time that they are read."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlaw.choices import Axis
from gradlaw.errors import InputError
from gradlaw.history.engines.choose import EngineChoice
from gradlaw.minibatches import Minibatches

_LOSS_TOLERANCE = 1e-4  # relative; the same engine on the same minibatches agrees far better


@dataclass(frozen=True)
class StreamedGradients:
    """The gradients of T minibatches, a (T, n) matrix of which some rows at a time exist.

    Attributes:
        choice: of the engine that computes them, and compares them with plain autograd.
        minibatches: of which.
        losses: (T,), as they were when the gradients were first computed.
    """

    choice: EngineChoice
    minibatches: Minibatches
    losses: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(T, n)."""
        return len(self.minibatches), self.choice.problem.dimensions

    def blocks(self, axis: Axis) -> Iterator[tuple[int, Tensor]]:
        """Yield (first, gradients of the iterations ``first`` onwards, (m, n)).

        Raises:
            InputError: an axis other than ``"dimension"``, which would need all gradients at once, or losses that are
                not what they were, since parameters or data have changed.
        """
        if axis != "dimension":
            raise InputError(f"gradients that are computed anew stream by axis='dimension' only, got {axis!r}")
        problem, step = self.choice.problem, self.choice.engine.chunk(self.minibatches.batch_size)
        for start in range(0, len(self.minibatches), step):
            batches = [self.minibatches[t] for t in range(start, min(start + step, len(self.minibatches)))]
            rows = torch.empty(len(batches), problem.dimensions, dtype=problem.dtype, device=problem.device)
            losses = self.choice.gradients(start, batches, rows)
            before = self.losses[start : start + len(batches)]
            if not torch.allclose(losses.to(before.dtype), before, rtol=_LOSS_TOLERANCE, atol=_LOSS_TOLERANCE):
                raise InputError("the losses are not what they were: the parameters or the data have changed since")
            yield start, rows
