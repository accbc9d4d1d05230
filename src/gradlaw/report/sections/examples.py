"""Gradients by rank (paper Fig. 1): one series of each direction."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import numpy as np

from gradlaw.analysis.result import AnalysisResult, RankedSeries
from gradlaw.report.chart import Chart, ChartMaker, Layer, Panel, by_rank, fitted_line, k_marks
from gradlaw.report.section import ShownSection, register
from gradlaw.stats import fit_power_law

_DECADES_SHOWN = 1e-5  # below the largest; gradients that are zero but for rounding would stretch the axis
_SYMBOLS = {"dimension": "circle", "iteration": "times"}


def _make(analysis: AnalysisResult) -> Chart:
    """Magnitude against rank, log-log: one iteration and one dimension, each that of median KS distance."""
    panels = (
        _panel(analysis, "dimension", "gradients_dimension", "Across parameters: one iteration"),
        _panel(analysis, "iteration", "gradients_iteration", "Across minibatches: one parameter"),
    )
    return Chart(
        "gradients",
        panels,
        "Magnitude of gradients against rank on logarithmic axes, in both directions",
        "Magnitude against rank: of the n gradients of one iteration (dimension-wise), and of the T gradients of one "
        "parameter (iteration-wise). Each is the series of median d_KS among those that can be tested. Dashed: the "
        "power law fitted to the K largest, over the ranks that it was fitted to; a tail that follows it is a straight "
        "line.",
    )


def _panel(analysis: AnalysisResult, axis: str, name: str, title: str) -> Panel:
    example, tests = analysis.examples[axis], analysis.tests[axis]
    label = f"iteration {example.index:,}" if axis == "dimension" else parameter_at(analysis, example.index)
    layers: list[Layer] = by_rank(example.magnitudes, label, axis, _SYMBOLS[axis], _describe(analysis, example))
    if layers and not tests.degenerate_series[example.index]:
        fit = fit_power_law(example.magnitudes.astype(float), tests.k, tests.alpha)
        layers += fitted_line(fit, float(example.magnitudes[0]), axis)
    lowest = float(example.magnitudes[0]) * _DECADES_SHOWN or None
    return Panel(
        name, title, "rank", "magnitude of the gradient", tuple(layers), k_marks(tests.k), "log", "log", lowest
    )


def _describe(analysis: AnalysisResult, example: RankedSeries) -> Callable[[int], str] | None:
    places = example.places
    if places is None:
        return None
    if example.axis == "dimension":
        return lambda rank: parameter_at(analysis, int(places[rank]))
    return lambda rank: f"iteration {places[rank]:,}, loss {analysis.losses[places[rank]]:.3g}"


def parameter_at(analysis: AnalysisResult, dimension: int) -> str:
    """The parameter of one dimension: its tensor and where it is in it."""
    part = analysis.layout[bisect_right([part.start for part in analysis.layout], dimension) - 1]
    element = np.unravel_index(dimension - part.start, part.shape)
    return f"{part.name}[{', '.join(map(str, element))}]"


@register
class ShownExamples(ShownSection):
    name, heading = "examples", "Gradients in both directions"
    place = 1
    charts = (ChartMaker("gradients", _make),)
