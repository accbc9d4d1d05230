"""The closing table of a run, for a terminal of 100 columns."""

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from gradlaw.analysis.result import AnalysisResult
from gradlaw.errors import printable
from gradlaw.report.section import Table as SectionTable
from gradlaw.report.sections import shown_sections
from gradlaw.report.state import state_of
from gradlaw.report.title import title

WIDTH = 100


def summary(analysis: AnalysisResult) -> Group:
    """Title, verdicts, tables and notices."""
    shown = shown_sections(analysis)
    sentences = [_text(f"- {sentence}") for section in shown for sentence in section.sentences(analysis)]
    tables = [_table(table) for section in shown for table in section.terminal(analysis)]
    remarks = [_text(remark) for section in shown for remark in section.remarks(analysis)]
    notices = [_text(f"note: {notice}") for notice in analysis.notices]
    heading = _text(title(analysis), "bold"), _text(state_of(analysis))
    return Group(*heading, Text(), *sentences, Text(), *tables, *remarks, *notices)


def plain_summary(analysis: AnalysisResult) -> str:
    """The same as plain text."""
    console = Console(width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(summary(analysis))
    return capture.get().rstrip()


def _table(shown: SectionTable) -> Table:
    name, header, rows, _ = shown
    # Headers may take several lines, cells may not.
    widths = [max(map(len, [*column.split(), *(row[i] for row in rows)])) for i, column in enumerate(header)]
    space = 1 if sum(widths) + 2 * len(widths) < WIDTH else 0
    table = Table(title=name, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False,
                  padding=(0, space, 0, 0))  # fmt: skip
    for i, (column, width) in enumerate(zip(header, widths, strict=True)):
        table.add_column(column, justify="right" if i else "left", min_width=width)
    for row in rows:
        table.add_row(*map(_text, row))
    return table


def _text(text: str, style: str = "") -> Text:
    """Text that is no markup and holds nothing that commands a terminal: names of layers and data are in it."""
    return Text(printable(text), style=style)
