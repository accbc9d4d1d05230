"""What the work on speed has come to: user CPU seconds before it and now, in turns within one run.

Before is commit 8e1d88c (2026-11-24), or the checkout that is given. Every measurement is a process of its own; wall
time on a shared machine says little. The smallest of several counts. Inputs are random and of MNIST's and CIFAR-10's
size where nothing else is said; yardsticks are PyTorch and BLAS alone, in the same run.

python bench/speed_table.py --before CHECKOUT [--quick] [WORK ...]     # prints the table; --quick: small sizes, once
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from contest import OWN, ROOT

REPEATS, THREADS = 3, (1, 2)
BEFORE = os.environ.get("GRADLAW_BENCH_BEFORE")  # a checkout of an earlier commit
DATA = Path(os.environ.get("GRADLAW_TEST_DATA", ROOT.parent / "shared/data")) / "mnist"
_BEGIN = """
import json, os, resource, runpy, sys
from contextlib import contextmanager
def user():
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime
seconds, size, folder = {}, int(sys.argv[1]), sys.argv[2]
@contextmanager
def timed(name):
    start = user()
    yield
    seconds[name] = seconds.get(name, 0) + user() - start
"""
_END = """
print(json.dumps(seconds))
"""
ANALYSIS = """
with timed("whole analysis"):
    with timed("analysis: import of torch"):
        import torch
    from gradlaw.progress import Progress
    plain = Progress.stage
    tests, gram = "analysis: both tests", "analysis: Gram matrix"
    rows = {"test dimension-wise gradients": tests, "test iteration-wise gradients": tests,
            "forward and backward": gram, "Gram matrix": gram, "form the Gram matrix": gram,
            "eigenvalues of both spectra": "analysis: eigenvalues of both spectra",
            "gradient noise": "analysis: gradient noise"}
    @contextmanager
    def stage(self, label, total=None):
        with timed(rows.get(label, "analysis: the rest")), plain(self, label, total) as advance:
            yield advance
    Progress.stage = stage
    sys.argv = ["gradlaw", "analyze", "--data", "DATA", "--model", "lenet", "--batch-size", "1",
                "--iterations", str(size), "--out", folder + "/run", "--force"]
    shown, sys.stdout = sys.stdout, open(os.devnull, "w")
    try:
        runpy.run_module("gradlaw", run_name="__main__")
    except SystemExit as stop:
        assert not stop.code, stop.code
    sys.stdout = shown
    del seconds["analysis: the rest"]
"""
IMPORT = """
import torch
with timed("`import gradlaw`, beyond torch"):
    import gradlaw
with timed("... and gradlaw.analyze, beyond that"):
    gradlaw.analyze
"""
GRAM = """
import torch
try:
    from gradlaw.spectra.gram.dense import gram_matrix
except ImportError:
    from gradlaw.spectra.gram import gram_matrix
gradients = torch.randn(size, 61_706)
with timed("Gram matrix of a history, n = 61,706"):
    gram = gram_matrix(gradients)
"""
EIGENVALUES = """
import torch
try:
    from gradlaw.spectra.gram.tridiagonal import both_eigenvalues
except ImportError:
    from gradlaw.spectra.tridiagonal import both_eigenvalues
gradients = torch.randn(size, 2 * size, dtype=torch.float64)
gram = gradients @ gradients.T
with timed("eigenvalues of both spectra"):
    both_eigenvalues(gram)
with timed("yardstick: one eigvalsh of the same matrix"):
    torch.linalg.eigvalsh(gram)
"""
DSYRK = """
import torch
from scipy.linalg.blas import dsyrk
gradients = torch.randn(size, 61_706)
with timed("yardstick: BLAS dsyrk of the same history"):
    dsyrk(1.0, gradients.double().numpy().T, trans=1, lower=1)
