"""One analysis, or the spectrum of one Hessian, by one process, and shared by several, with one thread each.

From a problem in memory to the finished analysis, in processes that start before the clock does; the memory is the
resident memory of the rank that takes most, above what it had before. Of the times, those of the processor (of the rank
that takes most) do not depend on what else the machine does; the speed-up is their ratio. Eigenvalues are compared
relative to the largest.

python bench/ranks.py [--quick] [--mnist FOLDER]     # a decade of T, of B and of n; or LeNet on MNIST, T = 5000, B = 1
python bench/ranks.py --hessian [--quick]            # a decade of samples, of n and of k
python bench/ranks.py --spread                       # a GPT that fully_shard has spread: where memory goes
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import machine
import numpy as np
import torch
import torch.multiprocessing as mp
from torch import distributed, nn

import gradlaw as gl
from gradlaw.data import load_data
from gradlaw.zoo import GPT, MODELS, ModelSettings, next_token_loss

SAMPLES, CLASSES = 2000, 10
SPREAD_ITERATIONS = 60


@dataclass(frozen=True)
class Size:
    """Of an analysis: T, B, and the width of the hidden layers of a network of 64 inputs, None for LeNet on MNIST."""

    iterations: int
    batch_size: int
    width: int | None
    mnist: str = ""

    def problem(self) -> gl.Problem:
        """The same on every rank."""
        torch.manual_seed(0)
        if self.width is None:
            data = load_data(self.mnist, "train")
            model = ModelSettings("lenet", data.sample_shape, data.classes, 0).build()
            return gl.Problem(model, MODELS["lenet"].loss, data, name="lenet")
        layers = (nn.Linear(64, self.width), nn.Tanh(), nn.Linear(self.width, self.width), nn.Tanh())
        model = nn.Sequential(*layers, nn.Linear(self.width, CLASSES))
        data = torch.randn(SAMPLES, 64), torch.randint(CLASSES, (SAMPLES,))
        return gl.Problem(model, nn.functional.cross_entropy, data)


@dataclass(frozen=True)
class Curvature:
    """Of the spectrum of a Hessian: S, the width of the network, and how many eigenvalues."""

    samples: int
    width: int
    k: int


BASE = Size(500, 1, 70)
OF_HESSIAN = Curvature(200, 24, 10)
DECADES_OF_HESSIAN = {"S": replace(OF_HESSIAN, samples=2000), "n": replace(OF_HESSIAN, width=102),
                      "S and n": replace(OF_HESSIAN, samples=2000, width=102),
                      "k": replace(OF_HESSIAN, k=100)}  # fmt: skip
DECADES = {"T": replace(BASE, iterations=5000), "B": replace(BASE, batch_size=10), "n": replace(BASE, width=275)}


Work = Callable[[], dict[str, Any]]


def work_analysis(size: Size) -> tuple[Work, int]:
    """What is timed, and n."""
    problem = size.problem()
    gl.analyze(problem, 40, 1, k=5)  # loads what is loaded late

    def timed() -> dict[str, Any]:
        analysis = gl.analyze(problem, size.iterations, size.batch_size)
        return {"eigenvalues": analysis.spectra["covariance"].eigenvalues, "digest": _digest(analysis)}

    return timed, problem.dimensions


def work_hessian(size: Curvature) -> tuple[Work, int]:
    """What is timed, and n."""
    problem = Size(0, 1, size.width).problem()
    gl.hessian_spectrum(Size(0, 1, 4).problem(), 2, samples=100, dtype=torch.float64)

    def timed() -> dict[str, Any]:
        found = gl.hessian_spectrum(problem, size.k, samples=size.samples, dtype=torch.float64)
        return {"eigenvalues": found.eigenvalues, "products": found.products}

    return timed, problem.dimensions


def work(rank: int, ranks: int, folder: str, size: Size | Curvature) -> None:
    """One rank: time, memory and what it found."""
    torch.set_num_threads(1)
    if ranks > 1:
        distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=ranks)
    timed, dimensions = work_hessian(size) if isinstance(size, Curvature) else work_analysis(size)
    with machine.watched_memory() as rise:
        start, used = time.perf_counter(), time.process_time()
        found = timed()
        times = {"seconds": time.perf_counter() - start, "processor": time.process_time() - used}
    torch.save(found | times | {"memory": rise(), "n": dimensions}, f"{folder}/{rank}.pt")
    if ranks > 1:
        distributed.destroy_process_group()


def _digest(analysis: gl.Analysis) -> list[np.ndarray]:
    return [getattr(tests, name) for tests in analysis.tests.values() for name in ("d_ks", "is_power_law")]


def measure(size: Size | Curvature, ranks: int) -> dict[str, Any]:
    """The slowest time and the largest memory of its ranks, and what it found."""
    with tempfile.TemporaryDirectory(prefix="gradlaw-bench-") as folder:
        mp.spawn(work, args=(ranks, folder, size), nprocs=ranks)
        found = [torch.load(Path(folder, f"{rank}.pt"), weights_only=False) for rank in range(ranks)]
    return found[0] | {name: max(one[name] for one in found) for name in ("seconds", "processor", "memory")}


def row(title: str, size: Size, counts: tuple[int, ...]) -> list[str]:
    """A line a number of ranks."""
    lines, first = [], measure(size, counts[0])
    for ranks in counts:
        found = first if ranks == counts[0] else measure(size, ranks)
        off = np.abs(found["eigenvalues"] - first["eigenvalues"]).max() / first["eigenvalues"][0]
        pairs = zip(found["digest"], first["digest"], strict=True)
        moved = max(float(np.abs(a.astype(float) - b).max()) for a, b in pairs)
        times = found["seconds"], found["processor"], first["processor"] / found["processor"]
        cells = [title, f"{size.iterations:,}", size.batch_size, f"{found['n']:,}", ranks]
        cells += [f"{times[0]:.1f}", f"{times[1]:.1f}", f"{times[2]:.2f}", f"{found['memory']:.0f}"]
        cells += [f"{off:.1g}", f"{moved:.1g}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def table(counts: tuple[int, ...] = (1, 2), mnist: str = "", quick: bool = False) -> str:
    """The measurement in Markdown."""
    names = ("", "T", "B", "n", "ranks", "seconds", "of a processor", "speed-up", "memory a rank (MB)",
             "eigenvalues off by", "d_KS off by")  # fmt: skip
    head = "| " + " | ".join(names) + " |\n|---" + "|---:" * (len(names) - 1) + "|"
    if mnist:
        return "\n".join([head, *row("LeNet on MNIST", Size(5000, 1, None, mnist), counts)])
    sizes = {"base": BASE} | {f"ten times {name}": size for name, size in DECADES.items()}
    if quick:
        sizes = {name: replace(size, iterations=size.iterations // 5) for name, size in sizes.items()}
    return "\n".join([head, *(line for name, size in sizes.items() for line in row(name, size, counts))])


def hessian_table(counts: tuple[int, ...] = (1, 2), quick: bool = False) -> str:
    """The measurement of the Hessian in Markdown."""
    names = ("", "S", "n", "k", "ranks", "products", "seconds", "of a processor", "speed-up", "memory a rank (MB)",
             "eigenvalues off by")  # fmt: skip
    lines = ["| " + " | ".join(names) + " |\n|---" + "|---:" * (len(names) - 1) + "|"]
    decades = {} if quick else {f"ten times {name}": size for name, size in DECADES_OF_HESSIAN.items()}
    for title, size in ({"base": OF_HESSIAN} | decades).items():
        first = measure(size, counts[0])
        for ranks in counts:
            found = first if ranks == counts[0] else measure(size, ranks)
            off = np.abs(found["eigenvalues"] - first["eigenvalues"]).max() / first["eigenvalues"][0]
            cells = [title, f"{size.samples:,}", f"{found['n']:,}", size.k, ranks, f"{found['products']:,}"]
            cells += [f"{found['seconds']:.1f}", f"{found['processor']:.1f}"]
            cells += [f"{first['processor'] / found['processor']:.2f}", f"{found['memory']:.0f}", f"{off:.1g}"]
            lines.append("| " + " | ".join(map(str, cells)) + " |")
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def work_spread(rank: int, ranks: int, folder: str) -> None:
    """By how many times 4 n bytes the memory of a rank rises: its share of the model, the whole copy, an analysis."""
    from torch.distributed.device_mesh import init_device_mesh  # these take seconds to load
    from torch.distributed.fsdp import fully_shard

    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=ranks)
    torch.manual_seed(0)
    model = GPT(65, context=64, width=192, depth=4, heads=4)
    data = torch.randint(65, (200, 64)), torch.randint(65, (200, 64))
    for block in model.blocks:
        fully_shard(block, mesh=init_device_mesh("cpu", (ranks,)))
    fully_shard(model, mesh=init_device_mesh("cpu", (ranks,)))
    with machine.watched_memory() as gathered:
        problem = gl.Problem(model, next_token_loss, data)
    with machine.watched_memory() as analysed:
        gl.analyze(problem, SPREAD_ITERATIONS, 1, k=10, gaussian_k=20, engine="layerwise")
    size = 4e-6 * problem.dimensions
    torch.save((problem.dimensions, gathered() / size, analysed() / size), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def spread_table(ranks: int = 2) -> str:
    """The measurement of a model that is spread, in Markdown."""
    with tempfile.TemporaryDirectory(prefix="gradlaw-bench-") as folder:
        mp.spawn(work_spread, args=(ranks, folder), nprocs=ranks)
        found = [torch.load(Path(folder, f"{rank}.pt")) for rank in range(ranks)]
    n, gathered, analysed = (max(column) for column in zip(*found, strict=True))
    share = SPREAD_ITERATIONS / ranks
    names = ("n", "T", "ranks", "the whole copy", "the share of gradients, by count", "an analysis")
    head = "| " + " | ".join(names) + " |\n" + "|---:" * len(names) + "|"
    return f"{head}\n| {n:,} | {SPREAD_ITERATIONS} | {ranks} | {gathered:.1f} | {share:.0f} | {analysed:.1f} |"


if __name__ == "__main__":
    if "--spread" in sys.argv:
        print(spread_table())
        sys.exit()
    if "--hessian" in sys.argv:
        print(hessian_table(quick="--quick" in sys.argv))
        sys.exit()
    folder = sys.argv[sys.argv.index("--mnist") + 1] if "--mnist" in sys.argv else ""
    print(table(mnist=folder, quick="--quick" in sys.argv))
