"""The figure along training: a row of panels a statistic, a column a network, a line an optimiser."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from gradlaw.report.figure import STYLE, fix_layout
from gradlaw.report.palette import BLUE, GREEN, GREY, VERMILLION
from gradlaw.reproduction.along.rows import EPOCH, NETWORK, OPTIMISER, SEED
from gradlaw.stats.calibration import calibrated_critical_distance, critical_distance

# Each optimiser has its own colour, mark and dashes.
OPTIMISERS = {
    "sgd": ("SGD", BLUE, "o", "-"),
    "momentum": ("SGD with momentum", VERMILLION, "s", "--"),
    "adam": ("Adam", GREEN, "^", ":"),
}
_START = 0.03  # where epoch 0 is drawn on the logarithmic axis
_TICKS = {_START: "0", 0.1: "0.1", 1: "1", 10: "10", 50: "50"}
_PANEL = 2.75, 1.45  # inches


@dataclass(frozen=True)
class Shown:
    """One row of panels: a column of the table, its name, and its axis."""

    column: str
    name: str
    scale: str = "linear"
    limits: tuple[float, float] | None = None


STATISTICS = (
    Shown("loss", "loss", "log"),
    Shown("s", "covariance: s"),
    Shown("d_ks", "covariance: d_KS", "log"),
    Shown("gap_s", "eigengaps: s"),
    Shown("dimension_power_law_rate", "dimension-wise\npower-law rate", limits=(-0.03, 1.03)),
    Shown("iteration_gaussian_rate", "iteration-wise\nGaussian rate", limits=(-0.03, 1.03)),
    Shown("outliers", "outliers"),
    Shown("noise_scale", "noise scale\n(samples)", "log"),
    Shown("hessian_1", "Hessian: largest\neigenvalue", "log"),
)


def draw_along(rows: pd.DataFrame, networks: Sequence[str]) -> Figure:
    """The whole figure.

    Lines join the means over seeds, bands reach from the smallest to the largest, and each seed is a mark. Epoch 0 is
    drawn at the left of the logarithmic axis. A panel without any value says so.

    Args:
        rows: as :func:`~gradlaw.reproduction.along.rows.gather_rows` gives them.
        networks: names of the columns, in order.
    """
    shown = [name for name in networks if (rows[NETWORK] == name).any()]
    width, height = _PANEL[0] * len(shown) + 0.4, _PANEL[1] * len(STATISTICS) + 0.9
    with matplotlib.rc_context(STYLE | {"font.size": 8}):
        figure = Figure(figsize=(width, height), layout="constrained")
        panels = figure.subplots(len(STATISTICS), len(shown), squeeze=False, sharex=True, sharey="row")
        for statistic, line in zip(STATISTICS, panels, strict=True):
            for network, axes in zip(shown, line, strict=True):
                _panel(axes, rows[rows[NETWORK] == network], statistic)
            line[0].set_ylabel(statistic.name)
        for network, axes in zip(shown, panels[0], strict=True):
            axes.set_title(network)
        for axes in panels[-1]:
            axes.set_xlabel("epochs")
        figure.legend(handles=_legend(), loc="outside lower center", ncols=len(OPTIMISERS) + 2, fontsize=8)
        fix_layout(figure)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, statistic: Shown) -> None:
    axes.set(xscale="log", yscale=statistic.scale)
    if statistic.column == "d_ks":
        k = int(rows["K"].iloc[0])
        axes.axhline(critical_distance(k), color=GREY, lw=0.8)
        axes.axhline(calibrated_critical_distance(k), color=GREY, lw=0.8, ls="--")
    for optimiser, (_, colour, mark, dashes) in OPTIMISERS.items():
        found = rows[(rows[OPTIMISER] == optimiser) & rows[statistic.column].notna()]
        if len(found):
            _line(axes, found, statistic.column, colour, mark, dashes)
    if not rows[statistic.column].notna().any():
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color=GREY)
    if statistic.limits:
        axes.set_ylim(*statistic.limits)
    axes.set_xticks(list(_TICKS), list(_TICKS.values()))
    axes.xaxis.set_minor_locator(NullLocator())


def _line(axes: Axes, rows: pd.DataFrame, column: str, colour: str, mark: str, dashes: str) -> None:
    of_epoch = rows.groupby(EPOCH)[column]
    epochs = np.maximum(of_epoch.mean().index.to_numpy(float), _START)
    axes.fill_between(epochs, of_epoch.min(), of_epoch.max(), color=colour, alpha=0.15, lw=0)
    axes.plot(epochs, of_epoch.mean(), dashes, color=colour, lw=1.2)
    for _, of_seed in rows.groupby(SEED):
        axes.plot(np.maximum(of_seed[EPOCH], _START), of_seed[column], mark, color=colour, ms=2.6, mfc="none", mew=0.7)


def _legend() -> list[Line2D]:
    entries = [
        Line2D([], [], color=colour, marker=mark, ls=dashes, mfc="none", ms=4, label=name)
        for name, colour, mark, dashes in OPTIMISERS.values()
    ]
    critical = {"-": "critical d_KS, published", "--": "critical d_KS, calibrated"}
    return entries + [Line2D([], [], color=GREY, lw=0.8, ls=ls, label=name) for ls, name in critical.items()]
