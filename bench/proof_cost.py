"""What the proofs of an engine cost: LeNet on random images, B = 1, T = 5000, and a whole analysis of LeNet on MNIST.

`gl.collect` looks at the first minibatch from all sides (randomness, state, rounding against float64), watches every
pass for reads of data, for parameters reached in new ways and for other shapes, and compares up to 2% of the iterations
with plain autograd. "engine alone" is the same engine filling the same matrix with none of that but the watching. CPU
seconds of processes that take turns, one thread each, since wall time on a shared machine says little; with a checkout
of an earlier commit, the same of that.

python bench/proof_cost.py [--before CHECKOUT]     # prints the table
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from contest import OWN, ROOT

REPEATS = 5
BEFORE = os.environ.get("GRADLAW_BENCH_BEFORE")  # a checkout of an earlier commit
DATA = Path(os.environ.get("GRADLAW_TEST_DATA", ROOT.parent / "shared/data")) / "mnist"
_COMMON = """
import time, torch, gradlaw as gl
from gradlaw.zoo import LeNet
torch.set_num_threads(1)
torch.manual_seed(0)
images, labels = torch.randn(60_000, 1, 28, 28), torch.randint(10, (60_000,))
problem = gl.Problem(LeNet(), torch.nn.functional.cross_entropy, (images, labels))
gl.collect(problem, 40, 1)
"""
COLLECT = (
    _COMMON
    + """
start = time.process_time()
gl.collect(problem, 5000, 1, store="memory")
print(time.process_time() - start)
"""
)
ALONE = (
    _COMMON
    + """
from gradlaw.history.engines.layerwise import LayerwiseEngine
from gradlaw.minibatches import Minibatches
start = time.process_time()
minibatches = Minibatches(60_000, 1, 5000)
engine = LayerwiseEngine(problem, [minibatches[0], minibatches[1]])
rows = torch.empty(5000, problem.dimensions)
step = engine.chunk(1)
for t in range(0, 5000, step):
    engine.gradients(t, [minibatches[s] for s in range(t, min(t + step, 5000))], rows[t : t + step])
print(time.process_time() - start)
"""
)


def measure(before: str | None = BEFORE, repeats: int = REPEATS) -> str:
    """The table."""
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="gradlaw-bench-") as folder:
        for _ in range(repeats):
            for label, command, checkout in _commands(Path(folder), before):
                seconds.setdefault(label, []).append(_cpu_seconds(command, checkout))
                print(f"  {label}: {seconds[label][-1]:.2f} s", file=sys.stderr, flush=True)
    lines = ["| work | best, CPU s | median, CPU s |", "|---|---:|---:|"]
    lines += [f"| {label} | {min(values):.2f} | {median(values):.2f} |" for label, values in seconds.items()]
    ratios = [("collection, to the engine alone", "collection", "engine alone")]
    if before:
        ratios += [(f"{work}, to before", work, f"{work}, before") for work in ("collection", "analysis")]
    for name, a, b in ratios:
        best, middle = (kind(seconds[a]) / kind(seconds[b]) for kind in (min, median))
        lines.append(f"| ratio: {name} | {best:.3f} | {middle:.3f} |")
    return "\n".join(lines)


def _commands(folder: Path, before: str | None) -> list[tuple[str, Sequence[str], Path]]:
    """What each turn runs: its label, the command, and the checkout whose code it is."""
    python, out = str(OWN), str(folder / "run")
    analyze = [python, "-m", "gradlaw", "analyze", "--data", str(DATA), "--model", "lenet", "--batch-size", "1"]
    analyze += ["--out", out, "--force"]
    turns: list[tuple[str, Sequence[str], Path]] = [("engine alone", [python, "-c", ALONE], ROOT)]
    for suffix, checkout in (("", ROOT), *([(", before", Path(before))] if before else [])):
        turns += [(f"collection{suffix}", [python, "-c", COLLECT], checkout), (f"analysis{suffix}", analyze, checkout)]
    return turns


def _cpu_seconds(command: Sequence[str], checkout: Path) -> float:
    """What a command prints, or else the CPU time of its process."""
    environment: Mapping[str, str] = os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    if "-c" in command:
        return float(done.stdout.split()[-1])
    return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime


def table() -> str:
    """The measurement in Markdown."""
    return measure()


if __name__ == "__main__":
    given = sys.argv[1:]
    print(measure(given[1] if given[:1] == ["--before"] else BEFORE))
