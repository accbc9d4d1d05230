"""The reference engine: plain autograd, one minibatch at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.history.engines.locate_label import label_located
from gradlaw.problem import Problem
from gradlaw.randomness import RandomState, generators_in, seeded
from gradlaw.training_step import not_a_loss

NO_PARAMETER = "the loss does not depend on any of the analysed parameters"


class LoopEngine:
    """Minibatch gradients by ``torch.autograd.grad``; correct for every model that PyTorch can differentiate.

    The model runs as its own code would run it, with its own parameters in place, so that whatever way the loss reaches
    them by counts. Buffers and attributes are put back after each pass.

    Attributes:
        by_backward: whether the model has shown to take ``.backward()`` alone, as reentrant checkpoints do.
    """

    name = "loop"

    def __init__(self, problem: Problem, seed: int):
        self.problem, self.seed = problem, seed
        self._state = problem.state()
        self._generators = generators_in(*problem.functions)
        self.by_backward = False
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def keep(self, t: int, loss: Tensor, gradient: Tensor) -> None:
        """Iteration t has this loss and this gradient (n,): no need to compute them again for the run."""
        self._kept[t] = loss, gradient

    def row(self, t: int, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        """Loss and gradient (n,) of iteration t, computed unless they are kept."""
        if t in self._kept:
            return self._kept[t]
        loss, gradients = self.gradient(t, indices)
        return loss, flatten(gradients, self.problem)

    def chunk(self, batch_size: int) -> int:
        """How many iterations to ask for at once."""
        return 1

    def gradients(self, first: int, batches: Sequence[np.ndarray], out: Tensor) -> Tensor:
        """Write the gradients of iterations ``first`` onwards to the rows of ``out``; return the losses (C,)."""
        losses = []
        for t, (indices, row) in enumerate(zip(batches, out, strict=True), start=first):
            loss, gradient = self.row(t, indices)
            row.copy_(gradient)
            losses.append(loss)
        return torch.stack(losses)

    def gradient(self, t: int, indices: np.ndarray) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Loss and one gradient a parameter tensor; None where the loss does not depend on it."""
        if self.problem.randomness != "seeded":
            with label_located(self.problem, t, indices):
                return self._gradient(indices)
        with self.problem.turn(), seeded(self._generators, self.seed, t), label_located(self.problem, t, indices):
            return self._gradient(indices)

    def drawing(self, t: int, indices: np.ndarray) -> tuple[bool, tuple[Tensor, tuple[Tensor | None, ...]]]:
        """Whether a pass draws random numbers, from whatever generator is known, and :meth:`gradient`, seeded; all
        generators are left as they were.
        """
        with (
            self.problem.turn(),
            seeded(self._generators, self.seed, t),
            label_located(self.problem, t, indices),
        ):
            before = RandomState(self._generators)
            found = self._gradient(indices)
            return before.has_moved(), found

    def _gradient(self, indices: np.ndarray) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        problem = self.problem
        inputs, targets = problem.fetch(indices)
        with problem.undisturbed(self._state), torch.enable_grad():
            return self._differentiate(inputs, targets)

    def _loss(self, inputs: Any, targets: Any) -> Tensor:
        loss = scalar_loss(self.problem.plain_loss(inputs, targets))
        if any(p.grad is not None for p in self.problem.model.parameters()):
            raise InputError(
                "model or loss call backward() themselves: a step has to return the loss of its batch, and leave "
                "backward() and the optimiser out"
            )
        if not loss.requires_grad:
            raise InputError(NO_PARAMETER)
        return loss

    def _differentiate(self, inputs: Any, targets: Any) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        with _gradients_set_aside(self.problem):
            return self._of_theta(inputs, targets)

    def _of_theta(self, inputs: Any, targets: Any) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        parameters, loss = self.problem.parameters(), self._loss(inputs, targets)
        if not self.by_backward:
            try:
                return loss.detach(), torch.autograd.grad(loss, parameters, allow_unused=True)
            except RuntimeError as error:
                if "use_reentrant" not in str(error):
                    raise
                self.by_backward = True  # reentrant checkpoints know .backward() alone
                loss = self._loss(inputs, targets)
        loss.backward()
        return loss.detach(), tuple(p.grad for p in parameters)


@contextmanager
def _gradients_set_aside(problem: Problem) -> Iterator[None]:
    """The model's own ``.grad`` are None inside and what they were outside."""
    parameters = list(problem.model.parameters())
    before = [p.grad for p in parameters]
    try:
        for p in parameters:
            p.grad = None
        yield
    finally:
        for p, gradient in zip(parameters, before, strict=True):
            p.grad = gradient


def scalar_loss(loss: Tensor) -> Tensor:
    """The loss, checked to be one number."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise InputError(f"loss must return one number, the mean over the minibatch; got {not_a_loss(loss)}")
    if loss.is_complex():
        raise InputError("loss must return a real number; got a complex one")
    return loss.reshape(())


def flatten(gradients: Sequence[Tensor | None], problem: Problem) -> Tensor:
    """One gradient (n,) out of one tensor a parameter, zeros where there is none."""
    pieces = [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, problem.parameters(), strict=True)]
    dense = [piece.to_dense() if piece.layout != torch.strided else piece for piece in pieces]
    return torch.cat([piece.detach().reshape(-1).to(problem.dtype) for piece in dense])
