"""Refusal of losses and gradients that are not finite."""

import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.problem import ParameterSlice


class NotFinite(InputError):
    """A loss or gradient of the user's problem that is NaN or infinite, whatever computes it."""


def check_finite(losses: Tensor, gradients: Tensor, first: int, layout: list[ParameterSlice]) -> None:
    """Refuse NaN and infinity among the losses (C,) and gradients (C, n) of iterations ``first`` onwards.

    Raises:
        NotFinite: names the first bad iteration, and for a gradient its parameter.
    """
    check_losses(losses, first)
    # A sum is finite unless a term is not, or it overflows; only then is every value looked at.
    if torch.isfinite(gradients.sum()):
        return
    bad = (~torch.isfinite(gradients)).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        part = next(p for p in layout if column < p.stop)
        value = float(gradients[row, column])
        raise NotFinite(
            f"the gradient of iteration {first + row} is {value} at parameter {part.name!r} "
            f"(element {column - part.start} of {part.stop - part.start}), while its loss is {float(losses[row]):.4g}"
        )


def check_losses(losses: Tensor, first: int) -> None:
    """Refuse NaN and infinity among the losses (C,) of iterations ``first`` onwards.

    Raises:
        NotFinite: names the first bad iteration.
    """
    for t, loss in enumerate(losses.tolist(), start=first):
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise NotFinite(f"the loss of iteration {t} is {loss}: has the model diverged, or do the data hold NaN?")
