"""An analysis rendered: its figures, each drawn once, and the page that holds them."""

import json
from functools import cache

from matplotlib.figure import Figure

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.figure import draw_chart, encode_figure
from gradlaw.report.page import render_page
from gradlaw.report.plots import charts_of
from gradlaw.report.sections import shown_sections

KINDS = ("png", "svg")  # of a run directory


class Renderer:
    """Draws when asked, and nothing twice."""

    def __init__(self, analysis: AnalysisResult):
        self._analysis = analysis
        self._charts = charts_of(analysis)
        self._drawings = {drawing.name: drawing.draw for s in shown_sections(analysis) for drawing in s.drawings}
        self._metadata = json.dumps(analysis.provenance, sort_keys=True)
        self._figure = cache(self._drawn)
        self.image = cache(self._encoded)

    @property
    def names(self) -> list[str]:
        """Of every figure there is."""
        return [*self._charts, *self._drawings]

    def page(self) -> str:
        """The report, one HTML page."""
        return render_page(self._analysis, {name: self.image(name, "svg") for name in self._drawings})

    def _drawn(self, name: str) -> Figure:
        if name in self._charts:
            return draw_chart(self._charts[name])
        figure = self._drawings[name](self._analysis)
        figure.draw_without_rendering()  # lays it out: every file of it is then the same
        figure.set_layout_engine("none")
        return figure

    def _encoded(self, name: str, kind: str) -> bytes:
        """The file of one figure."""
        return encode_figure(self._figure(name), kind, self._metadata)
