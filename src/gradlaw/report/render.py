"""An analysis rendered: its figures, each drawn once, and the page that holds them."""

import json
from functools import cache

from matplotlib.figure import Figure

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.drawing import encode, fix_layout
from gradlaw.report.page import render_page
from gradlaw.report.sections import shown_sections

KINDS = ("png", "svg")


class Renderer:
    """Draws when asked, and nothing twice: the page embeds the SVG that the files hold."""

    def __init__(self, analysis: AnalysisResult):
        self._analysis = analysis
        self._draw = {drawing.name: drawing.draw for s in shown_sections(analysis) for drawing in s.drawings}
        self._metadata = json.dumps(analysis.provenance, sort_keys=True)
        self._figure = cache(self._drawn)
        self.image = cache(self._encoded)

    @property
    def images(self) -> list[tuple[str, str]]:
        """Name and kind of every image there is."""
        return [(name, kind) for name in self._draw for kind in KINDS]

    def page(self) -> str:
        """The report, one HTML page."""
        return render_page(self._analysis, {name: self.image(name, "svg") for name in self._draw})

    def _drawn(self, name: str) -> Figure:
        figure = self._draw[name](self._analysis)
        fix_layout(figure)
        return figure

    def _encoded(self, name: str, kind: str) -> bytes:
        """The file of one figure."""
        return encode(self._figure(name), kind, self._metadata)
