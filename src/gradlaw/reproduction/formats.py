"""A table in the terminal, as Markdown and as CSV; as LaTeX: :mod:`gradlaw.report.latex`."""

from collections.abc import Sequence

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as RichTable

from gradlaw.errors import printable

Rows = Sequence[Sequence[str]]

SETTINGS = ("dataset", "model", "training", "setting", "batch_size", "reading", "d_c", "d_c cal.", "ceiling", "K",
            "seeds")  # fmt: skip


def terminal(title: str, header: Sequence[str], rows: Rows, wrapped: Sequence[str] = ()) -> RichTable:
    """For rich. Settings on which all rows agree are named once, below; columns in ``wrapped`` may take lines."""
    common = [
        name in SETTINGS and len(rows) > 1 and len({row[i] for row in rows}) == 1 for i, name in enumerate(header)
    ]
    below = "; ".join(f"{name}: {rows[0][i]}" for i, name in enumerate(header) if common[i])
    table = RichTable(title=escape(printable(title)), title_justify="left", title_style="bold", box=SIMPLE_HEAD,
                      pad_edge=False, padding=(0, 1, 0, 0), caption=escape(printable(below)),
                      caption_justify="left")  # fmt: skip
    for name, same in zip(header, common, strict=True):
        if not same:
            table.add_column(name, no_wrap=name not in wrapped)
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell, same in zip(row, common, strict=True) if not same))
    return table


def markdown(header: Sequence[str], rows: Rows) -> str:
    """As GitHub reads it; by hand, for pandas would need tabulate, which pads cells and escapes no bars."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def comma_separated(header: Sequence[str], rows: Rows) -> str:
    """The cells as they are shown."""
    return _frame(header, rows).to_csv(index=False, lineterminator="\n")


def _frame(header: Sequence[str], rows: Rows) -> pd.DataFrame:
    return pd.DataFrame([list(row) for row in rows], columns=list(header), dtype=object)
