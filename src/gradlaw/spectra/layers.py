"""Layer-wise spectra of a gradient history, and each parameter tensor's share of the trace."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.problem import ParameterSlice
from gradlaw.spectra.access import gradients_of, layout_of, rounding_floor, rounding_of
from gradlaw.spectra.gradient import spectrum_of_gram
from gradlaw.spectra.gram.dense import column_blocks, even_edges, gram_of_blocks
from gradlaw.spectra.spectrum import Spectrum

if TYPE_CHECKING:
    import pandas as pd

_BLOCK_BYTES = 64 * 2**20  # of float64 gradients


def layer_spectra(history: Any, center: bool = True) -> dict[str, Spectrum]:
    """The spectrum of each parameter tensor's own block of the covariance, or of the second moment.

    A tensor of n_l dimensions has min(T, n_l) eigenvalues: those of its T x T Gram matrix, or, where n_l < T, of the
    n_l x n_l block itself. The blocks leave out the correlations between tensors, so the spectra together are not that
    of the model; their traces add up to its trace. The history is read once; peak memory beside it is one T x T matrix
    and a block.

    Args:
        history: a GradientHistory, in memory or on disk (its layout says which dimensions belong to which tensor).
        center: take the mean over the iterations off first.

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
            spectra[part.name] = _spectrum_of_columns(columns, center, rounding)
    return spectra


def trace_shares(spectra: Mapping[str, Spectrum]) -> "pd.DataFrame":
    """How the trace and the dimensions divide among parameter tensors.

    Args:
        spectra: as :func:`layer_spectra` returns them.

    Returns:
        One row a tensor, indexed by name: ``dimensions``, ``trace``, ``share`` of the summed trace (0 for all if that
        is 0), ``dimension_share`` of the summed dimensions, ``largest`` eigenvalue, numerical ``rank``.

    Raises:
        InputError: no spectrum.
    """
    import pandas as pd  # loaded for those who ask for a table

    if not spectra:
        raise InputError("there are no spectra to take shares of")
    columns = {
        "dimensions": [s.dimensions for s in spectra.values()],
        "trace": [s.trace for s in spectra.values()],
        "largest": [float(s.eigenvalues[0]) for s in spectra.values()],
        "rank": [s.rank for s in spectra.values()],
    }
    frame = pd.DataFrame(columns, index=pd.Index(list(spectra), name="name"))
    total = frame["trace"].sum()
    frame.insert(2, "share", frame["trace"] / total if total > 0 else 0.0)
    frame.insert(3, "dimension_share", frame["dimensions"] / frame["dimensions"].sum())
    return frame


def layer_blocks(
    gradients: Any, layout: Sequence[ParameterSlice]
) -> Iterator[tuple[ParameterSlice, Iterator[tuple[int, Tensor]]]]:
    """Yield each parameter tensor with the blocks of its columns, to be used up before the next is asked for."""
    splits = [even_edges(len(gradients), part.start, part.stop) for part in layout]
    blocks = column_blocks(gradients, [0, *(edge for split in splits for edge in split[1:])])
    for part, split in zip(layout, splits, strict=True):
        yield part, islice(blocks, len(split) - 1)


def _spectrum_of_columns(gradients: Tensor, center: bool, rounding: float) -> Spectrum:
    """The spectrum of fewer dimensions than iterations, from the n_l x n_l side."""
    iterations, dimensions = gradients.shape
    mean = gradients.mean(dim=0, dtype=torch.float64)
    block = _scatter(gradients, mean if center else torch.zeros_like(mean)) / iterations
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


def _scatter(gradients: Tensor, mean: Tensor) -> Tensor:
    """Sum over the iterations of (g - mean)(g - mean)^T, in float64; shape (n_l, n_l)."""
    scatter = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=gradients.device)
    for rows in gradients.split(max(1, _BLOCK_BYTES // (8 * len(mean)))):
        centred = rows.double() - mean
        scatter.addmm_(centred.T, centred)
    return scatter
