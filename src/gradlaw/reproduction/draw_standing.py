"""One figure of all published values among the seeds."""

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from gradlaw.report.figure import STYLE
from gradlaw.report.palette import BLUE, GREEN, GREY, VERMILLION
from gradlaw.reproduction.standing import LEVEL, Place, Standing

COLOURS = {False: BLUE, True: VERMILLION}
AT_RANDOM = GREEN
_NAMES = {False: "printed as random", True: "printed as pretrained"}
_MARKERS = {"d_ks": "s", "mean_d_ks": "s", "s": "o", "power_law_rate": "o", "gaussian_rate": "^", "mean_p_value": "D"}
_WORDS = {
    "s": "s, power-law rate",
    "d_ks": "d_KS, mean d_KS",
    "gaussian_rate": "Gaussian rate",
    "mean_p_value": "mean p-value",
}
_LINE, _WIDTH, _EDGE = 0.155, 12.0, 7.0  # inches of a row and of the figure; deviates at which values stop
_TOP, _BOTTOM = 0.45, 1.1  # inches above and below the axes


def draw_standing(standings: Sequence[Standing], label: str) -> Figure | None:
    """Every printed value as a standard normal deviate of its distribution, a line a row; None if no row has a place.

    The deviate has as much probability beyond it as the value has beyond it under one more seed, so that the central
    part is the same band whatever the number of seeds. Hollow marks have a pooled spread. Crosses are the values of
    pretrained rows among the seeds of the same experiment at random.
    """
    shown = [s for s in standings if any(place.predictive is not None for place in (*s.places, *s.as_random))]
    if not shown:
        return None
    tables = list(dict.fromkeys(s.row.table for s in shown))
    columns = _columns([(t, [s for s in shown if s.row.table == t]) for t in tables])
    with matplotlib.rc_context(STYLE):
        tallest = max(sum(len(rows) + 1 for _, rows in column) for column in columns)
        height = _LINE * tallest + _TOP + _BOTTOM
        figure = Figure(figsize=(_WIDTH, height))
        figure.subplots_adjust(0.13, _BOTTOM / height, 0.99, 1 - _TOP / height, 0.52)
        for axes, column in zip(figure.subplots(1, len(columns), squeeze=False).flat, columns, strict=True):
            _column(axes, column, tallest)
        figure.suptitle(f"Published values among the seeds [{label}]", x=0.01, y=1 - 0.15 / height, ha="left", va="top",
                        fontsize=11)  # fmt: skip
        _legend(figure)
    return figure


_Column = list[tuple[int, list[Standing]]]


def _columns(tables: _Column) -> list[_Column]:
    """In two, of about the same height."""
    heights = [len(rows) + 1 for _, rows in tables]
    split = min(range(1, len(tables) + 1), key=lambda i: abs(sum(heights[:i]) - sum(heights[i:])))
    return [part for part in (tables[:split], tables[split:]) if part]


def _column(axes: Axes, column: _Column, height: int) -> None:
    band, line = float(norm.ppf((1 + LEVEL) / 2)), 0
    axes.axvspan(-band, band, color="#e5e7eb", lw=0, zorder=0)
    axes.axvline(0, color=GREY, lw=0.6)
    ticks, labels = [], []
    for number, standings in column:
        axes.text(-_EDGE + 0.1, line, f"Table {number}", fontsize=8, fontweight="bold", va="center")
        line += 1
        for standing in standings:
            ticks.append(line)
            labels.append(_label(standing))
            for place in standing.places:
                hollow = "none" if place.pooled else COLOURS[standing.pretrained]
                _mark(axes, place, line, _MARKERS[place.quantity], color=COLOURS[standing.pretrained], mfc=hollow)
            for place in standing.as_random:
                _mark(axes, place, line, "x", color=AT_RANDOM)
            line += 1
    axes.set_yticks(ticks, labels, fontsize=6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", lw=0.3)
    axes.set(xlim=(-_EDGE - 0.4, _EDGE + 0.4), ylim=(height - 0.5, -0.8))
    axes.set_xlabel(f"normal deviate under one more seed (shaded: the central {LEVEL:.0%})")


def _label(standing: Standing) -> str:
    row = standing.row
    what = row.reading or (row.quantity if row.quantity in ("dimension", "iteration") else "")
    return f"{row.number}{f' ({what})' if what else ''}"


def _mark(axes: Axes, place: Place, line: int, marker: str, **style: Any) -> None:
    score = place.normal_score
    if score is not None:
        axes.plot(max(-_EDGE, min(_EDGE, score)), line, marker, ms=4, mew=0.9, **style)


def _legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    grey: dict[str, Any] = {"ls": "", "color": GREY, "ms": 5}
    entries = [Line2D([], [], marker="o", ls="", color=COLOURS[p], label=_NAMES[p]) for p in (False, True)]
    entries += [Line2D([], [], marker=_MARKERS[q], label=words, **grey) for q, words in _WORDS.items()]
    entries.append(Line2D([], [], marker="o", mfc="none", label="hollow: pooled spread", **grey))
    entries.append(Line2D([], [], marker="x", ls="", color=AT_RANDOM, label="pretrained, among seeds at random"))
    figure.legend(handles=entries, loc="lower center", ncols=4, fontsize=7.5)
