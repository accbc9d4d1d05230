"""The figures of an analysis, one by one, on axes of one's own: ``analysis.plot.spectrum(ax)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlaw.analysis.result import AnalysisResult
from gradlaw.errors import choice
from gradlaw.extras import extra
from gradlaw.report.chart import Chart, Panel
from gradlaw.report.figure import draw_panel
from gradlaw.report.overlay import one_panel
from gradlaw.report.sections import shown_sections

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def charts_of(analysis: AnalysisResult) -> dict[str, Chart]:
    """Every chart of an analysis, by name, in the order of its sections."""
    made = (maker.make(analysis) for section in shown_sections(analysis) for maker in section.charts)
    return {chart.name: chart for chart in made if chart is not None}


class Plots:
    """Draws the panels of an analysis with Matplotlib, each on axes that are given or on new ones.

    ``plot("name", ax)`` draws any panel, those of sections of one's own among them; ``names`` lists them.
    """

    def __init__(self, analysis: AnalysisResult):
        self._analysis = analysis

    @property
    def names(self) -> list[str]:
        """Of all panels that this analysis has."""
        return list(self._panels())

    def __call__(self, name: str, ax: Axes | None = None) -> Axes:
        """Draw the panel of this name.

        Args:
            name: one of ``names``.
            ax: matplotlib axes to draw on; None makes a new figure.

        Returns:
            The axes.

        Raises:
            InputError: no such panel, or one of what was not measured.
        """
        panels = self._panels()
        return _drawn(panels[choice(name, "a panel of this analysis", panels)], ax)

    def gradients(self, ax: Axes | None = None) -> Axes:
        """Magnitude against rank of one series of each direction, with the fitted laws; ``ax`` as for all."""
        chart = charts_of(self._analysis)["gradients"]
        return _drawn(one_panel(chart, "The two directions of the gradient history"), ax)

    def spectrum(self, ax: Axes | None = None) -> Axes:
        """Eigenvalues of second moment and covariance against rank, with the fitted laws."""
        return self("spectrum", ax)

    def eigengaps(self, ax: Axes | None = None) -> Axes:
        """Sorted eigengaps of the covariance against rank."""
        return self("eigengaps", ax)

    def layers(self, ax: Axes | None = None) -> Axes:
        """Shares of Gaussian, not Gaussian and degenerate parameters, a bar a tensor."""
        return self("layers", ax)

    def distances(self, axis: str = "dimension", ax: Axes | None = None) -> Axes:
        """Histogram of d_KS of all series in one direction, ``"dimension"`` or ``"iteration"``."""
        return self(f"distances_{axis}", ax)

    def p_values(self, axis: str = "dimension", ax: Axes | None = None) -> Axes:
        """Histogram of the p-values of all series in one direction, ``"dimension"`` or ``"iteration"``."""
        return self(f"p_values_{axis}", ax)

    def controls(self, ax: Axes | None = None) -> Axes:
        """The covariance spectrum over those of noise; of an analysis with ``controls=True``."""
        return self("controls", ax)

    def over_iterations(self, ax: Axes | None = None) -> Axes:
        """Leading eigenvalues of the covariance against the number of iterations."""
        return self("over_iterations", ax)

    def tail_indices(self, ax: Axes | None = None) -> Axes:
        """Alpha-stable indices of both directions; of an analysis with ``extended=True``."""
        return self("tail_indices", ax)

    def hill(self, ax: Axes | None = None) -> Axes:
        """Hill plots of one series of each direction; of an analysis with ``extended=True``."""
        return self("hill", ax)

    def _panels(self) -> dict[str, Panel]:
        return {panel.name: panel for chart in charts_of(self._analysis).values() for panel in chart.panels}


def _drawn(panel: Panel, ax: Axes | None) -> Axes:
    with extra("report", "drawing"):
        return draw_panel(panel, ax)
