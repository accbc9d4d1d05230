"""The figures of a comparison, drawn with Matplotlib for papers; those of the page are in :mod:`gradlaw.report`."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from gradlaw.compare.quantities import QUANTITIES
from gradlaw.compare.result import ComparisonResult
from gradlaw.report.figure import PAGE, encode_figure, new_figure
from gradlaw.report.palette import LIGHT, RUNS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KINDS = ("png", "svg")


def figure_files(c: ComparisonResult) -> dict[str, bytes]:
    """Every figure as PNG and SVG, by the name of its file."""
    metadata = json.dumps({"groups": c.groups})
    drawn = {name: draw(c) for name, draw in FIGURES.items()}
    return {
        f"{name}.{kind}": encode_figure(figure, kind, metadata)
        for name, figure in drawn.items() if figure is not None for kind in _KINDS
    }  # fmt: skip


def draw_spectra(c: ComparisonResult) -> Figure:
    """The spectra of all runs over one another."""
    with new_figure(PAGE, 4.0) as figure:
        axes = figure.subplots()
        for (name, column), colour in zip(c.spectra.items(), _cycle(len(c.spectra.columns)), strict=True):
            positive = column[column > 0]
            axes.plot(positive.index, positive, "o", ms=3, mew=0.7, mfc="none", color=colour, label=str(name))
        axes.set(xscale="log", yscale="log", xlabel="rank", ylabel="eigenvalue of the covariance")
        axes.legend(loc="lower left")
    return figure


def draw_rates(c: ComparisonResult) -> Figure | None:
    """Rates of all groups with their intervals."""
    names = [q for q in QUANTITIES if q.name.endswith("_rate") and c.values.loc[q.name]["value"].notna().any()]
    if not names:
        return None
    with new_figure(PAGE, 1.2 + 0.35 * len(names) * len(c.groups)) as figure:
        axes = figure.subplots()
        step = 0.8 / len(c.groups)
        for g, (group, colour) in enumerate(zip(c.groups, _cycle(len(c.groups)), strict=True)):
            rows = [c.values.loc[(quantity.name, group)] for quantity in names]
            heights = np.arange(len(names)) + step * (g - (len(c.groups) - 1) / 2)
            _with_intervals(axes, rows, heights, colour, group, 100)
        axes.set_yticks(range(len(names)), [quantity.label for quantity in names])
        axes.set(xlabel="share of series, %", xlim=(-2, 102))
        axes.invert_yaxis()
        axes.legend(loc="best")
    return figure


def draw_layers(c: ComparisonResult) -> Figure | None:
    """Noise scales of all layers with their intervals."""
    usable = c.layers[np.isfinite(c.layers["noise_scale"])]
    if not len(usable):
        return None
    layers, runs = list(dict.fromkeys(c.layers["layer"])), list(dict.fromkeys(c.layers["run"]))
    with new_figure(PAGE, 1.2 + 0.22 * len(layers) * max(1, len(runs) / 2)) as figure:
        axes = figure.subplots()
        step = 0.8 / len(runs)
        for r, (run, colour) in enumerate(zip(runs, _cycle(len(runs)), strict=True)):
            of_run = usable[usable["run"] == run]
            heights = np.array([layers.index(layer) for layer in of_run["layer"]]) + step * (r - (len(runs) - 1) / 2)
            rows = [row.rename({"noise_scale": "value"}) for _, row in of_run.iterrows()]
            _with_intervals(axes, rows, heights, colour, run, 1)
        axes.set_yticks(range(len(layers)), layers)
        axes.set(xlabel="gradient noise scale, samples", xscale="log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
        axes.invert_yaxis()
        axes.legend(loc="best")
    return figure


FIGURES: dict[str, Callable[[ComparisonResult], Figure | None]] = {
    "spectra": draw_spectra,
    "rates": draw_rates,
    "layers": draw_layers,
}


def _with_intervals(
    axes: "Axes", rows: Sequence[Any], heights: np.ndarray, colour: str, label: str, factor: float
) -> None:
    """Points with their intervals; one that reaches to infinity ends at the edge."""
    values = np.array([row["value"] for row in rows], dtype=float) * factor
    low, high = (np.array([row[end] for row in rows], dtype=float) * factor for end in ("low", "high"))
    known = np.isfinite(values)
    if not known.any():
        return
    beyond = 1e3 * np.nanmax(values)
    errors = np.nan_to_num(np.stack([values - low, np.where(np.isinf(high), beyond, high) - values])).clip(min=0)
    left, right = np.nanmin(values[known]), np.nanmax(values[known])
    axes.errorbar(values[known], heights[known], xerr=errors[:, known], fmt="o", ms=4, lw=1, color=colour, label=label)
    if np.isinf(high[known]).any():
        axes.set_xlim(0.3 * left, 10 * right)


def _cycle(number: int) -> list[str]:
    return [LIGHT[f"run {i % RUNS}"] for i in range(number)]
