"""Means over minibatches of gradients that are there, sample by sample: the matrix product that is mostly zeros.

Minibatches of B out of N samples hold a share B/N of all pairs. Where that is small, the gradients of each minibatch's
samples are gathered and added up, a strip of dimensions at a time, so that the strip stays in the processor's cache;
else all pairs are multiplied.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

# Time of one element, in flops of a forward and backward pass of LeNet on one core.
_MULTIPLIED = 0.7  # of all pairs of a minibatch and a sample
_GATHERED = 2.0  # of a pair in which the minibatch holds the sample
_STREAMED = 16.0  # of what a chunk of samples is added to, which passes through memory
_CHUNK_BYTES = 2**29  # of sample gradients that are gathered from at once
_STRIP_BYTES = 2**20  # of the same, that fit the cache
_LEAST_STRIP = 64  # dimensions


def cost_of_means(iterations: int, batch_size: int, samples: int, row: Tensor) -> float:
    """The time that the cheaper way takes, in flops of a pass; ``row`` is like the gradient of a sample, (n,)."""
    n = len(row)
    multiplied = _MULTIPLIED * iterations * samples * n
    if not _can_gather(row):
        return multiplied
    return min(multiplied, _gathering(iterations, batch_size, samples, n, row.element_size()))


def samples_at_once(iterations: int, batch_size: int, samples: int, row: Tensor, least: int) -> int:
    """How many samples' gradients to have ready before they are added, at least ``least``."""
    n, size = len(row), row.element_size()
    if not _can_gather(row):
        return least
    gathered = _gathering(iterations, batch_size, samples, n, size)
    return max(least, _chunk(n, size)) if gathered < _MULTIPLIED * iterations * samples * n else least


def add_means(out: Tensor, counts: np.ndarray, gradients: Tensor, batch_size: int) -> None:
    """Add counts @ gradients / B to ``out``.

    Args:
        out: (T, n), changed.
        counts: (T, S), how often each minibatch holds each of S samples.
        gradients: (S, n), of the samples.
        batch_size: B.
    """
    held = np.count_nonzero(counts)
    if _can_gather(gradients[0]) and _GATHERED * held + _STREAMED * len(counts) < _MULTIPLIED * counts.size:
        _gather(out, counts, gradients, batch_size)
    else:
        out.addmm_(torch.from_numpy(counts).to(out) / batch_size, gradients)


def _gather(out: Tensor, counts: np.ndarray, gradients: Tensor, batch_size: int) -> None:
    minibatches, samples = np.nonzero(counts)
    held = torch.from_numpy(np.repeat(samples, counts[minibatches, samples]))
    ends = np.cumsum(counts.sum(axis=1, dtype=np.int64))
    starts = torch.from_numpy(np.concatenate([np.zeros(1, np.int64), ends[:-1]]))
    width = max(_LEAST_STRIP, _STRIP_BYTES // (len(gradients) * gradients.element_size()))
    for first in range(0, gradients.shape[1], width):
        strip = gradients[:, first : first + width].contiguous()
        sums = embedding_bag(held, strip, starts, mode="sum")
        out[:, first : first + width].add_(sums, alpha=1 / batch_size)


def _can_gather(row: Tensor) -> bool:
    """On a CPU, in types whose sums it takes in that type."""
    return row.device.type == "cpu" and row.dtype in (torch.float32, torch.float64)


def _gathering(iterations: int, batch_size: int, samples: int, dimensions: int, size: int) -> float:
    chunks = -(-samples // _chunk(dimensions, size))
    return iterations * dimensions * (_GATHERED * batch_size + _STREAMED * chunks)


def _chunk(dimensions: int, size: int) -> int:
    return max(1, _CHUNK_BYTES // (dimensions * size))
