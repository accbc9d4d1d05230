"""Signal, noise and noise scale of the model, of each layer and of each type of layer."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gradlaw.batch_size.scale import ScaleEstimate, noise_scale_of
from gradlaw.history import GradientHistory
from gradlaw.spectra.layer_signals import sums_by_tensor
from gradlaw.spectra.noise import Estimate, noise_of_sums, sizes_of, tensors_of_rounding_alone

if TYPE_CHECKING:
    import pandas as pd

MODEL, LAYER, TYPE, NORMALISATION = "model", "layer", "layer type", "normalisation layers"
Group = tuple[str, str]
INDEX = ("group", "name")


def noise_by_layer(history: GradientHistory, level: float) -> "pd.DataFrame":
    """One row a group of parameters, indexed by ``group`` and ``name``: the model, its layers, its types of layer.

    A layer is a module with parameters of its own: its weight and bias together. All layers that normalise are a group
    of their own, too. Tensors whose gradients are rounding errors alone take no part. Columns: ``dimensions``,
    ``signal`` (unbiased |g|^2) and ``noise`` (tr Sigma of one sample), each with its jackknife ``..._error``, and
    ``noise_scale`` with ``low``, ``high`` and ``error``; missing where the gradients do not vary above rounding.
    """
    import pandas as pd  # loaded for those who ask for a table

    batch_size, samples = sizes_of(history, None, None)
    rows = {}
    for group, (dimensions, squares, row_sums) in _sums_by_group(history).items():
        estimates, degenerate = noise_of_sums(squares, row_sums, batch_size, samples, history.rounding)
        rows[group] = {"dimensions": dimensions} | ({} if degenerate else _row(estimates, len(squares) - 1, level))
    return pd.DataFrame(list(rows.values()), index=pd.MultiIndex.from_tuples(rows, names=INDEX), columns=_COLUMNS)


def scale_of(row: "pd.Series[float]") -> ScaleEstimate | None:
    """The noise scale of one row of :func:`noise_by_layer`; None where it is missing."""
    columns = ("noise_scale", "low", "high", "error")
    return None if math.isnan(row["noise_scale"]) else ScaleEstimate(*(float(row[column]) for column in columns))


def inverse_of(estimates: dict[str, Estimate]) -> Estimate:
    """Signal over noise of one sample: that of an iteration times the exact factor between the two."""
    factor = estimates["trace"].value / estimates["sample_trace"].value
    return Estimate(*(factor * part for part in estimates["signal_to_noise"]))


_COLUMNS = ["dimensions", "signal", "signal_error", "noise", "noise_error", "noise_scale", "low", "high", "error"]


def _row(estimates: dict[str, Estimate], degrees: int, level: float) -> dict[str, float]:
    signal, noise = estimates["mean_square_unbiased"], estimates["sample_trace"]
    scale: ScaleEstimate = noise_scale_of(inverse_of(estimates), degrees, level)
    values = (*signal, *noise, scale.value, scale.low, scale.high, scale.standard_error)
    return dict(zip(_COLUMNS[1:], values, strict=True))


def _sums_by_group(history: GradientHistory) -> dict[Group, tuple[int, Tensor, Tensor]]:
    """Dimensions, |g(t)|^2 and g(t) . sum_s g(s) of each group: sums over its tensors."""
    alone = set(tensors_of_rounding_alone(history))
    found: dict[Group, tuple[int, Tensor, Tensor]] = {(MODEL, "all"): _nothing(history)}
    types: dict[Group, tuple[int, Tensor, Tensor]] = {}
    for part, (squares, row_sums) in zip(history.layout, sums_by_tensor(history), strict=True):
        if part.name in alone:
            squares, row_sums = torch.zeros_like(squares), torch.zeros_like(row_sums)
        of_tensor = part.stop - part.start, squares, row_sums
        layer = part.name.rpartition(".")[0] or part.name
        chosen = [(found, (MODEL, "all")), (found, (LAYER, layer)), (types, (TYPE, part.layer_type))]
        chosen += [(types, (NORMALISATION, "all"))] * normalises(part.layer_type)
        for groups, key in chosen:
            sums = groups.get(key, _nothing(history))
            groups[key] = sums[0] + of_tensor[0], sums[1] + of_tensor[1], sums[2] + of_tensor[2]
    return found | dict(sorted(types.items(), key=lambda item: item[0][0]))


def normalises(layer_type: str) -> bool:
    """Whether a layer of this class normalises: LayerNorm, LlamaRMSNorm, GroupNorm, BatchNorm2d."""
    return "norm" in layer_type.lower()


def _nothing(history: GradientHistory) -> tuple[int, Tensor, Tensor]:
    zeros = torch.zeros(len(history), dtype=torch.float64, device=history.gradients.device)
    return 0, zeros, zeros
