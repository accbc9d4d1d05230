"""What a pass costs, counted: the same numbers on every run, so that one seed always takes the same engine."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from gradlaw._torch import OperationMode, overloads, pytree
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.problem import Problem

# Measured in CPU time on one core: LeNet, FCN, convolutional nets at 32 to 128 pixels, U-Nets at 64 and 256 pixels,
# ResNet18 and a GPT, B = 1 to 100. Below it batching took 0.08 to 0.93 of the loop's time, above it 0.9 to 2.7.
_LARGEST_RESULT = 200e3  # bytes, in the mean over the operations of a minibatch
_MOST_BYTES = 512 * 2**20  # of all results of one pass; about half of them exist at a time
MOST_SAMPLES = 512


@dataclass
class PassCost:
    """Of the forward and backward pass of some samples.

    Attributes:
        samples: how many.
        operations: calls of PyTorch's kernels.
        flops: of matrix products and convolutions.
        bytes: of all results but the gradients of the parameters.
    """

    samples: int
    operations: int = 0
    flops: int = 0
    bytes: int = 0

    @property
    def activations(self) -> float:
        """Bytes of a sample's results, without gradients of parameters."""
        return self.bytes / self.samples

    def batching_is_worth_it(self, batch_size: int) -> bool:
        """Whether operations over several minibatches at once take less time than one minibatch after the other.

        What an operation costs beside its arithmetic is saved; once one minibatch's results fill the cache, nothing is,
        and larger ones no longer fit.
        """
        return self.activations * batch_size / self.operations < _LARGEST_RESULT

    def most_samples(self) -> int:
        """How many samples to compute at once."""
        return max(1, min(MOST_SAMPLES, int(_MOST_BYTES / max(1.0, self.activations))))


def count_pass(reference: LoopEngine, indices: np.ndarray) -> PassCost:
    """Count what plain autograd does with samples."""
    counter = OperationCounter(len(indices))
    with counter:
        reference.gradient(0, indices)
    return counter.of_pass(reference.problem)


class OperationCounter(OperationMode):
    """Counts what goes on inside, over so many samples."""

    def __init__(self, samples: int):
        super().__init__()
        self._cost = PassCost(samples)

    def of_pass(self, problem: Problem) -> PassCost:
        """What was counted of a pass that made one gradient."""
        gradient = problem.dimensions * problem.dtype.itemsize
        return replace(self._cost, bytes=max(0, self._cost.bytes - gradient))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._cost.operations += 1
        if overloads(func) in flop_registry:
            self._cost.flops += flop_registry[overloads(func)](*args, **(kwargs or {}), out_val=result)
        given = {_place(a) for a in pytree.tree_leaves(args) if isinstance(a, Tensor)}
        for leaf in result if isinstance(result, tuple | list) else (result,):
            if isinstance(leaf, Tensor) and _place(leaf) not in given:  # not a view, nor written in place
                self._cost.bytes += math.prod(leaf.shape) * leaf.element_size()
        return result


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided else id(tensor)
