"""A table in the terminal, as Markdown, as CSV and as LaTeX."""

import csv
import io
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as RichTable

Rows = Sequence[Sequence[str]]

SETTINGS = ("dataset", "model", "training", "setting", "batch_size", "reading", "d_c", "d_c cal.", "ceiling", "K",
            "seeds")  # fmt: skip
_LATEX = str.maketrans(
    {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
     "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "<": "$<$", ">": "$>$", "±": r"$\pm$"}
)  # fmt: skip


def terminal(title: str, header: Sequence[str], rows: Rows, wrapped: Sequence[str] = ()) -> RichTable:
    """For rich. Settings on which all rows agree are named once, below; columns in ``wrapped`` may take lines."""
    common = [
        name in SETTINGS and len(rows) > 1 and len({row[i] for row in rows}) == 1 for i, name in enumerate(header)
    ]
    below = "; ".join(f"{name}: {rows[0][i]}" for i, name in enumerate(header) if common[i])
    table = RichTable(title=escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False,
                      padding=(0, 1, 0, 0), caption=escape(below), caption_justify="left")  # fmt: skip
    for name, same in zip(header, common, strict=True):
        if not same:
            table.add_column(name, no_wrap=name not in wrapped)
    for row in rows:
        table.add_row(*(escape(cell) for cell, same in zip(row, common, strict=True) if not same))
    return table


def markdown(header: Sequence[str], rows: Rows) -> str:
    """As GitHub reads it."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def comma_separated(header: Sequence[str], rows: Rows) -> str:
    """The cells as they are shown."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    return buffer.getvalue()


def latex(caption: str, label: str, header: Sequence[str], rows: Rows, remarks: Sequence[str] = ()) -> str:
    """A table environment as wide as the text, which needs the packages booktabs and graphicx."""
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_escaped(caption)}}}",
        rf"  \label{{{label}}}",
        r"  \resizebox{\linewidth}{!}{%",
        rf"  \begin{{tabular}}{{{'l' * len(header)}}}",
        r"    \toprule",
        _line(header),
        r"    \midrule",
        *map(_line, rows),
        r"    \bottomrule",
        r"  \end{tabular}}",
        *(rf"  \par\footnotesize {_escaped(remark)}" for remark in remarks),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "    " + " & ".join(map(_escaped, cells)) + r" \\"


def _escaped(text: str) -> str:
    return text.translate(_LATEX)
