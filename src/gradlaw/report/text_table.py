"""Tables as plain text, for terminals of 80 columns."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gradlaw.errors import printable

WIDTH = 80


def text_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], width: int = WIDTH) -> str:
    """A table of cells with its title, at most ``width`` wide.

    Headers and names in the first column take several lines where they have to; other cells never do.
    """
    widths = [max([len(word) for word in column.split()] + [len(row[i]) for row in rows]) for i, column in
              enumerate(header)]  # fmt: skip
    space = 1 if sum(widths) + 2 * len(widths) <= width else 0
    table = Table(title=_shown(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, show_edge=False,
                  padding=(0, space, 0, 0))  # fmt: skip
    for i, column in enumerate(header):
        table.add_column(_shown(column), justify="right" if i else "left", width=widths[i] if i else None,
                         overflow="fold")  # fmt: skip
    for row in rows:
        table.add_row(*map(_shown, row))
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def _shown(text: str) -> str:
    """Neither markup nor anything that commands a terminal."""
    return escape(printable(text))
