"""Progress of long work: bars on a terminal, a line a stage elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from gradlaw.errors import printable

Advance = Callable[[int], None]
_SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """One bar a stage, on stderr; a stage of unknown length pulses. ``Progress(shown=False)`` shows nothing.

    Where stderr is no terminal (a log, a batch system) there is a line when a stage ends, and every half minute within
    one, with the time that it has yet to take. Pass one to the functions that take ``progress``. As a context manager
    it keeps the bars of all stages in view.
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
        if self._bars.console.is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars.live.is_started:
            self._bars.stop()

    def say(self, text: str) -> None:
        """Print a line beside the bars."""
        if not self._bars.disable:
            self._bars.console.print(printable(text), highlight=False, markup=False)

    @contextmanager
    def stage(self, label: str, total: int | None = None) -> Iterator[Advance]:
        """A stage of ``total`` steps; yields a function to call with the number of steps just done."""
        label = printable(label)
        if self._bars.disable:
            yield lambda steps: None
        elif not self._bars.console.is_terminal:
            with self._lines(label, total) as advance:
                yield advance
        elif self._bars.live.is_started:
            with self._bar(label, total) as advance:
                yield advance
        else:
            try:
                with self, self._bar(label, total) as advance:
                    yield advance
            finally:
                for task in self._bars.task_ids:  # on the terminal by now; the next stage would draw them again
                    self._bars.remove_task(task)

    @contextmanager
    def _bar(self, label: str, total: int | None) -> Iterator[Advance]:
        task = self._bars.add_task(label, total=total)
        yield lambda steps: self._bars.advance(task, steps)
        done = self._bars.tasks[self._bars.task_ids.index(task)].total or 1
        self._bars.update(task, total=done, completed=done)

    @contextmanager
    def _lines(self, label: str, total: int | None) -> Iterator[Advance]:
        start = last = time.monotonic()
        done = 0

        def advance(steps: int) -> None:
            nonlocal last, done
            done += steps
            now = time.monotonic()
            if now - last >= _SECONDS_BETWEEN_LINES and total and 0 < done < total:
                left = (now - start) * (total - done) / done
                self.say(f"{label}: {done:,} of {total:,}, {now - start:.0f} s, about {left:.0f} s to go")
                last = now

        yield advance
        self.say(f"{label}: {time.monotonic() - start:.1f} s")


SILENT = Progress(shown=False)
