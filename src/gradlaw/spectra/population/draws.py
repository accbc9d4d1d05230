"""Draws from a population with given eigenvalues, by way of their Gram matrix."""

import numpy as np
import torch
from torch import Tensor

from gradlaw import random_streams
from gradlaw.errors import InputError, count
from gradlaw.spectra.gram.dense import add_block, mirrored

_COLUMNS = 4096  # the unit in which draws are seeded: part of what a seed means


def drawn_gram(
    eigenvalues: np.ndarray,
    iterations: int,
    seed: int = 0,
    *,
    sizes: np.ndarray | None = None,
    freedom: float | None = None,
) -> Tensor:
    """The Gram matrix X X^T of T independent draws of mean zero whose covariance has these eigenvalues.

    The n x n covariance is diagonal, which loses nothing: the Gram matrix of Gaussian draws depends on its eigenvalues
    alone. Numbers are drawn in single precision and multiplied in double.

    Args:
        eigenvalues: n of them, not negative.
        iterations: T.
        seed: of the draws.
        sizes: a factor of each draw, shape (T,): all of its coordinates are longer or shorter together.
        freedom: degrees of freedom, above 2, of Student t coordinates of variance 1 in place of Gaussian ones.

    Returns:
        Shape (T, T), float64.

    Raises:
        InputError: negative eigenvalues, sizes of another shape, or 2 degrees of freedom or fewer.
    """
    iterations = count(iterations, "iterations", 2)
    if len(eigenvalues) == 0 or not np.all(eigenvalues >= 0):
        raise InputError("a population has eigenvalues that are not negative, one at least")
    if sizes is not None and np.shape(sizes) != (iterations,):
        raise InputError(f"sizes are one for each of {iterations} draws, got shape {np.shape(sizes)}")
    if freedom is not None and freedom <= 2:
        raise InputError(f"Student t values with {freedom} degrees of freedom have no variance: more than 2 are needed")
    gram = torch.zeros(iterations, iterations, dtype=torch.float64)
    for start in range(0, len(eigenvalues), _COLUMNS):
        deviations = np.sqrt(eigenvalues[start : start + _COLUMNS]).astype(np.float32)
        rng = np.random.default_rng([random_streams.POPULATION, seed, start])
        block = rng.standard_normal((iterations, len(deviations)), dtype=np.float32)
        if freedom is not None:
            block *= np.sqrt((freedom - 2) / rng.chisquare(freedom, block.shape)).astype(np.float32)
        add_block(gram, torch.from_numpy(block * deviations))
    gram = mirrored(gram)
    return gram if sizes is None else gram * torch.from_numpy(np.outer(sizes, sizes))
