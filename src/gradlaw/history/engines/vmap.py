"""The batched engine: ``torch.func.vmap`` of a gradient over many minibatches."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradlaw.history.engines.cost import MOST_SAMPLES, PassCost
from gradlaw.history.engines.gradient_hooks import refuse_gradient_hooks
from gradlaw.history.engines.loop import scalar_loss
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem

_CHUNK_BYTES = 64 * 2**20  # of gradients at once
_LEAST_CHUNK = 8  # iterations at once from which batching them beats the loop, measured on LeNet and FCN


class VmapEngine:
    """Minibatch gradients of many iterations in one batched pass.

    Faster than a loop where an iteration is small. Models with data-dependent control flow, or operations without a
    batching rule that write in place (recurrent layers), cannot be batched.

    Args:
        problem: without randomness in its forward pass.
        batches: not needed; the other engines look at them.
        most_samples: that pass through the model at once; a memory knob that changes results by rounding at most.

    Raises:
        InputError: gradients pass through hooks.
    """

    name = "vmap"
    fallback: frozenset[str] = frozenset()  # parameters that it leaves to another engine

    def __init__(self, problem: Problem, batches: Sequence[np.ndarray] = (), most_samples: int = MOST_SAMPLES):
        self.problem, self._state, self._most_samples = problem, problem.state(), most_samples
        refuse_gradient_hooks(problem)
        names = [part.name for part in problem.layout]
        theta = dict(zip(names, (p.detach() for p in problem.parameters()), strict=True))
        frozen = {name: p.detach() for name, p in problem.model.named_parameters() if name not in theta}

        def loss(theta: dict[str, Tensor], buffers: dict[str, Tensor], inputs: object, targets: object) -> Tensor:
            return scalar_loss(problem.minibatch_loss({**frozen, **theta, **buffers}, inputs, targets))

        self._theta = theta
        self._batched = vmap(grad_and_value(loss), in_dims=(None, 0, 0, 0))

    @staticmethod
    def is_worth_it(problem: Problem, minibatches: Minibatches, cost: PassCost) -> bool:
        """Whether this is faster than the loop."""
        size = minibatches.batch_size
        return cost.batching_is_worth_it(size) and _chunk(problem, size, cost.most_samples()) >= _LEAST_CHUNK

    def chunk(self, batch_size: int) -> int:
        """How many iterations to ask for at once."""
        return _chunk(self.problem, batch_size, self._most_samples)

    def gradients(self, first: int, batches: Sequence[np.ndarray], out: Tensor) -> Tensor:
        """Write the gradients of the batches to the rows of ``out``; return the losses (C,)."""
        count = len(batches)
        inputs, targets = self.problem.fetch(np.stack(batches))
        # Each iteration gets buffers of its own: batch norm writes its running statistics there.
        buffers = {name: b.expand(count, *b.shape).clone() for name, b in self.problem.buffers().items()}
        # The fused attention kernels have no batching rule and would run one by one.
        with self.problem.undisturbed(self._state), sdpa_kernel(SDPBackend.MATH):
            gradients, losses = self._batched(self._theta, buffers, inputs, targets)
        torch.cat([g.detach().reshape(count, -1).to(out.dtype) for g in gradients.values()], dim=1, out=out)
        return losses.detach()


def _chunk(problem: Problem, batch_size: int, most_samples: int) -> int:
    """A rule of sizes, so that every run of a problem chunks alike."""
    by_memory = _CHUNK_BYTES // (problem.dimensions * problem.dtype.itemsize)
    return max(1, min(by_memory, most_samples // batch_size))
