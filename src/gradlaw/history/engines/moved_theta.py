"""Theta moved by a few of its rounding errors: how far rounding alone takes a gradient."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gradlaw.problem import Problem


@contextmanager
def moved_theta(problem: Problem, units: float, seed: int = 0) -> Iterator[None]:
    """Every parameter of the model is off by up to ``units`` eps of its type inside, half of that at least.

    In place, so that ties, views and closures hold; put back to the bit. No other thread sees it.
    """
    random = torch.Generator().manual_seed(seed)
    with problem.undisturbed(problem.state()):
        parameters = [p.data for p in problem.model.parameters() if p.is_floating_point()]
        kept = [p.clone() for p in parameters]
        try:
            for p in parameters:
                step = units * torch.finfo(p.dtype).eps * (0.5 + 0.5 * torch.rand(p.shape, generator=random).double())
                signs = 2.0 * torch.randint(2, p.shape, generator=random) - 1
                p.mul_((1 + step * signs).to(p.dtype).to(p.device))
            yield
        finally:
            for p, before in zip(parameters, kept, strict=True):
                p.copy_(before)
