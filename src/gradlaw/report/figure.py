"""Charts drawn with Matplotlib, in one style that fits a paper of two columns.

Matplotlib is loaded inside the functions, for those who draw: a terminal's table needs none.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlaw.report.chart import Band, Bars, Chart, Layer, Line, Panel, Points, Stack
from gradlaw.report.palette import LIGHT, SYMBOLS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE = {
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.7,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.5,
    "legend.facecolor": "white",  # over the lines that mark K
    "legend.edgecolor": "white",
    "legend.framealpha": 0.85,
    "legend.fancybox": False,
    "legend.fontsize": 7,
    "legend.handlelength": 1.6,
    "figure.dpi": 100,
    "pdf.fonttype": 42,  # letters that journals accept and readers can select
    "svg.hashsalt": "gradlaw",
    "svg.fonttype": "none",
}
KINDS = ("pdf", "png", "svg")
COLUMN, PAGE = 3.4, 6.9  # inches: of one column and of both
_HEIGHT, _ROW = 2.5, 0.2  # inches: of a panel, of a lying bar
_INSIDE, _LEGEND_LINE, _LONG_ENTRY = 4, 0.125, 24  # entries of a legend in the axes; inches; letters that fit twice
_PNG_DPI = 200
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_LONGEST_NAME = 28


def draw_chart(chart: Chart, note: str = "") -> Figure:
    """The whole figure, as wide as a column for one panel and as a page for more, laid out once and for all.

    ``note`` is in small letters below: what every output of a kind is labelled with.
    """
    import matplotlib
    from matplotlib.figure import Figure

    rows = max(len(panel.names) for panel in chart.panels)
    shared = _shared(chart)
    below = 0 if shared else max(_lines_below(panel) for panel in chart.panels)
    height = max(_HEIGHT, 1.1 + _ROW * rows) + _LEGEND_LINE * below
    with matplotlib.rc_context(STYLE):
        columns = min(len(chart.panels), 2)
        lines = -(-len(chart.panels) // columns)
        figure = Figure(figsize=(PAGE if columns > 1 or rows else COLUMN, height * lines), layout="constrained")
        flat = list(figure.subplots(lines, columns, squeeze=False).flat)
        for axes, panel in zip(flat, chart.panels, strict=False):
            _draw(axes, panel, with_legend=not shared)
        for unused in flat[len(chart.panels) :]:
            unused.remove()
        if shared:
            figure.legend(*flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        if note:
            figure.supxlabel(_text(note), x=0.99, ha="right", fontsize=6, color=LIGHT["mark"])
        fix_layout(figure)
    return figure


def fix_layout(figure: Figure) -> None:
    """Lay a figure out once and for all: every file of it is then the same, whichever are written and in what order."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        engine = figure.get_layout_engine()
        assert engine is not None
        figure.set_dpi(_PNG_DPI)  # at which letters have the widths that the files show
        with _without_bare_ticks(figure):
            engine.execute(figure)
        figure.set_layout_engine("none")


@contextmanager
def _without_bare_ticks(figure: Figure) -> Iterator[None]:
    """Minor ticks without labels move nothing, and take half of the time of a layout."""
    from matplotlib.ticker import NullFormatter, NullLocator

    every = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    bare = {a: a.get_minor_locator() for a in every if isinstance(a.get_minor_formatter(), NullFormatter)}
    for axis in bare:
        axis.set_minor_locator(NullLocator())
    yield
    for axis, locator in bare.items():
        axis.set_minor_locator(locator)


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """A figure of this size in inches, to be drawn in the style of all, and laid out once it is drawn."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
    fix_layout(figure)


def draw_panel(panel: Panel, ax: Axes | None = None) -> Axes:
    """One panel on axes that are given, or on new ones of pyplot."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        if ax is None:
            from matplotlib import pyplot  # heavy: loaded only for those who draw on no axes of their own

            _, ax = pyplot.subplots(figsize=(COLUMN * 1.3, _HEIGHT * 1.3 + _ROW * len(panel.names)))
        _draw(ax, panel)
    return ax