"""
HESSIAN = """
import torch, gradlaw as gl
from gradlaw.zoo import LeNet
torch.manual_seed(0)
images, labels = torch.rand(size, 1, 28, 28), torch.randint(10, (size,))
problem = gl.Problem(LeNet(), torch.nn.functional.cross_entropy, (images, labels))
with timed("Hessian, a fifth as many eigenpairs as samples"):
    gl.hessian_spectrum(problem, k=size // 5)
"""
RESNET = """
import torch, gradlaw as gl
from gradlaw.zoo.resnet import ResNet18
torch.manual_seed(0)
images, labels = torch.rand(2000, 3, 32, 32), torch.randint(10, (2000,))
problem = gl.Problem(ResNet18().eval(), torch.nn.functional.cross_entropy, (images, labels))
with timed("ResNet18, B = 1: spectrum from the network"):
    gl.gradient_spectrum(problem, iterations=size, batch_size=1)
"""


@dataclass(frozen=True)
class Work:
    """A program whose last line names seconds; ``size`` is T, or of the Hessian the number of samples."""

    code: str
    size: int
    small: int
    both: bool = True  # whether by the code of before too
    repeats: int = REPEATS


WORKS = {
    "analysis": Work(ANALYSIS, 5000, 300),
    "import": Work(IMPORT, 0, 0),
    "gram": Work(GRAM, 5000, 600),
    "dsyrk": Work(DSYRK, 5000, 600, both=False),
    "eigenvalues": Work(EIGENVALUES, 5000, 600),
    "hessian": Work(HESSIAN, 500, 50),
    "resnet18": Work(RESNET, 2000, 20, repeats=1),
}
NOW, THEN = "now", "before"


def measure(before: str, names: Sequence[str] = tuple(WORKS), quick: bool = False) -> str:
    """The table of some works."""
    lines = ["| work | size | threads | before, s | now, s | ratio |", "|---|---:|---:|---:|---:|---:|"]
    for name in names:
        work = replace(WORKS[name], size=WORKS[name].small, repeats=1) if quick else WORKS[name]
        for threads in THREADS:
            best = _best(work, threads, Path(before))
            for row, now in best[NOW].items():
                then = best.get(THEN, {}).get(row)
                old = "| |" if then is None else f"| {then:.2f} |"
                ratio = "" if not then else f"{now / then:.2f}"
                lines.append(f"| {row} | {work.size or ''} | {threads} {old} {now:.2f} | {ratio} |")
    return "\n".join(lines)


def _best(work: Work, threads: int, before: Path) -> dict[str, dict[str, float]]:
    """By code and row: the least user CPU seconds."""
    best: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="gradlaw-bench-") as folder:
        for turn in range(work.repeats):
            for label, checkout in {THEN: before, NOW: ROOT}.items():
                if label == NOW or work.both:
                    for row, value in _run(work, threads, checkout, folder).items():
                        of_label = best.setdefault(label, {})
                        of_label[row] = min(value, of_label.get(row, value))
                        print(f"  {turn + 1}/{work.repeats} {threads} {row}, {label}: {value:.2f} s", file=sys.stderr)
    return best


def _run(work: Work, threads: int, checkout: Path, folder: str) -> dict[str, float]:
    environment = os.environ | {
        "PYTHONPATH": str(checkout / "src"),
        "OMP_NUM_THREADS": str(threads),
        "GRADLAW_CACHE": f"{folder}/cache",
    }
    program = _BEGIN + work.code.replace("DATA", str(DATA)) + _END
    command = [str(OWN), "-c", program, str(work.size), folder]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"{checkout}: {done.stderr[-2000:]}")
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def table() -> str:
    """The measurement in Markdown."""
    if BEFORE is None:
        sys.exit("set GRADLAW_BENCH_BEFORE to a checkout of the commit to compare with (git worktree add --detach ...)")
    return measure(BEFORE)


if __name__ == "__main__":
    given = [word for word in sys.argv[1:] if word != "--quick"]
    if given[:1] == ["--before"]:
        BEFORE, given = given[1], given[2:]
    if BEFORE is None:
        table()
    else:
        print(measure(BEFORE, given or tuple(WORKS), "--quick" in sys.argv))
