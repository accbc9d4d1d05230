"""The extended statistics: tail indices, layers, exponents, families of tails and where the Gaussian dimensions are."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlaw.analysis.extended import ExtendedStatistics
from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.chart import Band, Chart, ChartMaker, Layer, Line, Mark, Panel, histogram, k_marks
from gradlaw.report.formatting import by_chance, number, percent, rate
from gradlaw.report.section import Rows, ShownSection, Table, register
from gradlaw.stats.tail_index import hill_curve

LAYERS_HEADER = (
    "direction",
    "layer",
    "n",
    "K",
    "power-law",
    "calibrated",
    "by chance",
    "Gaussian",
    "degenerate",
)
EXPONENTS_HEADER = ("sample", "K", "s", "95% interval", "bootstrap", "K by scan", "s by scan", "d_KS by scan")
FAMILIES_HEADER = ("sample", "family", "log-likelihood ratio", "p (Vuong)", "p (nested)", "against a power law")
NOTE = """The first interval of s is exact if the tail is a power law, the second resamples its K values. The scan
chooses the K of smallest d_KS; no critical distance holds for a distance chosen that way. Likelihood ratios compare \
the power law with another family on the same K values: positive favours the
power law. All but the exponential contain the power law as a limit, so theirs are never positive and the nested p-value
is the one to read. Dimension-wise layers are tested by themselves, with K lowered to a third of their size; fewer than
30 values are too few for a tail, and have no power-law rate."""
_FEWEST_IN_HILL_PLOT = 12


def _make(analysis: AnalysisResult) -> Chart:
    """Both sides of the literature on one history: the alpha-stable index by direction, and Hill plots."""
    extended: ExtendedStatistics = analysis.sections["extended"]
    indices, layers = extended.tail_indices, []
    for axis in analysis.examples:
        chosen = indices.loc[indices["axis"] == axis, "alpha_stable_permuted"].to_numpy()
        median = extended.median_stable_index(axis)
        if median is not None:
            label = f"{axis}-wise, median {median:.2f}"
            layers += histogram(chosen[np.isfinite(chosen)], np.linspace(0.4, 3, 66), label, axis)
    hill = [layer for axis, e in analysis.examples.items() for layer in _hill(e.magnitudes, axis)]
    ks = k_marks(*(tests.k for tests in analysis.tests.values()))
    return Chart(
        "tail_indices",
        (
            Panel("tail_indices", "Alpha-stable index of the noise", "alpha-stable index", "share of series",
                  tuple(layers), (Mark("Gaussian, alpha = 2", x=2.0),)),
            Panel("hill", "Hill plots of the example series", "values in the tail, K", "Hill estimate, alpha = 1/s",
                  tuple(hill), ks, x_scale="log"),
        ),
        "Alpha-stable indices and Hill plots of both directions",
        "The alpha-stable index of the noise (gradients less their mean) of every series, entries permuted; the "
        "estimator answers whatever it is given and is no test of stability. In Hill plots, the estimate against the "
        "number of values taken as the tail, with two standard errors; a power law is flat.",
    )  # fmt: skip


def _kurtosis(analysis: AnalysisResult) -> Chart | None:
    """Excess kurtosis of all parameters over the iterations, the last bar with all that lie beyond it."""
    values = analysis.sections["extended"].gaussianity["excess_kurtosis"].to_numpy(dtype=float)
    layers = histogram(values[np.isfinite(values)], np.linspace(-2, 20, 45), "iteration-wise", "iteration")
    if not layers:
        return None
    title, mark = "Excess kurtosis of the parameters", Mark("Gaussian", x=0.0)
    return Chart(
        "kurtosis",
        (Panel("kurtosis", title, "excess kurtosis", "share of the parameters", tuple(layers), (mark,)),),
        "Histogram of the excess kurtosis of every parameter over the iterations",
        "How heavy the tails of each parameter's gradients over the iterations are: 0 for a Gaussian, larger for "
        "heavier tails. The last bar has all that lie beyond it.",
    )


def _hill(descending: np.ndarray, axis: str) -> list[Layer]:
    """Hill's alpha against the number of values in the tail, with a band of two standard errors."""
    positive = int((descending > 0).sum())
    if positive < _FEWEST_IN_HILL_PLOT:
        return []
    ks = np.unique(np.geomspace(10, positive - 1, 200).astype(int))
    curve = hill_curve(descending.astype(float), ks)
    index, errors = np.asarray(curve.index), np.asarray(curve.standard_error)
    usable = np.isfinite(index)
    k, alpha, error = ks[usable], index[usable], errors[usable]
    label = f"{axis}-wise"
    return [Band(label, axis, k, alpha - 2 * error, alpha + 2 * error), Line(label, axis, k, alpha)]


