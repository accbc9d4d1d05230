"""The loss by the user's own model and its own parameter tensors: what every operator is compared with."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradlaw._torch import pytree
from gradlaw.history.engines.loop import scalar_loss
from gradlaw.problem import Problem


class PlainLoss:
    """The user's loss of some samples, differentiated in the user's tensors wherever they are reached from.

    A closure over the model, a weight held in a list and a term of the loss that knows the parameters all count, which
    they do not where a copy of theta is put in place of the model's attributes.

    Args:
        problem: whose model, loss and data it is; theta and buffers are copied.
        dtype: to put the model and the data into for as long as it is used; None to leave all as it is.
    """

    def __init__(self, problem: Problem, dtype: torch.dtype | None):
        self.problem, self.dtype = problem, dtype
        self.parameters: tuple[Tensor, ...] = tuple(problem.parameters())
        modules = [m for m in problem.functions if isinstance(m, nn.Module)]
        held = {id(t): t for m in modules for t in (*m.parameters(), *m.buffers())}
        self._theta = [(t, self._cast(t.detach()).clone()) for t in held.values()]
        self._training = [(m, m.training) for root in modules for m in root.modules()]

    def __call__(self, inputs: Any, targets: Any) -> Tensor:
        return self.of_outputs(self.outputs(inputs), targets)

    def outputs(self, inputs: Any) -> Any:
        """What the model makes of inputs."""
        return self.problem.output({}, inputs)

    def of_outputs(self, outputs: Any, targets: Any) -> Tensor:
        """The loss, given the model's outputs."""
        return scalar_loss(self.problem.loss(outputs, targets))

    def fetch(self, indices: np.ndarray) -> tuple[Any, Any]:
        """Inputs and targets of samples (B,)."""
        return pytree.tree_map(self._cast, self.problem.fetch(indices))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put copies of theta and of the buffers into the user's tensors; all is as it was afterwards."""
        tensors = [t for t, _ in self._theta]
        own, gradients = [t.data for t in tensors], [t.grad for t in tensors]
        with self.problem.undisturbed(self.problem.state()):
            try:
                for tensor, value in self._theta:
                    tensor.grad, tensor.data = None, value.clone()
                for module, training in self._training:
                    module.training = training
                # Neither fused attention nor the recurrent kernels of cuDNN can be differentiated twice.
                with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
                    yield
            finally:
                for tensor, data, gradient in zip(tensors, own, gradients, strict=True):
                    tensor.data, tensor.grad = data, gradient

    def graph_state(self) -> tuple[object, ...]:
        """What a graph over the user's tensors is valid for: it is void once one is written to or changes its type.

        A tensor that held another type in the meantime has a new node where gradients arrive, and the old graph would
        give zeros.
        """
        leaves = [get_gradient_edge(p).node for p in self.parameters]
        return (*(tensor._version for tensor, _ in self._theta), *leaves)

    def gradient(self, indices: np.ndarray) -> tuple[Tensor, ...]:
        """By plain autograd, inside :meth:`in_place`."""
        loss = self(*self.fetch(indices))
        if not loss.requires_grad:  # of these samples
            return tuple(torch.zeros_like(p) for p in self.parameters)
        return torch.autograd.grad(loss, self.parameters, materialize_grads=True)

    def direct_names(self, indices: np.ndarray) -> list[str]:
        """Parameters that the loss depends on at fixed outputs of the model, inside :meth:`in_place`."""
        inputs, targets = self.fetch(indices)
        outputs = pytree.tree_map_only(Tensor, Tensor.detach, self.outputs(inputs))
        loss = self.of_outputs(outputs, targets)
        if not loss.requires_grad:
            return []
        found = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        return [part.name for part, g in zip(self.problem.layout, found, strict=True) if g is not None]

    def _cast(self, tensor: Any) -> Any:
        if self.dtype is None or not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            return tensor
        return tensor.to(self.dtype)


def own_types(problem: Problem) -> set[torch.dtype]:
    """The floating-point types of the model's parameters and buffers."""
    tensors: Sequence[Tensor] = [*problem.model.parameters(), *problem.model.buffers()]
    return {t.dtype for t in tensors if t.is_floating_point()}
