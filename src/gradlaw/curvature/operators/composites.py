"""Operations made of elementary ones where torch's own derivatives are wrong or end the process."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from gradlaw._torch import INNER_MSE_LOSS, WEIGHT_NORM

_REDUCTIONS = ("none", "mean", "sum")  # by the number that torch passes on


class Composites(TorchFunctionMode):
    """Inside, ``mse_loss`` and weight normalisation are differences, squares, norms and means.

    The forward-mode derivative of the backward pass of ``mse_loss`` reads the tangent of the target, which does not
    exist where the target is a constant made in the loss (a cast of integers, say): a null pointer in torch 2.13. The
    backward pass of the fused weight normalisation takes the norms as constants, so that its derivative is wrong.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        composite = _COMPOSITES.get(function, function)
        return composite(*args, **(kwargs or {}))


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


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """G v / ||v||, of the norms over all dimensions but one, or all (-1) (Salimans & Kingma 2016)."""
    over = [d for d in range(v.ndim) if d != dim % v.ndim] if dim != -1 else None
    return v * (g / torch.linalg.vector_norm(v, dim=over, keepdim=True))


_COMPOSITES: dict[Any, Callable[..., Tensor]] = {
    F.mse_loss: _mse_loss,
    INNER_MSE_LOSS: _inner_mse_loss,
    torch.ops.aten.mse_loss: _inner_mse_loss,
    torch.ops.aten.mse_loss.default: _inner_mse_loss,
    WEIGHT_NORM: _weight_norm,
}
