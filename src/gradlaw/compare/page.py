"""The figures of a comparison, and its page, which needs no other file."""

import base64
import html
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gradlaw.compare.result import ComparisonResult
from gradlaw.compare.quantities import QUANTITIES
from gradlaw.compare.text import notes, sentences, tables
from gradlaw.report.drawing import BLUE, GREEN, GREY, RED, encode, finish, fix_layout, new_figure, scatter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = (RED, BLUE, GREEN, "#b7791f", "#6b46c1", "#0d9488", GREY)
_KINDS = ("png", "svg")


def figure_files(c: ComparisonResult) -> dict[str, bytes]:
    """Every figure as PNG and SVG, by the name of its file."""
    metadata = json.dumps({"groups": c.groups})
    found: dict[str, bytes] = {}
    for name, (draw, _) in FIGURES.items():
        figure = draw(c)
        if figure is not None:
            fix_layout(figure)
            found |= {f"{name}.{kind}": encode(figure, kind, metadata) for kind in _KINDS}
    return found


def page(c: ComparisonResult, figures: Mapping[str, bytes]) -> str:
    """One HTML page: sentences, tables, figures, notes."""
    shown = [
        _PICTURE.format(source=base64.b64encode(figures[f"{name}.svg"]).decode(), caption=html.escape(caption))
        for name, (_, caption) in FIGURES.items() if f"{name}.svg" in figures
    ]  # fmt: skip
    written = [_table(table.title, table.header, table.rows) for table in tables(c)]
    told = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences(c))
    listed = "".join(f"<li>{html.escape(note)}</li>" for note in notes(c))
    title = html.escape(", ".join(c.groups))
    return _PAGE.format(title=title, told=told, tables="".join(written), figures="".join(shown), notes=listed)


def draw_spectra(c: ComparisonResult) -> "Figure":
    """The spectra of all runs over one another."""
    with new_figure(6.4, 4.2) as figure:
        axes = figure.subplots()
        for (name, column), colour in zip(c.spectra.items(), _cycle(len(c.spectra.columns)), strict=True):
            scatter(axes, column.dropna().to_numpy(), colour, str(name))
        finish(axes, (), "eigenvalue of the covariance")
    return figure


def draw_rates(c: ComparisonResult) -> "Figure | None":
    """Rates of all groups with their intervals."""
    names = [q for q in QUANTITIES if q.name.endswith("_rate") and c.values.loc[q.name]["value"].notna().any()]
    if not names:
        return None
    with new_figure(6.4, 1.2 + 0.35 * len(names) * len(c.groups)) as figure:
        axes = figure.subplots()
        step = 0.8 / len(c.groups)
        for g, (group, colour) in enumerate(zip(c.groups, _cycle(len(c.groups)), strict=True)):
            rows = [c.values.loc[(quantity.name, group)] for quantity in names]
            heights = np.arange(len(names)) + step * (g - (len(c.groups) - 1) / 2)
            _with_intervals(axes, rows, heights, colour, group, 100)
        axes.set_yticks(range(len(names)), [quantity.label for quantity in names])
        axes.set(xlabel="share of series, %", xlim=(-2, 102))
        axes.invert_yaxis()
        axes.legend(loc="best")
    return figure


def draw_layers(c: ComparisonResult) -> "Figure | None":
    """Noise scales of all layers with their intervals."""
    usable = c.layers[np.isfinite(c.layers["noise_scale"])]
    if not len(usable):
        return None
    layers, runs = list(dict.fromkeys(c.layers["layer"])), list(dict.fromkeys(c.layers["run"]))
    with new_figure(6.4, 1.2 + 0.22 * len(layers) * max(1, len(runs) / 2)) as figure:
        axes = figure.subplots()
        step = 0.8 / len(runs)
        for r, (run, colour) in enumerate(zip(runs, _cycle(len(runs)), strict=True)):
            of_run = usable[usable["run"] == run]
            heights = np.array([layers.index(layer) for layer in of_run["layer"]]) + step * (r - (len(runs) - 1) / 2)
            rows = [row.rename({"noise_scale": "value"}) for _, row in of_run.iterrows()]
            _with_intervals(axes, rows, heights, colour, run, 1)
        axes.set_yticks(range(len(layers)), layers)
        axes.set(xlabel="gradient noise scale, samples", xscale="log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}")
        axes.invert_yaxis()
        axes.legend(loc="best")
    return figure


FIGURES: dict[str, tuple[Callable[[ComparisonResult], "Figure | None"], str]] = {
    "spectra": (draw_spectra, "Spectra of the gradient covariance, one over the other."),
    "rates": (draw_rates, "Shares of series, with intervals where valid ones can be given. Across dimensions: the "
              "power law at the calibrated level and Gaussianity of each iteration; across iterations: of each "
              "parameter."),
    "layers": (draw_layers, "Gradient noise scale by layer, with intervals; at the edge those that have no end."),
}  # fmt: skip


def _with_intervals(axes, rows, heights, colour, label, factor) -> None:  # type: ignore[no-untyped-def]
    values = np.array([row["value"] for row in rows], dtype=float) * factor
    low, high = (np.array([row[end] for row in rows], dtype=float) * factor for end in ("low", "high"))
    known = np.isfinite(values)
    if not known.any():
        return
    beyond = 1e3 * np.nanmax(values)
    errors = np.nan_to_num(np.stack([values - low, np.where(np.isinf(high), beyond, high) - values])).clip(min=0)
    left, right = np.nanmin(values[known]), np.nanmax(values[known])
    axes.errorbar(values[known], heights[known], xerr=errors[:, known], fmt="o", ms=4, lw=1, color=colour, label=label)
    if np.isinf(high[known]).any():
        axes.set_xlim(0.3 * left, 10 * right)


def _cycle(number: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(number)]


def _table(title: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<h2>{html.escape(title)}</h2><div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


_PICTURE = (
    '<figure><img src="data:image/svg+xml;base64,{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>gradlaw: {title}</title>
<style>
body {{ margin: 0 auto; max-width: 960px; padding: 24px 16px 64px; color: #1f2430; background: #f6f7f9;
       font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }}
h1 {{ font-size: 24px; line-height: 1.25; }}
h2 {{ font-size: 17px; margin: 30px 0 8px; }}
div, figure {{ background: #fff; border: 1px solid #e2e5ea; border-radius: 6px; overflow-x: auto; }}
figure {{ margin: 16px 0 0; padding: 14px; }}
img {{ display: block; width: 100%; max-width: 720px; margin: 0 auto; }}
figcaption, li {{ color: #5b6472; font-size: 13.5px; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 6px 10px; text-align: right; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; }}
thead th {{ color: #5b6472; border-bottom: 1px solid #e2e5ea; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{told}
{tables}
<h2>Figures</h2>
{figures}
<h2>Notes</h2>
<ul>{notes}</ul>
</main>
</body>
</html>
"""
