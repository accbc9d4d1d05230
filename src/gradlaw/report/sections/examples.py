"""Gradients by rank (paper Fig. 1): one series of each direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.drawing import BLUE, RED, finish, fitted_line, new_figure, scatter
from gradlaw.report.section import Drawing, ShownSection, register
from gradlaw.stats import fit_power_law

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DECADES_SHOWN = 1e-5


def _draw(analysis: AnalysisResult) -> Figure:
    """Magnitude against rank, log-log: one iteration and one dimension, each that of median KS distance."""
    with new_figure(5.2, 3.7) as figure:
        axes = figure.add_subplot()
        names = {"dimension": "dimension-wise, iteration", "iteration": "iteration-wise, parameter"}
        for (axis, example), colour in zip(analysis.examples.items(), (RED, BLUE), strict=True):
            tests = analysis.tests[axis]
            drawn = scatter(axes, example.magnitudes, colour, f"{names[axis]} {example.index:,}")
            if drawn and not tests.degenerate_series[example.index]:
                fit = fit_power_law(example.magnitudes.astype(float), tests.k, tests.alpha)
                fitted_line(axes, fit, colour)
        finish(axes, [tests.k for tests in analysis.tests.values()], "magnitude of the gradient")
        largest = max(float(example.magnitudes[0]) for example in analysis.examples.values())
        if largest > 0:  # gradients that are zero but for rounding would stretch the axis over many empty decades
            axes.set_ylim(bottom=max(axes.get_ylim()[0], largest * _DECADES_SHOWN))
        axes.set_title("The two directions of the gradient history", loc="left")
    return figure


@register
class ShownExamples(ShownSection):
    name = "examples"
    drawings = (
        Drawing(
            "gradients",
            _draw,
            "Magnitude of gradients against rank on logarithmic axes",
            """Magnitude against rank. Red: the n gradients of one iteration. Blue: the T gradients of one parameter.
Each is the series of median KS distance among those that can be tested. Dashed: the power law fitted to the K
largest; a tail that follows it is a straight line.""",
            single=True,
        ),
    )
