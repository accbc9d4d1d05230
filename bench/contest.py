"""Contenders side by side: each run in a fresh process, turn by turn, its result compared with a reference.

The parent calls :func:`contest`; the process that it starts for a contender calls :func:`perform`.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from machine import watched_memory

ROOT = Path(__file__).parents[1]
OWN = Path(sys.executable)
PEERS = ROOT / ".venv-bench/peers/bin/python"
Result = Any


class Disagreement(Exception):
    """A contender's result is not the reference's."""


@dataclass
class Outcome:
    """What one contender did in all its runs."""

    seconds: list[float] = field(default_factory=list)
    megabytes: float = 0.0  # peak of resident memory above its start
    error: float | None = None  # relative difference from the reference; None for a floor
    refused: str | None = None


def perform(work: Callable[[], Result], warm_up: Callable[[], Result], check: Callable[[Result], float | None]) -> None:
    """Run a contender in this process and print its outcome: one line of JSON.

    The memory is that of the warm-up too; loading the libraries and the inputs comes before.
    """
    try:
        with watched_memory() as rise:
            warm_up()
            start = time.perf_counter()
            result = work()
            seconds = time.perf_counter() - start
    except (NotImplementedError, UserWarning) as error:  # how the peers refuse a layer
        print(json.dumps({"refused": " ".join(str(error).split())[:150] + " ..."}))
        return
    print(json.dumps({"seconds": seconds, "megabytes": rise(), "error": check(result)}))


def contest(
    commands: Mapping[str, Sequence[Any]], repeats: int, tolerance: Mapping[str, float] | float
) -> dict[str, Outcome]:
    """Run every command ``repeats`` times, all of them once before any of them again.

    Raises:
        Disagreement: a result is further from the reference than ``tolerance`` (one for all, or by name).
    """
    outcomes = {name: Outcome() for name in commands}
    for turn in range(repeats):
        for name, command in commands.items():
            outcome = outcomes[name]
            if outcome.refused is None:
                _add(outcome, _run(command))
                allowed = tolerance if isinstance(tolerance, float) else tolerance[name]
                if outcome.error is not None and not outcome.error <= allowed:
                    raise Disagreement(f"{name} is off by {outcome.error:.2g}, more than {allowed:.2g}")
                shown = outcome.refused or f"{outcome.seconds[-1]:.2f} s"
                print(f"  {turn + 1}/{repeats} {name}: {shown}", file=sys.stderr, flush=True)
    return outcomes


def table(outcomes: Mapping[str, Outcome], unit: str) -> str:
    """Outcomes in Markdown; ratios are of the best times, to that of ``unit``."""
    one = min(outcomes[unit].seconds)
    lines = [
        f"| contender | best, s | median, s | ratio to {unit} | peak memory, MB | difference |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, outcome in outcomes.items():
        if outcome.refused is not None:
            lines.append(f"| {name} | refuses |  |  |  |  |")
            continue
        best = min(outcome.seconds)
        off = "" if outcome.error is None else f"{outcome.error:.1e}"
        lines.append(
            f"| {name} | {_digits(best)} | {_digits(median(outcome.seconds))} | {best / one:.3g} "
            f"| {outcome.megabytes:.0f} | {off} |"
        )
    refusals = [f'{name} refuses: "{o.refused}"' for name, o in outcomes.items() if o.refused is not None]
    return "\n".join(lines) + "".join(f"\n\n{text}" for text in refusals)


def _digits(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 1000 else f"{seconds:.3g}"


def _run(command: Sequence[Any]) -> dict[str, Any]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def _add(outcome: Outcome, run: Mapping[str, Any]) -> None:
    outcome.refused = run.get("refused")
    if outcome.refused is None:
        outcome.seconds.append(run["seconds"])
        outcome.megabytes = max(outcome.megabytes, run["megabytes"])
        outcome.error = run["error"]
