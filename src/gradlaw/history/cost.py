"""What a pass costs, counted: the same numbers on every run, so that one seed always takes the same engine."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from gradlaw.history.loop import LoopEngine


@dataclass
class PassCost:
    """Of the forward and backward pass of some samples.

    Attributes:
        samples: how many.
        operations: calls of PyTorch's kernels.
        flops: of matrix products and convolutions.
        bytes: of all results.
    """

    samples: int
    operations: int = 0
    flops: int = 0
    bytes: int = 0


def count_pass(reference: LoopEngine, indices: np.ndarray) -> PassCost:
    """Count what plain autograd does with samples."""
    cost = PassCost(len(indices))
    with _Counter(cost):
        reference.gradient(0, indices)
    return cost


class _Counter(TorchDispatchMode):
    def __init__(self, cost: PassCost):
        super().__init__()
        self._cost = cost

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self._cost.operations += 1
        if func._overloadpacket in flop_registry:
            self._cost.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=result)
        for leaf in result if isinstance(result, tuple | list) else (result,):
            if isinstance(leaf, Tensor) and not leaf._is_view():
                self._cost.bytes += math.prod(leaf.shape) * leaf.element_size()
        return result
