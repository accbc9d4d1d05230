"""Losses made of elementary operations where torch's own derivative of theirs ends the process."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

_REDUCTIONS = ("none", "mean", "sum")  # by the number that torch passes on


class CompositeLosses(TorchFunctionMode):
    """Inside, ``mse_loss`` is a difference, a square and a mean.

    The forward-mode derivative of its backward pass reads the tangent of the target, which does not exist where the
    target is a constant made in the loss (a cast of integers, say): a null pointer in torch 2.13.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is F.mse_loss:
            return _mse_loss(*args, **kwargs)
        if function in _INNER:
            return _inner_mse_loss(*args, **kwargs)
        return function(*args, **kwargs)


_INNER = (torch._C._nn.mse_loss, torch.ops.aten.mse_loss, torch.ops.aten.mse_loss.default)


def _mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """With the signature and the broadcasting of ``torch.nn.functional.mse_loss``."""
    if size_average is not None or reduce is not None:  # its older arguments, which win
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
    squares = (input - target).square()
    if weight is not None:
        squares = squares * weight
        return squares.sum() / weight.sum() if reduction == "mean" else _reduced(squares, reduction)
    return _reduced(squares, reduction)


def _inner_mse_loss(self: Tensor, target: Tensor, reduction: int = 1) -> Tensor:
    return _reduced((self - target).square(), _REDUCTIONS[reduction])


def _reduced(values: Tensor, reduction: str) -> Tensor:
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return values if reduction == "none" else values.mean() if reduction == "mean" else values.sum()
