"""The mean loss of a chunk of samples as a function of the analysed parameters alone."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradlaw._torch import pytree
from gradlaw.curvature.operators.composites import Composites
from gradlaw.history.engines.loop import scalar_loss
from gradlaw.problem import Problem

Theta = tuple[Tensor, ...]


class MeanLoss:
    """The loss of a chunk of samples (s,), or the mean over its minibatches (C, B), for transforms of ``torch.func``.

    Args:
        problem: whose model, loss and data it is; theta is copied and put in place of the model's attributes.
        dtype: of parameters, buffers and floating-point data in the computation.
        grouped: whether chunks are of minibatches, which vmap then takes all at once.
    """

    def __init__(self, problem: Problem, dtype: torch.dtype, *, grouped: bool = False):
        self.problem, self.dtype, self.grouped = problem, dtype, grouped
        self._names = [part.name for part in problem.layout]
        self.theta: Theta = tuple(self._cast(p.detach().clone()) for p in problem.parameters())
        self._frozen = {
            name: self._cast(p.detach()) for name, p in problem.model.named_parameters() if name not in self._names
        }
        self._buffers = {name: self._cast(b) for name, b in problem.buffers().items()}

    def __call__(self, theta: Theta, inputs: Any, targets: Any) -> Tensor:
        """The loss of a chunk as :meth:`fetch` gives it."""
        return self.of_outputs(self.outputs(theta, inputs), targets)

    def fetch(self, chunk: np.ndarray) -> tuple[Any, Any]:
        """Inputs and targets of a chunk."""
        return pytree.tree_map(self._cast, self.problem.fetch(chunk))

    def outputs(self, theta: Theta, inputs: Any) -> Any:
        """What the model makes of the inputs, with the minibatches as first dimension if there are any."""
        if not self.grouped:
            return self._output(theta, {name: b.clone() for name, b in self._buffers.items()}, inputs)
        count = len(pytree.tree_leaves(inputs)[0])
        # Each minibatch gets buffers of its own: batch norm writes its running statistics there.
        buffers = {name: b.expand(count, *b.shape).clone() for name, b in self._buffers.items()}
        return vmap(lambda b, x: self._output(theta, b, x))(buffers, inputs)

    def of_outputs(self, outputs: Any, targets: Any) -> Tensor:
        """The loss, given the model's outputs."""
        with Composites():
            if not self.grouped:
                return scalar_loss(self.problem.loss(outputs, targets))
            return vmap(lambda out, y: scalar_loss(self.problem.loss(out, y)))(outputs, targets).mean()

    def _output(self, theta: Theta, buffers: dict[str, Tensor], inputs: Any) -> Any:
        state = {**self._frozen, **dict(zip(self._names, theta, strict=True)), **buffers}
        # The fused attention kernels cannot be differentiated twice.
        with Composites(), sdpa_kernel(SDPBackend.MATH):
            return self.problem.output(state, inputs)

    def _cast(self, tensor: Any) -> Any:
        return tensor.to(self.dtype) if isinstance(tensor, Tensor) and tensor.is_floating_point() else tensor