def encode_figure(figure: Figure, kind: str, metadata: str) -> bytes:
    """A figure as a file of ``kind`` with the provenance inside, the same bytes each time."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        # The canvases themselves: Figure.savefig draws everything once more, for a layout that is fixed already.
        if kind == "svg":
            FigureCanvasSVG(figure).print_svg(buffer, metadata={"Description": metadata, "Date": None})
        elif kind == "pdf":
            FigureCanvasPdf(figure).print_pdf(buffer, metadata={"Subject": metadata, "CreationDate": None})
        else:
            figure.set_dpi(_PNG_DPI)
            FigureCanvasAgg(figure).print_png(buffer, metadata={"Description": metadata, "Software": "gradlaw"})
    return buffer.getvalue()


def _entries(panel: Panel) -> list[str]:
    return [label for label in [*(x.label for x in panel.layers), *(mark.label for mark in panel.marks)] if label]


def _shared(chart: Chart) -> bool:
    """Whether one legend below the figure says what all panels would say."""
    first, *others = (_entries(panel) for panel in chart.panels)
    return len(first) >= _INSIDE and bool(others) and all(other == first for other in others)


def _lines_below(panel: Panel) -> int:
    """Of a legend that would cover the data inside the axes; 0 where it stands inside."""
    entries = _entries(panel)
    inside = _INSIDE if _columns(entries) > 1 else _INSIDE - 1  # long entries are wide as well
    return 0 if panel.names or len(entries) <= inside else -(-len(entries) // _columns(entries))


def _columns(entries: list[str]) -> int:
    return 2 if max(map(len, entries), default=0) <= _LONG_ENTRY else 1


def _draw(axes: Axes, panel: Panel, with_legend: bool = True) -> None:
    axes.set(xscale=panel.x_scale, yscale=panel.y_scale, xlabel=_text(panel.x_label), ylabel=_text(panel.y_label))
    for layer in panel.layers:
        _add(axes, layer)
    for mark, style in zip(panel.marks, (":", "-.", (0, (1, 3))) * len(panel.marks), strict=False):
        line: dict[str, Any] = {"color": LIGHT["mark"], "lw": 0.8, "ls": style, "label": _text(mark.label)}
        axes.axvline(mark.x, **line) if mark.x is not None else axes.axhline(mark.y or 0.0, **line)
    _limit(axes, panel)
    _label_powers_of_ten(axes)
    axes.set_title(_text(panel.title))
    entries = _entries(panel)
    if panel.names:
        axes.legend(loc="upper left", ncols=len(entries), borderpad=0.2)
    elif _lines_below(panel) and with_legend:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=_columns(entries), borderpad=0.2)
    elif len(entries) > 1 and with_legend:
        axes.legend(loc="best" if panel.x_scale == "linear" else "lower left")


def _add(axes: Axes, layer: Layer) -> None:
    colour, label = LIGHT[layer.colour], _text(layer.label)
    if isinstance(layer, Points):
        style = {"marker": SYMBOLS[layer.symbol], "ms": 3, "mew": 0.7, "mfc": "none", "lw": 1.0}
        axes.plot(layer.x, layer.y, ls="-" if layer.joined else "", color=colour, label=label, **style)  # type: ignore[arg-type]
    elif isinstance(layer, Line):
        axes.plot(layer.x, layer.y, color=colour, lw=layer.width, ls="--" if layer.dashed else "-", label=label)
    elif isinstance(layer, Band):
        axes.fill_between(layer.x, layer.low, layer.high, color=colour, alpha=0.2, lw=0)
    elif isinstance(layer, Bars):
        edges = np.append(layer.left, layer.right[-1])
        axes.stairs(layer.y, edges, baseline=0, fill=True, color=colour, alpha=0.55, label=label)
    else:
        _add_stack(axes, layer, colour, label)


def _add_stack(axes: Axes, layer: Stack, colour: str, label: str) -> None:
    places = range(len(layer.names))
    axes.barh(places, layer.stop - layer.start, left=layer.start, color=colour, label=label, height=0.72)
    names = [_text(name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…") for name in layer.names]
    axes.set_yticks(places, names)
    axes.set_ylim(len(names) - 0.4, -1.7)  # the first name on top, below the legend
    axes.grid(False)


def _limit(axes: Axes, panel: Panel) -> None:
    """The axes end where the panel says."""
    low, high = axes.get_ylim()
    if panel.lowest is not None and low < panel.lowest:
        axes.set_ylim(bottom=panel.lowest)
    if panel.highest is not None and high > panel.highest:
        axes.set_ylim(top=panel.highest)


def _label_powers_of_ten(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        if axis.get_scale() != "log":
            continue
        axis.set_minor_formatter(NullFormatter())
        if high >= 100 * low:
            axis.set_major_formatter(FuncFormatter(_power_of_ten))
        else:  # ticks between powers of ten need their labels
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def _power_of_ten(value: float, _: int | None = None) -> str:
    """In plain text, which takes a fraction of the time of mathematical text."""
    return "10" + f"{round(math.log10(value))}".translate(_SUPERSCRIPTS)


def _text(text: str) -> str:
    """Names are names: no mathematics between dollars, and nothing that is not printed."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text).replace("$", r"\$")
