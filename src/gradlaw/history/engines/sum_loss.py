"""Tells a loss that is a sum over the minibatch from one that is a mean."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from gradlaw.problem import Problem


class _Sums(TorchFunctionMode):
    """Holds what losses of PyTorch return that are asked for a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.results: list[object] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if (kwargs or {}).get("reduction") == "sum":
            self.results.append(result)
        return result


def sum_notices(problem: Problem, indices: np.ndarray) -> list[str]:
    """What is to be said of a loss of PyTorch with ``reduction="sum"`` that is taken as it is: it grows with B.

    The mean over its minibatch that somebody makes of such a sum is another tensor, and nothing is said of it.
    """
    if problem.by_batches or len(indices) == 1:
        return []
    inputs, targets = problem.fetch(indices)
    # With gradients: a model may differentiate on its own.
    with problem.undisturbed(problem.state()), torch.enable_grad(), _Sums() as sums:
        loss = problem.plain_loss(inputs, targets)
    if not any(loss is result for result in sums.results):
        return []
    return [
        "the loss is a sum over the minibatch (reduction='sum'), so that gradients and eigenvalues grow with the batch "
        "size; take the mean to compare batch sizes"
    ]
