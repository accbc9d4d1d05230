"""One pass of plain autograd, looked at from all sides: its gradient, the types it went through, what it cost."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gradlaw.history.engines.cost import OperationCounter, PassCost
from gradlaw.history.engines.loop import LoopEngine, flatten

OBSERVED_SAMPLES = 16  # of the first minibatch


class ResultTypes(TorchFunctionMode):
    """Collects the types of all results that require a gradient, and their bytes.

    Attributes:
        seen: the floating types.
        bytes: of the results.
        sums: whether a loss of PyTorch was asked for a sum.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()
        self.bytes = 0
        self.sums = False

    def lowest_eps(self, default: torch.dtype) -> float:
        """The eps of the lowest of the floating types, or of the default where there was none."""
        return max((torch.finfo(dtype).eps for dtype in self.seen), default=torch.finfo(default).eps)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.sums = self.sums or (kwargs or {}).get("reduction") == "sum"
        for leaf in result if isinstance(result, tuple | list) else (result,):
            if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.requires_grad:
                self.seen.add(leaf.dtype)
                self.bytes += leaf.nbytes
        return result


@dataclass(frozen=True)
class ObservedPass:
    """What a pass over the first samples of the first minibatch showed.

    Attributes:
        loss: of the samples.
        gradient: of the same, (n,).
        types: that the loss went through on its way from theta.
        cost: None where nobody asked.
    """

    loss: Tensor
    gradient: Tensor
    types: ResultTypes
    cost: PassCost | None


def observe_pass(reference: LoopEngine, indices: np.ndarray, counted: bool) -> ObservedPass:
    """Pass the first 16 of the samples; ``counted`` if its operations are to be counted, where these are all."""
    few = indices[:OBSERVED_SAMPLES]
    counter = OperationCounter(len(few)) if counted and len(few) == len(indices) else None
    types = ResultTypes()
    with types, counter or nullcontext():
        loss, gradients = reference.gradient(0, few)
    cost = None if counter is None else counter.of_pass(reference.problem)
    return ObservedPass(loss, flatten(gradients, reference.problem), types, cost)
