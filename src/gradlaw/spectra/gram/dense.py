"""The Gram matrix of a gradient history."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from gradlaw.spectra.gram.memory import zero_gram

# Memory knobs of the functions below; what is summed in another order changes by rounding in float64 alone.
BLOCK_BYTES = 128 * 2**20  # of float64 gradients at once
# Rows of one square of the symmetric product. What a square on the diagonal has above it is work for nothing; a GPU
# needs squares that fill it.
_SQUARE = {"cpu": 256, "cuda": 1024}


def column_blocks(gradients: Any, edges: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
    """Yield (first, columns first onwards) of a (T, n) matrix between every two neighbours of ascending ``edges``.

    ``gradients`` is a tensor, or a matrix that is indexed like one and has ``chunks``, of which each column of chunks
    is read once.
    """
    width = getattr(gradients, "chunks", gradients.shape)[1]
    read = lru_cache(maxsize=1)(lambda chunk: gradients[:, chunk * width : (chunk + 1) * width])
    for start, end in pairwise(edges):
        pieces = [
            read(chunk)[:, max(0, start - chunk * width) : end - chunk * width]
            for chunk in range(start // width, -(-end // width))
        ]
        yield start, pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)


def even_edges(iterations: int, start: int, stop: int, block_bytes: int = BLOCK_BYTES) -> list[int]:
    """Edges from ``start`` to ``stop`` of blocks that take up to ``block_bytes`` (128 MB) each in float64."""
    return [*range(start, stop, max(1, block_bytes // (8 * iterations))), stop]


def gram_matrix(
    gradients: Any,
    advance: Callable[[int], None] | None = None,
    *,
    block_bytes: int = BLOCK_BYTES,
    square: int | None = None,
) -> Tensor:
    """G G^T of a (T, n) matrix, accumulated in float64; shape (T, T).

    ``gradients`` is a tensor, or a matrix that is indexed like one and has ``chunks``. ``advance`` is called with the
    dimensions just done. ``block_bytes`` of float64 gradients are read at once and multiplied in squares of ``square``
    rows (256 on a CPU, 1024 on a GPU): memory knobs that do not change results.
    """
    iterations, dimensions = gradients.shape
    blocks = column_blocks(gradients, even_edges(iterations, 0, dimensions, block_bytes))
    return gram_of_blocks(blocks, iterations, gradients.device, advance, square=square)


def gram_of_blocks(
    blocks: Iterable[tuple[int, Tensor]],
    iterations: int,
    device: torch.device,
    advance: Callable[[int], None] | None = None,
    *,
    square: int | None = None,
) -> Tensor:
    """G G^T, accumulated in float64, from blocks of the columns of G as :func:`column_blocks` yields them.

    Only the squares on and below the diagonal, of ``square`` rows, are multiplied.
    """
    gram = zero_gram(iterations, device)
    for _, block in blocks:
        add_block(gram, block, square)
        if advance:
            advance(block.shape[1])
    return mirrored(gram)


def add_block(gram: Tensor, block: Tensor, square: int | None = None) -> None:
    """Add B B^T of some columns B of G on and below the diagonal; what is above the diagonal means nothing."""
    square = square or _SQUARE.get(gram.device.type, _SQUARE["cuda"])
    wide = block.double()
    for row in range(0, len(gram), square):
        end = min(row + square, len(gram))
        gram[row:end, :end].addmm_(wide[row:end], wide[:end].T)


def mirrored(gram: Tensor) -> Tensor:
    """The symmetric matrix, in place, of what is on and below the diagonal."""
    return gram.tril_().add_(gram.tril(-1).T)


def cross_gram(a: Any, b: Any, block_bytes: int = BLOCK_BYTES) -> Tensor:
    """A B^T of two matrices of n columns, in float64 and on the device of the first, streamed over the columns.

    ``block_bytes`` of both are read at once, as float64: a memory knob that does not change results.
    """
    cross = torch.zeros(len(a), len(b), dtype=torch.float64, device=a.device)
    edges = even_edges(len(a) + len(b), 0, a.shape[1], block_bytes)
    for (_, left), (_, right) in zip(column_blocks(a, edges), column_blocks(b, edges), strict=True):
        cross.addmm_(left.double(), right.to(a.device).double().T)
    return cross


def centre(gram: Tensor) -> Tensor:
    """The Gram matrix of the gradients less their mean over the iterations, from that of the gradients."""
    mean = gram.mean(dim=1)
    return (gram - mean[:, None]).sub_(mean[None, :]).add_(mean.mean())
