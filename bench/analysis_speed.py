"""A whole analysis from the command line: LeNet at its initialisation, MNIST, B = 1, T = 5000, report included.

`gradlaw analyze --model lenet --batch-size 1` is a process of its own, timed from its start to its end; the memory is
its peak resident memory. The first run decodes the images, the others find them in the cache of decoded data. The
stages are those of one more run. Before the work on speed and memory (commit 720a63a, the
same kind of machine, quiet) it took 37.8 s and 2.6 GB, of which the dense Gram product about 19 s.

python bench/analysis_speed.py [--quick]     # prints the tables; --quick: a tenth of the iterations, once
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from contest import OWN, ROOT

REPEATS, ITERATIONS = 3, 5000
SECONDS_BEFORE, GIGABYTES_BEFORE = 37.8, 2.6
DATA = Path(os.environ.get("GRADLAW_TEST_DATA", ROOT.parent / "shared/data")) / "mnist"


def measure(iterations: int = ITERATIONS, repeats: int = REPEATS) -> str:
    """The tables of the whole and of its stages."""
    with tempfile.TemporaryDirectory(prefix="gradlaw-bench-") as folder:
        data = DATA if DATA.is_dir() else "mnist"
        arguments = ["analyze", "--data", data, "--model", "lenet", "--batch-size", 1, "--iterations", iterations]
        arguments += ["--out", Path(folder) / "run", "--force"]
        environment = os.environ | {"GRADLAW_CACHE": f"{folder}/cache"}
        runs = [_timed([OWN.with_name("gradlaw"), *arguments], environment) for _ in range(1 + repeats)]
        script = Path(__file__).with_name("analysis_stages.py")
        staged = subprocess.run(
            [str(part) for part in (OWN, script, *arguments)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
    (first, first_gigabytes), *others = runs
    seconds, gigabytes = [run[0] for run in others], max(run[1] for run in others)
    best = min(seconds)
    return (
        "| analysis | best, s | median, s | peak memory, GB |\n|---|---:|---:|---:|\n"
        f"| before | {SECONDS_BEFORE} | | {GIGABYTES_BEFORE} |\n"
        f"| now, first run | {first:.1f} | | {first_gigabytes:.2f} |\n"
        f"| now | {best:.1f} | {median(seconds):.1f} | {gigabytes:.2f} |\n"
        f"| ratio to before | {best / SECONDS_BEFORE:.2f} | | {gigabytes / GIGABYTES_BEFORE:.2f} |\n\n"
        + _stages(json.loads(staged.stdout.splitlines()[-1]))
    )


def table() -> str:
    """The measurement in Markdown."""
    return measure()


def _timed(command: Sequence[object], environment: Mapping[str, str]) -> tuple[float, float]:
    """Wall seconds and peak resident GB of a process that succeeds."""
    start = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed")
    return seconds, used.ru_maxrss / 1e6  # kilobytes, on Linux


def _stages(stages: list[tuple[str, float, float]]) -> str:
    *parts, (_, whole, peak) = stages
    lines = ["| stage | s | share | peak memory so far, GB |", "|---|---:|---:|---:|"]
    parts.append(("outside of stages", whole - sum(seconds for _, seconds, _ in parts), peak))
    lines += [f"| {label} | {s:.2f} | {s / whole:.0%} | {mb / 1e3:.2f} |" for label, s, mb in parts]
    return "\n".join([*lines, f"| all | {whole:.2f} | | {peak / 1e3:.2f} |"])


if __name__ == "__main__":
    print(measure(ITERATIONS // 10, 1) if "--quick" in sys.argv else measure())
