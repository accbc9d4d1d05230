"""A figure as data: what is drawn, in which colour and on which axes. The page and Matplotlib draw it alike.

Sections make charts; :mod:`gradlaw.report.figure` draws them with Matplotlib, ``templates/page.js`` on the page, and
:mod:`gradlaw.report.overlay` lays those of several runs over one another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from gradlaw.analysis.result import AnalysisResult
from gradlaw.by_value import ByValue
from gradlaw.stats import PowerLawFit

POINTS = 400  # drawn of a series at most, evenly spaced in log rank
_DIGITS = 5  # of a drawn value

Scale = Literal["linear", "log"]


@dataclass(frozen=True, eq=False)
class Points(ByValue):
    """Marks at (x, y).

    Attributes:
        label: in the legend.
        colour: name of a quantity in :mod:`gradlaw.report.palette`.
        x, y: coordinates, of equal lengths.
        of: how many values there are; more than are drawn where the series was thinned.
        symbol: of :data:`gradlaw.report.palette.SYMBOLS`.
        hover: a text each, shown with the coordinates.
        joined: by a line.
        aside: left out where several runs are laid over one another.
    """

    kind: ClassVar[str] = "points"
    label: str
    colour: str
    x: np.ndarray
    y: np.ndarray
    of: int
    symbol: str = "circle"
    hover: tuple[str, ...] = ()
    joined: bool = False
    aside: bool = False


@dataclass(frozen=True, eq=False)
class Line(ByValue):
    """A line through (x, y); ``aside`` as of :class:`Points`."""

    kind: ClassVar[str] = "line"
    label: str
    colour: str
    x: np.ndarray
    y: np.ndarray
    dashed: bool = False
    width: float = 1.4
    aside: bool = False


@dataclass(frozen=True, eq=False)
class Band(ByValue):
    """What lies between two lines: an interval along x."""

    kind: ClassVar[str] = "band"
    label: str
    colour: str
    x: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, eq=False)
class Bars(ByValue):
    """A histogram: bars of height y from left to right."""

    kind: ClassVar[str] = "bars"
    label: str
    colour: str
    left: np.ndarray
    right: np.ndarray
    y: np.ndarray


@dataclass(frozen=True, eq=False)
class Stack(ByValue):
    """A part of lying bars, one a name, from start to stop."""

    kind: ClassVar[str] = "stack"
    label: str
    colour: str
    names: tuple[str, ...]
    start: np.ndarray
    stop: np.ndarray


Layer = Points | Line | Band | Bars | Stack


@dataclass(frozen=True)
class Mark:
    """A thin line across the panel at one x or y."""

    label: str
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True, eq=False)
class Panel(ByValue):
    """One pair of axes.

    Attributes:
        name: by which it is drawn alone; one of its own among all sections.
        title, x_label, y_label: what it shows.
        x_scale, y_scale: of its axes.
        layers, marks: what is drawn.
        lowest: of y, where what lies below is not worth its decades.
        highest: of y.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    layers: tuple[Layer, ...]
    marks: tuple[Mark, ...] = ()
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"
    lowest: float | None = None
    highest: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of lying bars, from the top."""
        return tuple(dict.fromkeys(name for layer in self.layers if isinstance(layer, Stack) for name in layer.names))

    @property
    def thinned(self) -> str:
        """What of long series is drawn, in words; empty where all is."""
        thinned = [layer for layer in self.layers if isinstance(layer, Points) and layer.of > len(layer.x)]
        parts = dict.fromkeys(f"{len(layer.x):,} of {layer.of:,}" for layer in thinned)
        return f"Drawn: {', '.join(parts)} values, evenly spaced by the logarithm of their rank." if parts else ""


@dataclass(frozen=True, eq=False)
class Chart(ByValue):
    """A figure of one or more panels side by side.

    Attributes:
        name: of its files.
        panels: at least one.
        alt: what is seen, for those who do not see it.
        caption: how to read it, as plain text.
    """

    name: str
    panels: tuple[Panel, ...]
    alt: str
    caption: str


@dataclass(frozen=True)
class ChartMaker:
    """Makes the chart of this name from an analysis; None where there is nothing to draw."""

    name: str
    make: Callable[[AnalysisResult], Chart | None] = field(repr=False)


def by_rank(
    values: np.ndarray,
    label: str,
    colour: str,
    symbol: str = "circle",
    describe: Callable[[int], str] | None = None,
) -> list[Layer]:
    """The positive ones of descending values against their rank, thinned; empty if there is none.

    Args:
        values: descending.
        label: see :class:`Points`; so for the next two.
        colour: of the marks.
        symbol: of the marks.
        describe: text of the value at a place (from 0).
    """
    count = int((values > 0).sum())
    if not count:
        return []
    ranks = np.unique(np.geomspace(1, count, POINTS).round().astype(int))
    hover = tuple(describe(int(rank) - 1) for rank in ranks) if describe else ()
    return [Points(label, colour, ranks, values[ranks - 1].astype(np.float64), count, symbol, hover)]


def fitted_line(fit: PowerLawFit | None, largest: float, colour: str) -> list[Layer]:
    """The fitted law by rank, lambda_r = lambda_min (k / r)^s, over the ranks and values that it was fitted to.

    The law reaches far above the largest value where its tail is steeper than the data; what lies there was fitted to
    nothing and is not drawn.
    """
    if fit is None or fit.degenerate or not 0 < fit.s < np.inf:
        return []
    first = max(1.0, fit.k * (fit.lambda_min / largest) ** (1 / fit.s))
    ranks = np.array([min(first, fit.k), fit.k], dtype=np.float64)
    label = f"s = {fit.s:.2f}, d_KS = {fit.d_ks:.3g}"
    return [Line(label, colour, ranks, fit.lambda_min * (fit.k / ranks) ** fit.s, dashed=True)]


def put_aside(layers: Sequence[Layer]) -> list[Layer]:
    """The same, left out where several runs are laid over one another."""
    return [replace(layer, aside=True) if isinstance(layer, Points | Line) else layer for layer in layers]


def histogram(values: np.ndarray, edges: np.ndarray, label: str, colour: str) -> list[Layer]:
    """Shares of the values by bin; those outside count in the first and last; empty without values."""
    if not len(values):
        return []
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return [Bars(label, colour, edges[:-1], edges[1:], counts / len(values))]


def k_marks(*ks: int) -> tuple[Mark, ...]:
    """Where tails begin."""
    return tuple(Mark(f"K = {k:,}", x=k) for k in dict.fromkeys(ks))


def as_data(panel: Panel) -> dict[str, Any]:
    """A panel as plain data, which JSON holds."""
    record = {key: value for key, value in vars(panel).items() if key not in ("layers", "marks")}
    return record | {
        "names": list(panel.names),
        "thinned": panel.thinned,
        "layers": [{"kind": layer.kind} | _plain(vars(layer)) for layer in panel.layers],
        "marks": [asdict(mark) for mark in panel.marks],
    }


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {key: _numbers(value) if isinstance(value, np.ndarray) else value for key, value in record.items()}


def _numbers(values: np.ndarray) -> Sequence[float | int | None]:
    """To a few digits, and None for what is not finite."""
    if np.issubdtype(values.dtype, np.integer):
        return values.tolist()
    return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in values.tolist()]
