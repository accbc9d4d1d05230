"""Which sample has a label that the loss has no class for."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import Tensor

from gradlaw._torch import pytree
from gradlaw.errors import InputError, listed
from gradlaw.problem import Problem

_OUT_OF_BOUNDS = re.compile(r"Target (-?\d+) is out of bounds")  # what cross_entropy and nll_loss say on a CPU


@contextmanager
def label_located(problem: Problem, t: int, indices: np.ndarray) -> Iterator[None]:
    """Say of which samples of iteration t a label is that is no class of the loss inside; other errors pass.

    Args:
        problem: whose loss.
        t: the iteration.
        indices: of its samples, shape (B,).

    Raises:
        InputError: there is one.
    """
    try:
        yield
    except IndexError as error:
        match = _OUT_OF_BOUNDS.search(str(error))
        if match is None:
            raise
        label = int(match[1])
        having = {int(i) for i in indices if _has(problem, int(i), label)}
        where = f"of sample {listed(map(str, sorted(having)), 5)} " if having else ""
        raise InputError(
            f"the label {label} {where}in iteration {t} is none of the classes of the loss: labels have to be from 0 "
            "to one less than the number of outputs"
        ) from error


def _has(problem: Problem, sample: int, label: int) -> bool:
    """Whether a target of a sample is a label."""
    _, targets = problem.fetch(np.array([sample]))
    leaves = (leaf for leaf in pytree.tree_leaves(targets) if isinstance(leaf, Tensor))
    return any(not leaf.is_floating_point() and bool((leaf == label).any()) for leaf in leaves)