@register
class ShownExtended(ShownSection):
    name, heading = "extended", "Extended statistics"
    place, folded = 8, True
    charts = (ChartMaker("tail_indices", _make), ChartMaker("kurtosis", _kurtosis))

    def sentences(self, analysis: AnalysisResult) -> list[str]:
        return [_stable_indices(analysis.sections[self.name])]

    def details(self, analysis: AnalysisResult) -> list[Table]:
        extended: ExtendedStatistics = analysis.sections[self.name]
        families = families_rows(extended, analysis.settings["alpha"])
        return [
            Table("Exponents", EXPONENTS_HEADER, _exponents_rows(extended)),
            Table("Other families of tails", FAMILIES_HEADER, families),
            Table("Layer by layer", LAYERS_HEADER, _layers_rows(extended), NOTE),
        ]


def _stable_indices(extended: ExtendedStatistics) -> str:
    across, along = (extended.median_stable_index(axis) for axis in ("dimension", "iteration"))
    return (
        f"Alpha-stable tail index of the noise, median over series: {number(across)} dimension-wise, {number(along)} "
        "iteration-wise (2 is Gaussian)."
    )


def _layers_rows(extended: ExtendedStatistics) -> Rows:
    """The cells below ``LAYERS_HEADER``: whole model, tensors, types of layer."""
    import pandas as pd  # loaded already, by whoever made the table

    rows: Rows = []
    for row in extended.layers.to_dict("records"):
        kind = {"model": "whole model", "layer type": f"all {row['name']}"}.get(row["group"], row["name"])
        power_law = [_layer_rate(row, "power_law_rate"), _layer_rate(row, "power_law_rate_calibrated")]
        names = "power_law_rate_of_gaussian", "power_law_rate_calibrated_of_gaussian"
        power_law.append(by_chance(*(row.get(name) for name in names)))  # runs of earlier versions have none
        k = "-" if pd.isna(row["k"]) else f"{row['k']:,.0f}"
        rest = percent(row["gaussian_rate"]), percent(row["degenerate"])
        rows.append((f"{row['axis']}-wise", kind, f"{row['dimensions']:,}", k, *power_law, *rest))
    return rows


def _layer_rate(row: dict[str, Any], name: str) -> str:
    why = row.get(name.replace("power_law_rate", "no_verdict"))
    return rate(row[name], why if isinstance(why, str) else None)


def _exponents_rows(extended: ExtendedStatistics) -> Rows:
    """The cells below ``EXPONENTS_HEADER``."""
    return [
        (
            row["sample"],
            f"{row['k']:,}",
            number(row["s"]),
            f"{number(row['s_low'])} to {number(row['s_high'])}",
            f"{number(row['s_bootstrap_low'])} to {number(row['s_bootstrap_high'])}",
            f"{row['scan_k']:,}",
            number(row["scan_s"]),
            number(row["scan_d_ks"]),
        )
        for row in extended.exponents.to_dict("records")
    ]


def families_rows(extended: ExtendedStatistics, alpha: float) -> Rows:
    """The cells below ``FAMILIES_HEADER``; outcomes at level ``alpha``."""
    rows: Rows = []
    for row in extended.comparisons.to_dict("records"):
        nested = row["nested_p_value"]
        nested = None if nested is None or nested != nested else nested
        ratio = "0" if row["ratio"] == 0 else f"{row['ratio']:.1f}"
        family = row["family"].replace("_", " ")
        rows.append(
            (row["sample"], family, ratio, number(row["p_value"]), number(nested), _outcome(row, nested, alpha))
        )
    return rows


def _outcome(row: dict[str, Any], nested: float | None, alpha: float) -> str:
    if row["status"] == "not converged":
        return "not converged"
    if row["ratio"] == 0:
        return "no better"
    if (row["p_value"] if nested is None else nested) > alpha:
        return "undecided"
    return "fits worse" if row["ratio"] > 0 else "fits better"
