"""Theta moved by a few of its rounding errors: how far rounding alone takes a gradient."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gradlaw.problem import Problem


@contextmanager
def moved_theta(problem: Problem, units: float, seed: int = 0) -> Iterator[None]:
    """Every parameter of the model is itself times 1 plus or minus ``units`` eps of its type inside.

    In place, so that ties, views and closures hold; put back to the bit.
    """
    parameters = [p.data for p in problem.model.parameters() if p.is_floating_point()]
    kept = [p.clone() for p in parameters]
    random = torch.Generator().manual_seed(seed)
    with problem.undisturbed(problem.state()):
        try:
            for p in parameters:
                signs = 2.0 * torch.randint(2, p.shape, generator=random) - 1
                p.mul_((1 + units * torch.finfo(p.dtype).eps * signs.double()).to(p.dtype).to(p.device))
            yield
        finally:
            for p, before in zip(parameters, kept, strict=True):
                p.copy_(before)
