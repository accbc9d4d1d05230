"""Tail statistics of many series: gradlaw against powerlaw 1.5 and 2.0.0, SciPy loops and plain torch.

All on one matrix of the size of a LeNet history: 5,000 iterations of 61,706 float32 values, simulated with the marks of
real ones (scales over four decades, Student noise, dimensions that are mostly or always zero). K = 1000.
"""

import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from machine import best_of, extra_memory
from scipy import stats

import gradlaw as gl

ITERATIONS, DIMENSIONS, K = 5000, 61_706, 1000
PEER_SERIES = 60  # of which the time is scaled up to all
ROOT = Path(__file__).parents[1]
PEERS = {name: ROOT / f".venv-bench/powerlaw-{name}/bin/python" for name in ("1.5", "2.0.0")}


def simulated_history() -> torch.Tensor:
    """A (T, n) matrix: Student t noise of 4 degrees of freedom, lognormal scales, a third of the dimensions sparse."""
    generator = torch.Generator().manual_seed(0)
    matrix = torch.empty(ITERATIONS, DIMENSIONS)
    scale = torch.exp(2 * torch.randn(DIMENSIONS, generator=generator))
    alive = torch.where(torch.rand(DIMENSIONS, generator=generator) < 0.33, 0.1, 1.0)
    for rows in matrix.split(250):
        normal = torch.randn(rows.shape, generator=generator)
        chi2 = torch.randn(rows.shape[0], 4, 1, generator=generator).square().sum(dim=1)
        rows.copy_(normal / (chi2 / 4).sqrt() * scale)
        rows.mul_(torch.rand(rows.shape, generator=generator) < alive)
    return matrix


def topk_alone(matrix: torch.Tensor) -> None:
    """The selection that any implementation in torch has to make."""
    for block in matrix.split(3000, dim=1):
        block.T.abs().topk(K, dim=1)


def naive_torch(matrix: torch.Tensor) -> None:
    """The formulas written down in torch, block by block."""
    for block in matrix.split(3000, dim=1):
        tail = block.T.abs().topk(K, dim=1).values.double().flip(1)
        logs = (tail / tail[:, :1]).log()
        cdf = -torch.expm1(-(K / logs.sum(dim=1, keepdim=True)) * logs)
        rank = torch.arange(1, K + 1) / K
        torch.maximum((rank - cdf).amax(dim=1), (cdf - rank + 1 / K).amax(dim=1))


def scipy_loop(series: np.ndarray) -> None:
    for values in series:
        tail = np.sort(np.abs(values.astype(np.float64)))[-K:]
        beta = 1 + K / np.log(tail / tail[0]).sum()
        stats.kstest(tail, stats.pareto(b=beta - 1, scale=tail[0]).cdf)
        stats.normaltest(values[:100])


def powerlaw_loop(python: Path, series: np.ndarray) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "series.npy", series)
        command = [python, Path(__file__).parent / "peers/powerlaw_fits.py", Path(folder) / "series.npy", str(K)]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure() -> list[tuple[str, float, str]]:
    """(what, seconds for all series, remark) of each contender."""
    matrix = simulated_history()
    alive = (matrix[:, :2000] != 0).sum(dim=0) >= K
    some = matrix[:, :2000][:, alive][:, :PEER_SERIES].T.contiguous().numpy()
    scale = DIMENSIONS / len(some)
    rows: list[tuple[str, float, str]] = []

    def columns() -> object:
        return gl.gradient_tests(matrix, "iteration", k=K)

    rows.append(("read the matrix once", best_of(3, matrix.sum), "floor"))
    rows.append(("torch.topk alone, iteration-wise", best_of(2, lambda: topk_alone(matrix)), "floor of torch"))
    memory = extra_memory(columns)
    rows.append(
        ("gradlaw, iteration-wise: power law and Gaussian", best_of(3, columns), f"{memory:.0f} MB of extra memory")
    )
    by_row = best_of(3, lambda: gl.gradient_tests(matrix, "dimension", k=K))
    rows.append(("gradlaw, dimension-wise: power law and Gaussian", by_row, ""))
    rows.append(("plain torch, iteration-wise: power law alone", best_of(2, lambda: naive_torch(matrix)), ""))
    start = time.perf_counter()
    scipy_loop(some)
    spent = (time.perf_counter() - start) * scale
    rows.append(("SciPy loop: power law and Gaussian", spent, f"scaled up from {len(some)} series"))
    ours = gl.fit_power_law_rows(some, K)
    for name, python in PEERS.items():
        theirs = powerlaw_loop(python, some)
        off = np.abs(ours.beta - theirs["alpha"]).max()
        remark = f"scaled up from {len(some)} series; largest difference of the exponent {off:.2g}"
        rows.append((f"powerlaw {name}: power law alone", theirs["seconds"] * scale, remark))
    return rows


def table() -> str:
    """The measurement in Markdown, with ratios to gradlaw."""
    rows = measure()
    own = next(seconds for what, seconds, _ in rows if what.startswith("gradlaw, iteration"))
    lines = ["| work on 61,706 x 5,000 values | seconds | ratio to gradlaw | remark |", "|---|---:|---:|---|"]
    lines += [f"| {what} | {seconds:.2f} | {seconds / own:.2f} | {remark} |" for what, seconds, remark in rows]
    return "\n".join(lines)
