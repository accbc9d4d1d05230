"""Runs the benchmarks and writes bench/RESULTS.md.

python bench/run.py [NAME ...]     # names of the sections below; default: all
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import machine
import size_and_power
import tail_speed

RESULTS = Path(__file__).with_name("RESULTS.md")
SECTIONS: dict[str, tuple[str, Callable[[], str]]] = {
    "tail_speed": ("Tail statistics: speed", tail_speed.table),
    "size_and_power": ("Tail statistics: share of accepted samples, published / calibrated", size_and_power.table),
}
HEAD = (
    "# Benchmark results\n\nMade by `make bench`. Ratios are within one run; seconds are of a shared, noisy machine.\n"
)


def main(names: list[str]) -> None:
    """Measure the sections asked for and replace them in the results."""
    sections = _read()
    for name in names or SECTIONS:
        title, table = SECTIONS[name]
        print(f"{title} ...", flush=True)
        measured = table()
        when = datetime.now(UTC).date().isoformat()
        sections[title] = (
            f"{sys.modules[table.__module__].__doc__.strip()}\n\n{measured}\n\n{when}, {machine.describe()}.\n"
        )
        print(measured, flush=True)
        RESULTS.write_text(HEAD + "".join(f"\n## {title}\n\n{text}" for title, text in sections.items()))


def _read() -> dict[str, str]:
    """The sections of earlier runs, by title."""
    if not RESULTS.exists():
        return {}
    parts = RESULTS.read_text().split("\n## ")[1:]
    return {part.partition("\n\n")[0]: part.partition("\n\n")[2] for part in parts}


if __name__ == "__main__":
    main(sys.argv[1:])
