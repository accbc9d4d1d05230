"""A comparison in words and cells: for a terminal of 80 columns, and for the page."""

import math
import textwrap
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from gradlaw.compare.quantities import QUANTITIES
from gradlaw.compare.result import ComparisonResult
from gradlaw.report.formatting import number, percent
from gradlaw.report.section import Rows, Table
from gradlaw.report.text_table import WIDTH, text_table

if TYPE_CHECKING:
    import pandas as pd

_AT_ONCE = 3  # groups side by side
_LONGEST = 16  # of a cell of settings
_ALPHA = 0.05
_LABELS = {quantity.name: quantity.label for quantity in QUANTITIES}
_SMALLEST_P = 1e-4
_SHOWN_SUBSPACES = (1, 2, 5, 10)


def as_text(c: ComparisonResult) -> str:
    """Sentences, tables and notes."""
    parts = [_filled(" ".join(sentences(c)))]
    parts += [text_table(table.title, table.header, table.rows) for table in tables(c)]
    parts += ["\n".join(textwrap.fill(note, WIDTH, initial_indent="- ", subsequent_indent="  ") for note in notes(c))]
    return "\n\n".join(parts)


def sentences(c: ComparisonResult) -> list[str]:
    """What differs for sure."""
    tested = c.differences.dropna(subset=["p_holm"])
    sure = tested[tested["p_holm"] < _ALPHA]
    found = [f"{len(c.groups)} groups of runs: {', '.join(c.groups)}."]
    if not len(tested):
        return [*found, "No difference can be tested; see the reasons below."]
    found.append(f"{len(sure)} of {len(tested)} differences that can be tested are significant at 5%, all together.")
    for pair, rows in sure.groupby(["first", "second"], sort=False):
        words = [f"{_LABELS[r.quantity]} {_change(r)}" for r in rows.itertuples()]
        found.append(f"{pair[1]} against {pair[0]}: {', '.join(words)}.")
    return found


def tables(c: ComparisonResult) -> list[Table]:
    """Settings, values, differences, layers, overlaps."""
    found = [Table(f"Settings that differ{part}", *cells) for part, cells in _settings(c)]
    found += [Table(f"Values, {c.level:.0%} intervals{part}", *cells) for part, cells in _values(c)]
    found.append(_differences("Differences, second less first", c.differences, lambda name: _LABELS[name]))
    found += [Table(f"Noise scale by layer{part}", *cells) for part, cells in _layers(c)]
    if len(c.overlaps):
        rows: Rows = [
            (f"{r.first} and {r.second}" if r.first != r.second else f"halves of {r.first}", str(r.k),
             f"{r.overlap:.3f}", f"{r.random:.2g}")
            for r in c.overlaps.itertuples() if r.k in _SHOWN_SUBSPACES
        ]  # fmt: skip
        found.append(Table("Overlap of leading subspaces", ("runs", "k", "overlap", "random"), rows))
    return [table for table in found if table.rows]


def notes(c: ComparisonResult) -> list[str]:
    """What was put together, and why there is no value, interval or test where there is none."""
    found = list(c.notes)
    missing = c.values[c.values["low"].isna()]
    for how, rows in missing.groupby("how", sort=False):
        names = dict.fromkeys(_LABELS[quantity] for quantity, _ in rows.index)
        found.append(f"{', '.join(names)}: {how}")
    refused = c.differences[c.differences["how"].str.startswith("not compared")]
    for how, rows in refused.groupby("how", sort=False):
        names = dict.fromkeys(_LABELS[quantity] for quantity in rows["quantity"])
        found.append(f"{', '.join(names)}: {how}")
    return found


def notes_table(c: ComparisonResult) -> Table:
    """The sentences and notes, for the page."""
    return Table(
        "Findings and notes", ("what was found, and what could not be",), [(t,) for t in sentences(c) + notes(c)]
    )


def _settings(c: ComparisonResult) -> Iterator[tuple[str, tuple[tuple[str, ...], Rows]]]:
    for part, runs in _parts(list(c.settings.columns)):
        rows = [(name.partition(".")[2], *(_short(row[run]) for run in runs)) for name, row in c.settings.iterrows()]
        yield part, (("setting", *runs), rows)


def _values(c: ComparisonResult) -> Iterator[tuple[str, tuple[tuple[str, ...], Rows]]]:
    for part, groups in _parts(list(c.groups)):
        rows = [
            (q.label, *(_cell(q.name, c.values.loc[(q.name, group)]) for group in groups))
            for q in QUANTITIES if c.values.loc[q.name]["value"].notna().any()
        ]  # fmt: skip
        yield part, (("quantity", *groups), rows)


def _layers(c: ComparisonResult) -> Iterator[tuple[str, tuple[tuple[str, ...], Rows]]]:
    wide = {(row.layer, row.run): row for row in c.layers.itertuples()}
    for part, runs in _parts(list(dict.fromkeys(c.layers["run"]))):
        rows = []
        for layer in dict.fromkeys(c.layers["layer"]):
            cells = [_cell("noise_scale", wide[layer, run]) if (layer, run) in wide else "-" for run in runs]
            p_values = c.layer_differences.loc[c.layer_differences["quantity"] == layer, "p_holm"]
            rows.append((layer, *cells, _p(p_values.min())))
        yield part, (("layer", *runs, "least p, Holm"), rows)


def _differences(title: str, frame: "pd.DataFrame", label: Callable[[str], str]) -> Table:
    tested = frame.dropna(subset=["p_value"])
    pairs = tested.groupby(["first", "second"], sort=False).ngroups
    rows: Rows = []
    for row in tested.itertuples():
        rate, inverse = row.quantity.endswith("_rate"), row.quantity == "noise_scale"
        shown = _points if rate else number
        name = f"1 / {label(row.quantity)}" if inverse else label(row.quantity)
        name += f": {row.second} - {row.first}" if pairs > 1 else ""
        interval = f"{shown(row.low)} to {shown(row.high)}"
        rows.append((name, shown(row.difference), interval, _p(row.p_value), _p(row.p_holm)))
    return Table(title, ("quantity", "difference", "interval", "p", "p, Holm"), rows)


def _cell(name: str, row: Any) -> str:
    """A value with its interval."""
    if row.value is None if hasattr(row, "value") else math.isnan(row.noise_scale):
        return "-"
    value = row.value if hasattr(row, "value") else row.noise_scale
    if math.isnan(value):
        return "-"
    shown = percent if name.endswith("_rate") else _number
    if math.isnan(row.low):
        return shown(value)
    return f"{shown(value)} ({shown(row.low)}, {shown(row.high)})"


def _change(row: Any) -> str:
    if row.quantity == "noise_scale":
        return "lower" if row.difference > 0 else "higher"
    if row.quantity.endswith("_rate"):
        return f"{_points(row.difference)} points"
    return f"{row.difference:+.3g}"


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"


def _number(value: float) -> str:
    return "inf" if math.isinf(value) else f"{value:,.0f}" if value >= 1000 else number(value)


def _p(value: float) -> str:
    return "-" if math.isnan(value) else f"<{_SMALLEST_P:g}" if value < _SMALLEST_P else f"{value:.2g}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _parts(names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """As many as fit side by side, with a remark which of several parts it is."""
    parts = [names[i : i + _AT_ONCE] for i in range(0, len(names), _AT_ONCE)]
    for i, part in enumerate(parts, 1):
        yield (f" ({i} of {len(parts)})" if len(parts) > 1 else ""), part


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH)
