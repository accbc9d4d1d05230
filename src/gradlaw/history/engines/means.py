"""Means over minibatches of gradients that are there, sample by sample: the matrix product that is mostly zeros.

Minibatches of B out of N samples hold a share B/N of all pairs. Where that is small, the gradients of each minibatch's
samples are gathered and added up, a strip of dimensions at a time, so that the strip stays in the processor's cache;
else all pairs are multiplied.
"""

from typing import NamedTuple

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


class _Way(NamedTuple):
    """The cheaper way, and the time that it takes, in flops of a pass."""

    gathers: bool
    cost: float


def cost_of_means(iterations: int, batch_size: int, samples: int, row: Tensor) -> float:
    """The time that the cheaper way takes, in flops of a pass; ``row`` is like the gradient of a sample, (n,)."""
    return _way_of_all(iterations, batch_size, samples, row).cost


def samples_at_once(iterations: int, batch_size: int, samples: int, row: Tensor, least: int) -> int:
    """How many samples' gradients to have ready before they are added, at least ``least``."""
    return max(least, _chunk(row)) if _way_of_all(iterations, batch_size, samples, row).gathers else least


def add_means(out: Tensor, counts: np.ndarray, gradients: Tensor, batch_size: int) -> None:
    """Add counts @ gradients / B to ``out``.

    Args:
        out: (T, n), changed.
        counts: (T, S), how often each minibatch holds each of S samples.
        gradients: (S, n), of the samples.
        batch_size: B.
    """
    if _cheaper(gradients[0], counts.size, int(np.count_nonzero(counts)), len(counts)).gathers:
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


def _way_of_all(iterations: int, batch_size: int, samples: int, row: Tensor) -> _Way:
    chunks = -(-samples // _chunk(row))
    return _cheaper(row, iterations * samples, iterations * batch_size, iterations * chunks)


def _cheaper(row: Tensor, pairs: float, held: float, streamed: float) -> _Way:
    """To multiply all pairs of a minibatch and a sample, or to gather those in which the minibatch holds the sample and
    add them to so many rows in passing. Gathered is on a CPU, in types whose sums it takes in that type.
    """
    multiplied, gathered = _MULTIPLIED * pairs, _GATHERED * held + _STREAMED * streamed
    possible = row.device.type == "cpu" and row.dtype in (torch.float32, torch.float64)
    gathers = possible and gathered < multiplied
    return _Way(gathers, len(row) * (gathered if gathers else multiplied))


def _chunk(row: Tensor) -> int:
    return max(1, _CHUNK_BYTES // row.nbytes)
