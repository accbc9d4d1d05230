"""Layer-wise spectra of a gradient history, and each parameter tensor's share of the trace."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from gradlaw.errors import count
from gradlaw.problem import ParameterSlice
from gradlaw.spectra.access import gradients_of, layout_of, rounding_floor, rounding_of
from gradlaw.spectra.gradient import spectrum_of_gram
from gradlaw.spectra.gram.dense import column_blocks, even_edges, gram_of_blocks
from gradlaw.spectra.spectrum import Spectrum

_BLOCK_BYTES = 64 * 2**20  # of float64 gradients


def layer_spectra(history: Any, center: bool = True, *, block_bytes: int = _BLOCK_BYTES) -> dict[str, Spectrum]:
    """The spectrum of each parameter tensor's own block of the covariance, or of the second moment.

    A tensor of n_l dimensions has min(T, n_l) eigenvalues: those of its T x T Gram matrix, or, where n_l < T, of the
    n_l x n_l block itself. The blocks leave out the correlations between tensors, so the spectra together are not that
    of the model; their traces add up to its trace. The history is read once; peak memory beside it is one T x T matrix
    and a block.

    Args:
        history: a GradientHistory, in memory or on disk (its layout says which dimensions belong to which tensor).
        center: take the mean over the iterations off first.
        block_bytes: of gradients in float64 that are worked on at a time; results agree to rounding.

    Returns:
        Spectra by the name of the tensor, in the order of the layout. Each has the relative rounding error of the
        whole gradient in its floor.

    Raises:
        InputError: an array, which has no layout.
    """
    layout, gradients, rounding = layout_of(history), gradients_of(history), rounding_of(history)
    iterations, device = len(gradients), gradients.device
    spectra = {}
    for part, blocks in layer_blocks(gradients, layout):
        dimensions = part.stop - part.start
        if dimensions >= iterations:
            gram = gram_of_blocks(blocks, iterations, device)
            spectra[part.name] = spectrum_of_gram(gram, dimensions, center, rounding)
        else:
            columns = torch.cat([block for _, block in blocks], dim=1)
            spectra[part.name] = _spectrum_of_columns(columns, center, rounding, count(block_bytes, "block_bytes"))
    return spectra


def layer_blocks(
    gradients: Any, layout: Sequence[ParameterSlice]
) -> Iterator[tuple[ParameterSlice, Iterator[tuple[int, Tensor]]]]:
    """Yield each parameter tensor with the blocks of its columns, to be used up before the next is asked for."""
    splits = [even_edges(len(gradients), part.start, part.stop) for part in layout]
    blocks = column_blocks(gradients, [0, *(edge for split in splits for edge in split[1:])])
    for part, split in zip(layout, splits, strict=True):
        yield part, islice(blocks, len(split) - 1)


def _spectrum_of_columns(gradients: Tensor, center: bool, rounding: float, block_bytes: int) -> Spectrum:
    """The spectrum of fewer dimensions than iterations, from the n_l x n_l side."""
    iterations, dimensions = gradients.shape
    mean = gradients.mean(dim=0, dtype=torch.float64)
    block = _scatter(gradients, mean if center else torch.zeros_like(mean), block_bytes) / iterations
    trace = float(block.diagonal().sum())
    second_moment_trace = trace + float(mean.square().sum()) if center else trace
    eigenvalues = torch.linalg.eigvalsh(block).flip(0).cpu().numpy()
    return Spectrum(
        eigenvalues=eigenvalues,
        centred=center,
        iterations=iterations,
        dimensions=dimensions,
        trace=trace,
        floor=rounding_floor(iterations, float(eigenvalues[0]), second_moment_trace, rounding),
    )


def _scatter(gradients: Tensor, mean: Tensor, block_bytes: int) -> Tensor:
    """Sum over the iterations of (g - mean)(g - mean)^T, in float64; shape (n_l, n_l)."""
    scatter = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=gradients.device)
    for rows in gradients.split(max(1, block_bytes // (8 * len(mean)))):
        centred = rows.double() - mean
        scatter.addmm_(centred.T, centred)
    return scatter
