"""The closing table of a run, for a terminal of 100 columns."""

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.sentences import thresholds, title, verdicts
from gradlaw.report.tables import (
    RATES_HEADER,
    SPECTRA_HEADER,
    TESTS_HEADER,
    rates_rows,
    spectra_rows,
    tests_rows,
)

WIDTH = 100


def summary(analysis: AnalysisResult) -> Group:
    """Title, verdicts, tables and notices."""
    parts = [Text(title(analysis), style="bold"), Text()]
    parts += [Text(f"- {sentence}") for sentence in verdicts(analysis)]
    parts += [Text()]
    tables = [
        _table("Tests of the gradients", TESTS_HEADER, tests_rows(analysis)),
        _table("Rates, with Wilson intervals", RATES_HEADER, rates_rows(analysis)),
        _table("Power-law fits of the spectra", SPECTRA_HEADER, spectra_rows(analysis.spectral_verdicts())),
    ]
    if analysis.controls:
        tables.append(_table("Controls", SPECTRA_HEADER, spectra_rows(analysis.control_verdicts())))
    parts_after = [Text(thresholds(analysis))] + [Text(f"note: {notice}") for notice in analysis.notices]
    return Group(*parts, *tables, *parts_after)


def plain_summary(analysis: AnalysisResult) -> str:
    """The same as plain text."""
    console = Console(width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(summary(analysis))
    return capture.get().rstrip()


def _table(name: str, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    # Headers may take several lines, cells may not.
    widths = [max(map(len, [*column.split(), *(row[i] for row in rows)])) for i, column in enumerate(header)]
    space = 1 if sum(widths) + 2 * len(widths) < WIDTH else 0
    table = Table(title=name, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False,
                  padding=(0, space, 0, 0))  # fmt: skip
    for i, (column, width) in enumerate(zip(header, widths, strict=True)):
        table.add_column(column, justify="right" if i else "left", min_width=width)
    for row in rows:
        table.add_row(*row)
    return table
