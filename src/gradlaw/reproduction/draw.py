"""The paper's figures from measured results, in one style, laid out like the paper's."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

from gradlaw.analysis.verdicts import EIGENGAPS
from gradlaw.report.drawing import BLUE, GREEN, GREY, RED, STYLE, encode, finish, fitted_line, fix_layout
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.paper import (
    BOUND,
    RANKED,
    RATES,
    FigureSpec,
    Panel,
    Paper,
    Series,
)
from gradlaw.reproduction.series import (
    AXES,
    GAPS_BY_EIGENVALUE,
    GAPS_SORTED,
    HESSIAN_VALUES,
    NAMES,
    POINTS,
    drawn_ranks,
    ranked,
)
from gradlaw.reproduction.store import Result
from gradlaw.spectra.matrices import COVARIANCE, SECOND_MOMENT
from gradlaw.stats import PowerLawFit

KINDS = ("pdf", "png", "svg")
_COLOURS = (RED, BLUE, GREEN, "#b7791f", "#6b46c1", "#0f766e", "#97266d", "#4a5568")
_MARKERS = "ox+sd^v*"
_PANEL = 4.2, 3.6  # inches
_INSIDE, _LEGEND_LINE = 2, 0.18  # series whose legend is inside the axes; inches of a line of one below
_DECADES_SHOWN = 1e-7  # of a magnitude, below the largest


def draw(paper: Paper, spec: FigureSpec, evidence: Evidence, label: str) -> Figure | None:
    """A figure of all panels of which anything was measured, labelled with the profile; None if nothing was."""
    panels = [(panel, _measured(panel, evidence)) for panel in spec.panels]
    panels = [(panel, found) for panel, found in panels if found]
    if not panels:
        return None
    published = paper.published.get(spec.published or 0, ())
    with matplotlib.rc_context(STYLE):
        columns = len(panels) if len(panels) < 4 else 2
        rows = -(-len(panels) // columns)
        below = max((len(found) for _, found in panels if len(found) > _INSIDE), default=0)
        height = (_PANEL[1] + _LEGEND_LINE * below) * rows + 0.3
        figure = Figure(figsize=(_PANEL[0] * columns, height), layout="constrained")
        flat = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes, (panel, found) in zip(flat, panels, strict=False):
            _DRAW[spec.kind](axes, panel, found, published)
            axes.set_title(panel.title, loc="left")
        for unused in flat[len(panels) :]:
            unused.remove()
        figure.suptitle(f"{spec.title} [{label}]", x=0.01, ha="left", fontsize=11)
    fix_layout(figure)
    return figure


def image(figure: Figure, kind: str, metadata: str) -> bytes:
    """A figure as a file, the same bytes each time."""
    if kind != "pdf":
        return encode(figure, kind, metadata)
    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        FigureCanvasPdf(figure).print_pdf(buffer, metadata={"Subject": metadata, "CreationDate": None})
    return buffer.getvalue()


_Found = Sequence[tuple[Series, Result]]
_Published = Sequence[Mapping[str, Any]]  # rows of the table that a figure is drawn of


def _measured(panel: Panel, evidence: Evidence) -> list[tuple[Series, Result]]:
    """The series that were measured, of the first seed: one network is drawn, not a mean of several."""
    found = ((series, evidence.results(series.experiment)) for series in panel.series)
    return [(series, results[0]) for series, results in found if results]


def _ranked(axes: Axes, panel: Panel, found: _Found, _: _Published) -> None:
    """Values by rank, with the fitted laws."""
    k, largest = 0, 0.0
    for i, (series, result) in enumerate(found):
        colour, marker = _COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]
        ranks, values, fit = _values(series, result)
        values = values / series.divide_by
        if series.line:
            axes.plot(ranks, values, color=colour, lw=1.0, label=series.label)
        else:
            _points(axes, ranks, values, colour, series.label, marker)
        if fit is not None and not series.line:
            fitted_line(axes, PowerLawFit(**fit), colour)
        k = max(k, _tested(series, result))
        largest = max(largest, float(values.max(initial=0.0)))
    finish(axes, k, _quantity(panel))
    if largest > 0 and panel.series[0].quantity in AXES:  # gradients reach down to rounding
        axes.set_ylim(bottom=max(axes.get_ylim()[0], largest * _DECADES_SHOWN))
    if panel.outliers:
        axes.axvline(panel.outliers + 0.5, color="black", lw=0.8, ls="-.", label=f"c - 1 = {panel.outliers}")
    if len(found) > _INSIDE:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, fontsize=7)
    else:
        axes.legend(loc="lower left", fontsize=7)


def _points(axes: Axes, ranks: np.ndarray, values: np.ndarray, colour: str, label: str, marker: str) -> None:
    """Values by rank, not all of them where there are many."""
    chosen = slice(None) if len(values) <= POINTS else np.isin(ranks, drawn_ranks(ranks[-1]))
    axes.plot(ranks[chosen], values[chosen], marker, ms=3.5, mew=0.7, mfc="none", color=colour, label=label)


def _values(series: Series, result: Result) -> tuple[np.ndarray, np.ndarray, dict[str, Any] | None]:
    """Ranks, positive values and the fit of one series."""
    ranks, values = ranked(result, NAMES[series.quantity])
    shown = values > 0
    if series.quantity in (SECOND_MOMENT, COVARIANCE):
        shown &= ranks <= result.record["spectra"][series.quantity]["rank"]
    return ranks[shown], values[shown], _fit(series.quantity, result.record)


def _fit(quantity: str, record: dict[str, Any]) -> dict[str, Any] | None:
    if quantity in AXES:
        return record["examples"][AXES[quantity]]["fit"]
    if quantity == HESSIAN_VALUES:
        return record["fit"]
    if quantity == GAPS_BY_EIGENVALUE:  # the law is fitted to the sorted ones
        return None
    return record["spectra"][EIGENGAPS if quantity == GAPS_SORTED else quantity]["fit"]


def _tested(series: Series, result: Result) -> int:
    """K of the power-law test."""
    record, axis = result.record, AXES.get(series.quantity)
    if series.quantity == HESSIAN_VALUES:
        return record["k"]
    return record["tests"][axis]["k"] if axis else record["settings"]["k"]


def _quantity(panel: Panel) -> str:
    quantity = panel.series[0].quantity
    if quantity in AXES:
        return "magnitude of the gradient"
    return "eigengap" if quantity in (GAPS_BY_EIGENVALUE, GAPS_SORTED) else "eigenvalue"


def _rates(axes: Axes, panel: Panel, found: _Found, published: _Published) -> None:
    """Measured rates as lines, published ones as hollow marks."""
    axis = AXES[panel.series[0].quantity]
    sizes = [series.experiment.batch_size or 0 for series, _ in found]
    tests = [result.record["tests"][axis] for _, result in found]
    lines = (("power_law_rate", "power law", RED, "-"),
             ("power_law_rate_calibrated", "power law, calibrated", RED, ":"),
             ("gaussian_rate", "Gaussian", BLUE, "-"))  # fmt: skip
    for name, label, colour, style in lines:
        axes.plot(sizes, [t[name] for t in tests], "o", ls=style, ms=4, color=colour, label=label)
    printed = [row for row in published if row["axis"].lower() == axis]
    for name, label, colour, _ in lines[::2]:
        values = [row[name] for row in printed]
        axes.plot([row["batch_size"] for row in printed], values, "s", mfc="none", color=colour,
                  label=f"{label}, published")  # fmt: skip
    axes.axhline(tests[0]["gaussian_ceiling"], color=GREY, lw=0.8, ls=":", label="a true Gaussian")
    axes.set(xscale="log", xlabel="batch size, B", ylabel="share of series", ylim=(-0.03, 1.03))
    axes.legend(fontsize=7)


def _bound(axes: Axes, panel: Panel, found: _Found, _: _Published) -> None:
    """Measured sines and their bound, by rank."""
    ((_series, result),) = found  # one series a panel
    ranks = np.arange(1, len(result.arrays["sine"]) + 1)
    axes.plot(ranks, result.arrays["bound"], color=BLUE, lw=1.3, label="bound of Theorem 1")
    axes.plot(ranks, result.arrays["approximation"], color=GREY, lw=1.0, ls="--", label="for power-law gaps, Eq. 6")
    axes.plot(ranks, result.arrays["sine"], "o", ms=3.5, mfc="none", color=RED, label="measured sine")
    axes.axhline(1, color="black", lw=0.8, ls=":", label="says nothing above")
    axes.set(xscale="log", yscale="log", xlabel="rank", ylabel="sine of the angle")
    axes.legend(fontsize=7)


_DRAW: dict[str, Callable[[Axes, Panel, _Found, _Published], None]] = {RANKED: _ranked, RATES: _rates, BOUND: _bound}
