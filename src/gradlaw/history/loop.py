"""The reference engine: plain autograd, one minibatch at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from gradlaw import streams
from gradlaw.errors import InputError
from gradlaw.problem import Problem


class LoopEngine:
    """Minibatch gradients by ``torch.autograd.grad``; correct for every model that PyTorch can differentiate."""

    name = "loop"

    def __init__(self, problem: Problem, seed: int):
        self.problem, self.seed = problem, seed

    def chunk(self, batch_size: int) -> int:
        """How many iterations to ask for at once."""
        return 1

    def gradients(self, first: int, batches: Sequence[np.ndarray], out: Tensor) -> Tensor:
        """Write the gradients of iterations ``first`` onwards to the rows of ``out``; return the losses (C,)."""
        losses = []
        for t, (indices, row) in enumerate(zip(batches, out, strict=True), start=first):
            loss, gradients = self.gradient(t, indices)
            row.copy_(flatten(gradients, self.problem))
            losses.append(loss)
        return torch.stack(losses)

    def gradient(self, t: int, indices: np.ndarray) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Loss and one gradient a parameter tensor; None where the loss does not depend on it."""
        with self._seeded(t), torch.enable_grad():
            loss = scalar_loss(self.problem.minibatch_loss(self.problem.buffers(), *self.problem.fetch(indices)))
            if not loss.requires_grad:
                raise InputError("the loss does not depend on any of the analysed parameters")
            gradients = torch.autograd.grad(loss, self.problem.parameters(), allow_unused=True)
        return loss.detach(), gradients

    @contextmanager
    def _seeded(self, t: int) -> Iterator[None]:
        """Give iteration t random numbers of its own, if the problem asks for it, and leave the global ones alone."""
        if self.problem.randomness != "seeded":
            yield
            return
        device = self.problem.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            words = np.random.SeedSequence([streams.FORWARD, self.seed, t]).generate_state(1, np.uint64)
            torch.manual_seed(int(words[0]))
            yield


def scalar_loss(loss: Tensor) -> Tensor:
    """The loss, checked to be one number."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        got = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise InputError(f"loss must return one number, the mean over the minibatch; got {got}")
    return loss.reshape(())


def flatten(gradients: Sequence[Tensor | None], problem: Problem) -> Tensor:
    """One gradient (n,) out of one tensor a parameter, zeros where there is none."""
    pieces = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, problem.parameters(), strict=True)]
    return torch.cat([piece.detach().reshape(-1).to(problem.dtype) for piece in pieces])
