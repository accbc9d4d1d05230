"""A table in LaTeX."""

from collections.abc import Sequence

import pandas as pd

from gradlaw.errors import printable

Rows = Sequence[Sequence[str]]
_LATEX = str.maketrans(
    {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
     "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "<": "$<$", ">": "$>$", "±": r"$\pm$", "\n": " ", "\t": " "}
)  # fmt: skip


def latex(caption: str, label: str, header: Sequence[str], rows: Rows, remarks: Sequence[str] = ()) -> str:
    """A table environment as wide as the text, which needs the packages booktabs and graphicx."""
    cells = pd.DataFrame([[*map(_escaped, row)] for row in rows], columns=[*map(_escaped, header)], dtype=object)
    tabular = cells.to_latex(index=False, escape=False, column_format="l" * len(header))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(caption)}}}",
        rf"\label{{{label}}}",
        r"\resizebox{\linewidth}{!}{%",
        tabular.rstrip() + "}",
        *(rf"\par\footnotesize {_escaped(remark)}" for remark in remarks),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """For LaTeX; by hand, for pandas leaves <, > and ± as they are, which plain LaTeX sets as other signs."""
    return printable(text).translate(_LATEX)
