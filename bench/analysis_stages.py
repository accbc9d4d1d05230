"""Runs the command line in this process and times its stages.

python analysis_stages.py ARGUMENT ...     # those of gradlaw   ->   the last line of stdout is JSON
"""

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_BEGIN = time.perf_counter()

# Timed as well.
from gradlaw.cli import analyze, main  # noqa: E402
from gradlaw.progress import Advance, Progress  # noqa: E402

STAGES: list[tuple[str, float, float]] = []  # label, seconds, peak resident MB of the process by then


class TimedProgress(Progress):
    """Keeps how long each stage took."""

    @contextmanager
    def stage(self, label: str, total: int | None = None) -> Iterator[Advance]:
        """As in the base class."""
        start = time.perf_counter()
        with super().stage(label, total) as advance:
            yield advance
        _finished(label, start)


def _finished(label: str, start: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3  # kilobytes, on Linux
    STAGES.append((label, time.perf_counter() - start, peak))


if __name__ == "__main__":
    _finished("import gradlaw", _BEGIN)
    analyze.Progress = TimedProgress  # type: ignore[misc]
    status = main.main(sys.argv[1:])
    _finished("all", _BEGIN)
    print(json.dumps(STAGES))
    sys.exit(status)
