"""Signal and noise of each parameter tensor without a Gram matrix of its own."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gradlaw.spectra.access import layout_of, own_columns, own_layout, rounding_of
from gradlaw.spectra.layers import layer_blocks
from gradlaw.spectra.noise import noise_of_gram, noise_of_sums, sizes_of, tensors_of_rounding_alone

if TYPE_CHECKING:
    import pandas as pd

_TILE = 128  # columns: in float64 they stay in the processor's cache, which takes less than half the time


def layer_signals(history: Any, gram: Tensor) -> "pd.DataFrame":
    """What :func:`~gradlaw.spectra.gradient_noise_by_layer` returns, with ranks and participation ratios of the whole
    model only: NaN in the rows of tensors.

    Everything else follows from two sums an iteration, |g|^2 and g . sum g, in one pass over the history.

    Args:
        history: a GradientHistory, in memory or on disk.
        gram: G G^T of its uncentred gradients as :func:`~gradlaw.spectra.gram.dense.gram_matrix` makes it.

    Raises:
        InputError: as :func:`~gradlaw.spectra.gradient_noise`, or an array, which has no layout.
    """
    import pandas as pd  # loaded for those who ask for a table

    (batch_size, samples), rounding = sizes_of(history, None, None), rounding_of(history)
    model = noise_of_gram(gram, batch_size, samples, rounding).scalars()
    layout, alone = layout_of(history), tensors_of_rounding_alone(history)
    rows = {("model", "all"): {"dimensions": layout[-1].stop, **model}}
    for part, (squares, row_sums) in zip(layout, sums_by_tensor(history), strict=True):
        of_tensor = math.inf if part.name in alone else rounding
        estimates, degenerate = noise_of_sums(squares, row_sums, batch_size, samples, of_tensor)
        row: dict[str, Any] = {"dimensions": part.stop - part.start}
        for name, (value, error) in estimates.items():
            row |= {name: value, f"{name}_error": error}
        row |= {"batch_size": batch_size, "iterations": len(squares), "degenerate": degenerate}
        rows[("tensor", part.name)] = row
    index = pd.MultiIndex.from_tuples(rows, names=["group", "name"])
    return pd.DataFrame(list(rows.values()), index=index)


def sums_by_tensor(history: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each parameter tensor |g(t)|^2 and g(t) . sum_s g(s), float64, of shape (T,)."""
    own, places = own_columns(history), {part.name: place for place, part in enumerate(layout_of(history))}
    sums = torch.zeros(len(places), 2, len(own.gradients), dtype=torch.float64, device=own.gradients.device)
    for part, blocks in layer_blocks(own.gradients, own_layout(history)):
        squares, row_sums = sums[places[part.name]]
        for tile in (tile for _, block in blocks for tile in block.split(_TILE, dim=1)):
            wide = tile.double()
            row_sums += wide @ wide.sum(dim=0)
            squares += wide.square().sum(dim=1)
    yield from ((squares, row_sums) for squares, row_sums in own.ranks.sum(sums))
