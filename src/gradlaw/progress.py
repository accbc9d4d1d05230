"""Progress bars for long work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

Advance = Callable[[int], None]


class Progress:
    """One bar a stage, on stderr; a stage of unknown length pulses. ``Progress(shown=False)`` shows nothing.

    Pass one to the functions that take ``progress``. As a context manager it keeps the bars of all stages in view.
    """

    def __init__(self, shown: bool = True):
        self._bars = RichProgress(
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not shown,
        )

    def __enter__(self) -> "Progress":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Print a line beside the bars."""
        if not self._bars.disable:
            self._bars.console.print(text, highlight=False)

    @contextmanager
    def stage(self, label: str, total: int | None = None) -> Iterator[Advance]:
        """A stage of ``total`` steps; yields a function to call with the number of steps just done."""
        with nullcontext() if self._bars.live.is_started else self:
            task = self._bars.add_task(label, total=total)
            yield lambda steps: self._bars.advance(task, steps)
            done = self._bars.tasks[task].total or 1
            self._bars.update(task, total=done, completed=done)


SILENT = Progress(shown=False)
