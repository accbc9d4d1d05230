"""The style of figures of reproductions and studies, and what several draw; those of analyses are in ``figure.py``.

Matplotlib is loaded inside the functions, for those who draw: a terminal's table needs none.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from gradlaw.stats import PowerLawFit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RED, BLUE, GREEN, GREY = "#c8442d", "#2b6cb0", "#2f855a", "#6b7280"
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.6,
    "legend.facecolor": "white",  # over the lines that mark K
    "legend.edgecolor": "white",
    "legend.framealpha": 0.9,
    "legend.fancybox": False,
    "legend.fontsize": 8,
    "figure.dpi": 100,
    "svg.hashsalt": "gradlaw",
    "svg.fonttype": "none",
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PNG_DPI = 200


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """A figure of this size in inches, to be drawn in the style of all."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def fix_layout(figure: Figure) -> None:
    """Lay a figure out once and for all: every file of it is then the same, whichever are written and in what order."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        engine = figure.get_layout_engine()
        assert engine is not None
        engine.execute(figure)
        figure.set_layout_engine("none")


def encode(figure: Figure, kind: str, metadata: str) -> bytes:
    """A figure as a file of ``kind`` with the provenance inside, the same bytes each time."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        # The canvases themselves: Figure.savefig draws everything once more, for a layout that is fixed already.
        if kind == "svg":
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Description": metadata, "Date": None})
        else:
            figure.set_dpi(_PNG_DPI)
            FigureCanvasAgg(figure).print_png(buffer, metadata={"Description": metadata, "Software": "gradlaw"})
    return buffer.getvalue()


def fitted_line(axes: Axes, fit: PowerLawFit, colour: str) -> None:
    """The fitted law by rank: lambda_r = lambda_min (k / r)^s."""
    ranks = np.array([1, fit.k])
    label = f"s = {fit.s:.2f}, $d_{{KS}}$ = {fit.d_ks:.3g}"
    axes.plot(ranks, fit.lambda_min * (fit.k / ranks) ** fit.s, color=colour, lw=1.3, ls="--", label=label)


def finish(axes: Axes, k: int | Iterable[int], quantity: str) -> None:
    """Logarithmic axes by rank, with K marked, or several of them."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set(xscale="log", yscale="log", xlabel="rank", ylabel=quantity)
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        if high >= 100 * low:  # otherwise the ticks between powers of ten need their labels
            axis.set_major_formatter(FuncFormatter(_power_of_ten))
            axis.set_minor_formatter(NullFormatter())
    mark_k(axes, k)
    axes.legend(loc="lower left")


def mark_k(axes: Axes, k: int | Iterable[int]) -> None:
    """Dotted lines where tails begin."""
    for style, each in zip((":", "-."), sorted({k} if isinstance(k, int) else set(k), reverse=True), strict=False):
        axes.axvline(each, color=GREY, lw=0.8, ls=style, label=f"K = {each:,}")


def _power_of_ten(value: float, _: int | None = None) -> str:
    """In plain text, which takes a fraction of the time of mathematical text."""
    return "10" + f"{round(math.log10(value))}".translate(_SUPERSCRIPTS)
