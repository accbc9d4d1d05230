"""Figures in one style: gradients by rank (paper Fig. 1) and spectra by rank (paper Fig. 4)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradlaw.stats import PowerLawFit, fit_power_law
from gradlaw.stats.tail_index import hill_curve

if TYPE_CHECKING:
    from gradlaw.analysis import Analysis

RED, BLUE, GREEN, GREY, PALE = "#c8442d", "#2b6cb0", "#2f855a", "#6b7280", "#cbd5e1"
SHARES = ("Gaussian", "not Gaussian", "degenerate")
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "svg.hashsalt": "gradlaw",
    "svg.fonttype": "none",
}
_DECADES_SHOWN = 1e-5
_POINTS = 700  # drawn of a series at most, evenly spaced in log rank


def draw_gradients(analysis: Analysis) -> Figure:
    """Magnitude against rank, log-log: one iteration and one dimension, each that of median KS distance."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.7), layout="constrained")
        axes = figure.add_subplot()
        names = {"dimension": "dimension-wise, iteration", "iteration": "iteration-wise, parameter"}
        for (axis, example), colour in zip(analysis.examples.items(), (RED, BLUE), strict=True):
            tests = analysis.tests[axis]
            drawn = _scatter(axes, example.magnitudes, colour, f"{names[axis]} {example.index:,}")
            if drawn and not tests.degenerate_series[example.index]:
                fit = fit_power_law(example.magnitudes.astype(float), tests.k, tests.alpha)
                _line(axes, fit, colour)
        _finish(axes, analysis.settings["k"], "magnitude of the gradient")
        largest = max(float(example.magnitudes[0]) for example in analysis.examples.values())
        if largest > 0:  # gradients that are zero but for rounding would stretch the axis over many empty decades
            axes.set_ylim(bottom=max(axes.get_ylim()[0], largest * _DECADES_SHOWN))
        axes.set_title("The two directions of the gradient history", loc="left")
        return figure


def draw_spectra(analysis: Analysis) -> Figure:
    """Eigenvalues against rank, log-log, of the second moment and the covariance, and the covariance's eigengaps."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        second, covariance, gaps = analysis.spectral_verdicts()
        for name, verdict, colour, marker in (
            ("second moment", second, RED, "o"),
            ("covariance", covariance, BLUE, "x"),
        ):
            spectrum = analysis.spectra[name]
            _scatter(left, spectrum.eigenvalues[: spectrum.rank], colour, name, marker)
            if verdict.fit:
                _line(left, verdict.fit, colour)
        _finish(left, covariance.k, "eigenvalue")
        left.set_title("Gradient spectra", loc="left")
        found = analysis.eigengaps
        _scatter(right, found.sorted[: found.rank], GREEN, "eigengaps of the covariance, sorted")
        if gaps.fit:
            _line(right, gaps.fit, GREEN)
        _finish(right, gaps.k, "eigengap")
        right.set_title("Eigengaps", loc="left")
        return figure


def draw_tail_indices(analysis: Analysis) -> Figure:
    """Both sides of the literature on one history: the alpha-stable index by direction, and Hill plots."""
    assert analysis.depth is not None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 3.7), layout="constrained")
        left, right = figure.subplots(1, 2)
        bins = np.linspace(0.4, 3, 66)
        indices = analysis.depth.tail_indices
        for axis, colour in zip(analysis.examples, (RED, BLUE), strict=True):
            chosen = indices.loc[indices["axis"] == axis, "alpha_stable_permuted"]
            chosen = chosen[np.isfinite(chosen)]
            median = analysis.depth.median_stable_index(axis)
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
        right.axvline(analysis.settings["k"], color=GREY, lw=0.8, ls=":", label=f"K = {analysis.settings['k']:,}")
        right.set(xscale="log", xlabel="values in the tail, K", ylabel="Hill estimate of $\\alpha$ = 1/s")
        right.set_title("Hill plots of the example series", loc="left")
        right.legend()
        return figure


def draw_gaussianity(analysis: Analysis) -> Figure:
    """Where the non-Gaussian dimensions are: shares by parameter tensor."""
    assert analysis.depth is not None
    layers = analysis.depth.layers
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


DEEP_FIGURES: dict[str, Callable[[Analysis], Figure]] = {
    "tail_indices": draw_tail_indices,
    "gaussianity": draw_gaussianity,
}


def figures_of(analysis: Analysis) -> dict[str, Callable[[Analysis], Figure]]:
    """The figures that an analysis has, by name."""
    always: dict[str, Callable[[Analysis], Figure]] = {"gradients": draw_gradients, "spectra": draw_spectra}
    if analysis.depth is None:
        return always
    return always | DEEP_FIGURES


def save_figure(figure: Figure, kind: str, metadata: str, path: Path | IO[bytes]) -> None:
    """Write a figure as ``kind`` with the provenance inside, the same bytes each time."""
    fields = (
        {"Description": metadata, "Date": None} if kind == "svg" else {"Description": metadata, "Software": "gradlaw"}
    )
    with matplotlib.rc_context(STYLE):
        figure.savefig(path, format=kind, metadata=fields)


def _scatter(axes: Axes, descending: np.ndarray, colour: str, label: str, marker: str = "o") -> bool:
    """Draw the positive values by rank; False if there is none."""
    values = descending[descending > 0]
    if not len(values):
        return False
    ranks = np.unique(np.geomspace(1, len(values), _POINTS).round().astype(int))
    axes.plot(ranks, values[ranks - 1], marker, ms=3.5, mew=0.7, mfc="none", color=colour, label=label)
    return True


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


def _line(axes: Axes, fit: PowerLawFit, colour: str) -> None:
    """The fitted law by rank: lambda_r = lambda_min (k / r)^s."""
    ranks = np.array([1, fit.k])
    label = f"s = {fit.s:.2f}, $d_{{KS}}$ = {fit.d_ks:.3g}"
    axes.plot(ranks, fit.lambda_min * (fit.k / ranks) ** fit.s, color=colour, lw=1.3, ls="--", label=label)


def _finish(axes: Axes, k: int, quantity: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="rank", ylabel=quantity)
    axes.axvline(k, color=GREY, lw=0.8, ls=":", label=f"K = {k:,}")
    axes.legend(loc="lower left")
