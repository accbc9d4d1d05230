"""Figures of the extended statistics: tail indices by direction, and where the Gaussian dimensions are."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.drawing import BLUE, GREY, PALE, RED, STYLE, mark_k
from gradlaw.stats.tail_index import hill_curve

SHARES = ("Gaussian", "not Gaussian", "degenerate")


def draw_tail_indices(analysis: AnalysisResult) -> Figure:
    """Both sides of the literature on one history: the alpha-stable index by direction, and Hill plots."""
    assert analysis.extended is not None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        bins = np.linspace(0.4, 3, 66)
        indices = analysis.extended.tail_indices
        for axis, colour in zip(analysis.examples, (RED, BLUE), strict=True):
            chosen = indices.loc[indices["axis"] == axis, "alpha_stable_permuted"]
            chosen = chosen[np.isfinite(chosen)]
            median = analysis.extended.median_stable_index(axis)
            if median is None:
                continue
            label = f"{axis}-wise, median {median:.2f}"
            weights = np.full(len(chosen), 1 / len(chosen))
            left.hist(np.clip(chosen, bins[0], bins[-1]), bins, weights=weights, color=colour, alpha=0.6, label=label)
        left.axvline(2, color=GREY, lw=0.8, ls=":", label="Gaussian, $\\alpha$ = 2")
        left.set(xlabel="alpha-stable tail index", ylabel="share of series")
        left.set_title("Alpha-stable index of the noise, every series", loc="left")
        left.legend()
        for (axis, example), colour in zip(analysis.examples.items(), (RED, BLUE), strict=True):
            _hill_plot(right, example.magnitudes, colour, f"{axis}-wise, example")
        mark_k(right, [tests.k for tests in analysis.tests.values()])
        right.set(xscale="log", xlabel="values in the tail, K", ylabel="Hill estimate of $\\alpha$ = 1/s")
        right.set_title("Hill plots of the example series", loc="left")
        right.legend()
        return figure


def draw_gaussianity(analysis: AnalysisResult) -> Figure:
    """Where the non-Gaussian dimensions are: shares by parameter tensor."""
    assert analysis.extended is not None
    layers = analysis.extended.layers
    rows = layers[(layers["axis"] == "iteration") & (layers["group"] != "layer type")][::-1]
    dead = rows["degenerate"].to_numpy(float)
    gaussian = rows["gaussian_rate"].to_numpy(float)
    names = [f"{row['name']} ({row.dimensions:,})" for _, row in rows.iterrows()]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.3 + 0.24 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        left = np.zeros(len(rows))
        shares = (gaussian, 1 - gaussian - dead, dead)
        for label, share, colour in zip(SHARES, shares, (BLUE, RED, PALE), strict=True):
            axes.barh(names, share, left=left, color=colour, label=label, height=0.72)
            left += share
        ceiling = analysis.tests["iteration"].gaussian_ceiling
        if ceiling is not None:
            axes.axvline(ceiling, color="black", lw=0.8, ls=":", label="a true Gaussian")
        axes.set(xlim=(0, 1), xlabel="share of dimensions, iteration-wise")
        axes.grid(False)
        figure.legend(loc="outside upper left", ncols=4)
        return figure


def _hill_plot(axes: Axes, descending: np.ndarray, colour: str, label: str) -> None:
    """Hill's alpha against the number of values in the tail, with a band of two standard errors."""
    positive = int((descending > 0).sum())
    if positive < 12:
        return
    ks = np.unique(np.geomspace(10, positive - 1, 200).astype(int))
    curve = hill_curve(descending.astype(float), ks)
    usable = np.isfinite(curve.index)
    k, alpha, error = ks[usable], curve.index[usable], curve.standard_error[usable]
    axes.plot(k, alpha, color=colour, lw=1.3, label=label)
    axes.fill_between(k, alpha - 2 * error, alpha + 2 * error, color=colour, alpha=0.2, lw=0)
