"""The Gram matrix of a gradient history."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_BLOCK_BYTES = 128 * 2**20
_ROWS = 1024  # of one square of the symmetric product


def gram_matrix(gradients: Any, advance: Callable[[int], None] | None = None) -> Tensor:
    """G G^T of a (T, n) matrix, accumulated in float64; shape (T, T).

    ``gradients`` is a tensor, or a matrix that is indexed like one and has ``chunks``.
    Only the squares on and below the diagonal are multiplied. ``advance`` is called with the dimensions just done.
    """
    iterations, dimensions = gradients.shape
    gram = torch.zeros(iterations, iterations, dtype=torch.float64, device=gradients.device)
    step = getattr(gradients, "chunks", (0, max(1, _BLOCK_BYTES // (8 * iterations))))[1]
    for start in range(0, dimensions, step):
        block = gradients[:, start : start + step].double()
        for row in range(0, iterations, _ROWS):
            end = min(row + _ROWS, iterations)
            gram[row:end, :end].addmm_(block[row:end], block[:end].T)
        if advance:
            advance(block.shape[1])
    return gram.tril_().add_(gram.tril(-1).T)


def cross_gram(a: Tensor, b: Tensor) -> Tensor:
    """A B^T of two matrices of n columns on one device, in float64, streamed over the columns."""
    cross = torch.zeros(len(a), len(b), dtype=torch.float64, device=a.device)
    step = max(1, _BLOCK_BYTES // (8 * (len(a) + len(b))))
    for start in range(0, a.shape[1], step):
        block = slice(start, start + step)
        cross.addmm_(a[:, block].double(), b[:, block].double().T)
    return cross


def centre(gram: Tensor) -> Tensor:
    """The Gram matrix of the gradients less their mean over the iterations, from that of the gradients."""
    mean = gram.mean(dim=1)
    return gram - mean[:, None] - mean[None, :] + mean.mean()
