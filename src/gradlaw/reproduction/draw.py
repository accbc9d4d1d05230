"""The paper's figures from measured results, in the style of all figures, laid out like the paper's."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gradlaw.analysis.verdicts import EIGENGAPS
from gradlaw.report.chart import Band, Chart, Layer, Line, Mark, Points, fitted_line, k_marks
from gradlaw.report.chart import Panel as Axes
from gradlaw.report.figure import draw_chart
from gradlaw.report.palette import RUNS, SYMBOLS
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.paper import BOUND, RANKED, RATES, FigureSpec, Panel, Paper, Series
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

_COLOURS = {
    **AXES,
    SECOND_MOMENT: "second moment",
    COVARIANCE: "covariance",
    HESSIAN_VALUES: "hessian",
    GAPS_SORTED: "eigengaps",
    GAPS_BY_EIGENVALUE: "eigengaps",
}  # of a panel in which every series is another quantity
_DECADES_SHOWN = 1e-7  # of a magnitude, below the largest
_CAPTION = "Measured anew; the page of the reproduction says with which settings."

_Found = Sequence[tuple[Series, Sequence[Result]]]  # what was measured of a panel, of every seed
_Published = Sequence[Mapping[str, Any]]  # rows of the table that a figure is drawn of
_Places = Mapping[str, int]  # of the labels of a figure: the same label has one colour in all panels


def draw(paper: Paper, spec: FigureSpec, evidence: Evidence, label: str) -> Figure | None:
    """A figure of all panels of which anything was measured, labelled with the profile; None if nothing was."""
    chart = chart_of(paper, spec, evidence)
    return None if chart is None else draw_chart(chart, note=label)


def chart_of(paper: Paper, spec: FigureSpec, evidence: Evidence) -> Chart | None:
    """The same as data."""
    found = [(panel, _measured(panel, evidence)) for panel in spec.panels]
    places: dict[str, int] = {}
    for panel in spec.panels:
        for place, series in enumerate(panel.series):
            places.setdefault(series.label, place)
    published = paper.published.get(spec.published or 0, ())
    make = _AXES[spec.kind]
    panels = tuple(
        replace(make(panel, measured, published, places), name=f"{spec.name}_{i}", title=panel.title)
        for i, (panel, measured) in enumerate(found)
        if measured
    )
    return Chart(spec.name, panels, spec.title, _CAPTION) if panels else None


def _measured(panel: Panel, evidence: Evidence) -> _Found:
    found = ((series, evidence.results(series.experiment)) for series in panel.series)
    return [(series, results) for series, results in found if results]


def _ranked(panel: Panel, found: _Found, _: _Published, places: _Places) -> Axes:
    """Values by rank with the fitted laws, of the first seed: one network is drawn, not a mean of several."""
    layers: list[Layer] = []
    k, largest = 0, 0.0
    different = len({series.quantity for series, _ in found}) == len(found) > 1
    for series, results in found:
        result, place = results[0], places[series.label]
        colour = _COLOURS[series.quantity] if different else f"run {place % RUNS}"
        symbol = list(SYMBOLS)[place % len(SYMBOLS)]
        ranks, values, fit = _values(series, result)
        layers += _by_rank(series, ranks, values / series.divide_by, fit, colour, symbol)
        k = max(k, _tested(series, result))
        largest = max(largest, float(values.max(initial=0.0)) / series.divide_by)
    marks = k_marks(k)
    if panel.outliers:
        marks += (Mark(f"c - 1 = {panel.outliers}", x=panel.outliers + 0.5),)
    reaches_down_to_rounding = largest > 0 and panel.series[0].quantity in AXES
    lowest = largest * _DECADES_SHOWN if reaches_down_to_rounding else None
    return Axes("", "", "rank", _quantity(panel), tuple(layers), marks, "log", "log", lowest)


def _by_rank(
    series: Series, ranks: np.ndarray, values: np.ndarray, fit: dict[str, Any] | None, colour: str, symbol: str
) -> list[Layer]:
    """One series: a line, or marks, not all of them where there are many, with the law that was fitted."""
    if not len(values):
        return []
    if series.line:
        return [Line(series.label, colour, ranks, values, width=1.0)]
    law = None if fit is None else PowerLawFit(**fit)
    described = "" if law is None or law.degenerate else f": s = {law.s:.2f}, d_KS = {law.d_ks:.3g}"
    chosen = slice(None) if len(values) <= POINTS else np.isin(ranks, drawn_ranks(ranks[-1]))
    points = Points(series.label + described, colour, ranks[chosen], values[chosen], len(values), symbol)
    return [points, *(replace(line, label="") for line in fitted_line(law, float(values[0]), colour))]


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


# Of a rate: its name in words, colour, symbol, and where the table of the paper has it.
_LINES = {
    "power_law_rate": ("power law", "power law", "circle", True),
    "power_law_rate_calibrated": ("power law, calibrated", "not gaussian", "triangle", False),
    "gaussian_rate": ("Gaussian", "gaussian", "diamond", True),
}


def _rates(panel: Panel, found: _Found, published: _Published, _: _Places) -> Axes:
    """Mean rates over the seeds as lines, from the smallest to the largest as bands, published ones as squares."""
    axis = AXES[panel.series[0].quantity]
    sizes = np.array([series.experiment.batch_size or 0 for series, _ in found])
    printed = [row for row in published if row["axis"].lower() == axis]
    layers: list[Layer] = []
    for name, (words, colour, symbol, in_table) in _LINES.items():
        rates = [[result.record["tests"][axis][name] for result in results] for _, results in found]
        layers.append(Band("", colour, sizes, *(np.array([end(r) for r in rates]) for end in (min, max))))
        means = np.array([float(np.mean(r)) for r in rates])
        layers.append(Points(words, colour, sizes, means, len(sizes), symbol, joined=True))
        if in_table and printed:
            places, values = (np.array([row[column] for row in printed]) for column in ("batch_size", name))
            layers.append(Points(f"{words}, published", colour, places, values, len(printed), "square"))
    ceiling = found[0][1][0].record["tests"][axis]["gaussian_ceiling"]
    marks = (Mark("a true Gaussian", y=ceiling),)
    return Axes("", "", "batch size B", "share of series", tuple(layers), marks, "log", lowest=-0.03, highest=1.03)


def _bound(panel: Panel, found: _Found, _: _Published, _places: _Places) -> Axes:
    """Measured sines and their bound, by rank."""
    ((_series, results),) = found  # one series a panel
    result = results[0]
    ranks = np.arange(1, len(result.arrays["sine"]) + 1)
    layers: Iterable[Layer] = (
        Line("bound of Theorem 1", "run 0", ranks, result.arrays["bound"], width=1.3),
        Line("for power-law gaps, Eq. 6", "run 7", ranks, result.arrays["approximation"], dashed=True, width=1.0),
        Points("measured sine", "run 1", ranks, result.arrays["sine"], len(ranks)),
    )
    marks = (Mark("says nothing above", y=1.0),)
    return Axes("", "", "rank", "sine of the angle", tuple(layers), marks, "log", "log")


_AXES: dict[str, Callable[[Panel, _Found, _Published, _Places], Axes]] = {
    RANKED: _ranked,
    RATES: _rates,
    BOUND: _bound,
}
