"""The check of a fast engine against the reference."""

import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.problem import ParameterSlice

# Summation in another order moves a gradient by some eps; an engine that is wrong is off by much more than this.
_RELATIVE_EPS, _ABSOLUTE_EPS = 2e4, 100.0  # 2e-3 of the layer's norm and 1e-5 of the whole gradient's, in float32


def check_engine(name: str, fast: Tensor, reference: Tensor, layout: list[ParameterSlice]) -> float:
    """Compare gradients (C, n) of two engines, parameter by parameter; return the largest relative difference of norms.

    Raises:
        InputError: they differ by more than rounding; the message names the layers.
    """
    eps = torch.finfo(reference.dtype).eps
    difference, reference = (fast - reference).double(), reference.double()
    whole = reference.norm(dim=1)
    wrong = []
    for part in layout:
        off = difference[:, part.start : part.stop].norm(dim=1)
        size = reference[:, part.start : part.stop].norm(dim=1)
        if not (off <= _RELATIVE_EPS * eps * size + _ABSOLUTE_EPS * eps * whole).all():
            worst = int((off - size).argmax())
            wrong.append(
                f"{part.name} ({part.layer_type}): ||difference|| = {off[worst]:.3g}, ||gradient|| = {size[worst]:.3g}"
            )
    if wrong:
        raise InputError(
            f"engine {name!r} disagrees with plain autograd on the first minibatches in {'; '.join(wrong)}. "
            'Use engine="loop", and please report the model'
        )
    return float((difference.norm(dim=1) / whole.clamp_min(torch.finfo(torch.float64).tiny)).max())
