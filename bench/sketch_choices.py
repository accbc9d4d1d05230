"""Which sketch: projections of gradients by error and time, and ways to stream their second moment in one memory.

**Projections** to m = 1,024 numbers, of 32 gradients each: LeNet on MNIST at random parameters, B = 1, padded with
zeros to a power of two for the Hadamard transform (n = 65,536), and Gaussian numbers of as many dimensions. *error* is
the norm of the Gram matrix's error, relative to its norm, times sqrt(m): 20 seeds, root mean square. *one lane*: the
same of gradients of which every 32nd number alone is not zero, the worst for hashing rows of 32. *ms* of a processor
per million numbers, the least of five, of a dense vector of 2^20. SRHT: subsampled randomized Hadamard transform
(Ailon and Chazelle 2006); sparse JL: eight nonzeros a column, each number hashed by itself (Kane and Nelson 2014); row
hashing is what gradlaw has, with two blocks (the watch) and with eight (collections).

**Streams**: 1,000 gradients of a population with eigenvalues r^-s in 4,000 dimensions, one pass, about the same number
of float64 numbers held: the second moment of m = 512 sketched numbers (m^2); block Nystrom (Tropp and others 2017)
with l random directions (2 n l); frequent directions (Ghashami and others 2016) with l rows (2 l n). Error of the 20
largest eigenvalues of the second moment, relative, in the median and at most; medians over 3 seeds.

python bench/sketch_choices.py FOLDER     # MNIST is in FOLDER/mnist; prints the tables
"""

import math
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from sketch_coverage import network, population
from torch import Tensor

from gradlaw.spectra.approximate import SketchedMoment
from gradlaw.spectra.sketch import GradientSketch

SIZE, GRADIENTS, SEEDS, TIMED = 1024, 32, 20, 2**20
LEADING, HELD = 20, 512**2
Sketch = Callable[[Tensor], Tensor]


def row_hashing(blocks: int) -> Callable[[int, int], Sketch]:
    """What gradlaw has."""

    def make(dimensions: int, seed: int) -> Sketch:
        sketch = GradientSketch([dimensions], SIZE, seed, blocks)
        return lambda gradient: sketch.of([gradient]) / math.sqrt(blocks)

    return make


def sparse(dimensions: int, seed: int) -> Sketch:
    """Eight blocks, in each of which every number has a place and a sign of its own."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(SIZE // 8, (8, dimensions), generator=generator)
    signs = torch.randint(2, (8, dimensions), generator=generator, dtype=torch.float32) * 2 - 1

    def of(gradient: Tensor) -> Tensor:
        result = torch.zeros(8, SIZE // 8)
        for block in range(8):
            result[block].index_add_(0, places[block], gradient * signs[block])
        return result.flatten() / math.sqrt(8)

    return of


def srht(dimensions: int, seed: int) -> Sketch:
    """Random signs, a Hadamard transform, some of its numbers."""
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(2, (dimensions,), generator=generator, dtype=torch.float32) * 2 - 1
    kept = torch.randperm(dimensions, generator=generator)[:SIZE]

    def of(gradient: Tensor) -> Tensor:
        values, half = gradient * signs, 1
        while half < dimensions:
            pairs = values.view(-1, 2, half)
            values = torch.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], dim=1).flatten()
            half *= 2
        return values[kept] / math.sqrt(SIZE)

    return of


def gaussian(dimensions: int, seed: int) -> Sketch:
    """A dense matrix of independent numbers, a column at a time; the reference for the error alone."""
    generator = torch.Generator().manual_seed(1000 + seed)  # not that of the gradients
    matrix = torch.randn(SIZE, dimensions, generator=generator)
    return lambda gradient: matrix @ gradient / math.sqrt(SIZE)


KINDS = {
    "row hashing, 2 blocks": row_hashing(2),
    "row hashing, 8 blocks": row_hashing(8),
    "sparse JL, 8 nonzeros": sparse,
    "SRHT": srht,
    "dense Gaussian": gaussian,
}


def error(gradients: Tensor, make: Callable[[int, int], Sketch], seeds: int) -> float:
    """Of the Gram matrix, times sqrt(m)."""
    gram, found = gradients.double() @ gradients.double().T, []
    for seed in range(seeds):
        sketch = make(gradients.shape[1], seed)
        rows = torch.stack([sketch(gradient) for gradient in gradients]).double()
        found.append(float(torch.linalg.norm(rows @ rows.T - gram) / torch.linalg.norm(gram)))
    return math.sqrt(SIZE * np.mean(np.square(found)))


def milliseconds(make: Callable[[int, int], Sketch]) -> float:
    """Processor time of one sketch of a million numbers."""
    sketch, gradient, found = make(TIMED, 0), torch.randn(TIMED), []
    for _ in range(5):
        start = time.process_time()
        sketch(gradient)
        found.append(time.process_time() - start)
    return min(found) * 1e3 / TIMED * 1e6


def projections(folder: str) -> str:
    """The first table."""
    lenet = network("LeNet", folder, GRADIENTS)
    padded = torch.zeros(GRADIENTS, 2 ** math.ceil(math.log2(lenet.shape[1])))
    padded[:, : lenet.shape[1]] = lenet
    noise = torch.randn(padded.shape, generator=torch.Generator().manual_seed(0))
    lane = noise * (torch.arange(padded.shape[1]) % 32 == 0)
    lines = ["| sketch | LeNet | Gaussian | one lane | ms per million |", "|---|---:|---:|---:|---:|"]
    for name, make in KINDS.items():
        seeds = 5 if make is gaussian else SEEDS
        errors = " | ".join(f"{error(gradients, make, seeds):.2f}" for gradients in (padded, noise, lane))
        timed = "-" if make is gaussian else f"{milliseconds(make):.1f}"
        lines.append(f"| {name} | {errors} | {timed} |")
    return "\n".join(lines)


def of_moment(gradients: Tensor, seed: int) -> np.ndarray:
    """The second moment of sketches of 512 numbers."""
    size = math.isqrt(HELD)
    sketch, moment = GradientSketch([gradients.shape[1]], size, seed, 8), SketchedMoment(size, 8)
    for gradient in gradients:
        moment.add(sketch.of([gradient]))
    return torch.linalg.eigvalsh(moment.moment / moment.iterations / 8).flip(0).numpy()


def nystrom(gradients: Tensor, seed: int) -> np.ndarray:
    """Y = C Omega, in one pass; then the eigenvalues of Y (Omega^T Y)^+ Y^T."""
    dimensions = gradients.shape[1]
    directions = torch.randn(
        dimensions, HELD // (2 * dimensions), generator=torch.Generator().manual_seed(seed)
    ).double()
    directions = torch.linalg.qr(directions)[0]
    product = torch.zeros_like(directions)
    for gradient in gradients.double():
        product.addr_(gradient, directions.T @ gradient)
    product /= len(gradients)
    shift = 1e-12 * torch.linalg.norm(product)
    shifted = product + shift * directions
    factor = torch.linalg.cholesky(directions.T @ shifted)
    root = torch.linalg.solve_triangular(factor, shifted.T, upper=False)
    return (torch.linalg.svdvals(root).square() - shift).clamp_min(0).numpy()


def frequent_directions(gradients: Tensor, seed: int) -> np.ndarray:
    """Rows that are shrunk when there are 2 l of them; half of what was taken off is given back."""
    rows = HELD // (2 * gradients.shape[1])
    kept, taken = torch.zeros(0, gradients.shape[1], dtype=torch.float64), 0.0
    order = torch.randperm(len(gradients), generator=torch.Generator().manual_seed(seed))
    for some in gradients.double()[order].split(rows):
        _, values, vectors = torch.linalg.svd(torch.cat([kept, some]), full_matrices=False)
        cut = float(values[rows].square()) if len(values) > rows else 0.0
        taken += cut
        kept = (values[:rows].square() - cut).clamp_min(0).sqrt()[:, None] * vectors[:rows]
    return ((torch.linalg.svdvals(kept).square() + taken / 2) / len(gradients)).numpy()


STREAMS = {"moment of sketches": of_moment, "block Nystrom": nystrom, "frequent directions": frequent_directions}


def streams() -> str:
    """The second table."""
    lines = ["| s | way | median error | largest |", "|---:|---|---:|---:|"]
    for s in (0.7, 1.0, 1.3):
        gradients = population(s, 1000, 4000)
        wide = gradients.double()
        exact = torch.linalg.eigvalsh(wide @ wide.T / len(wide)).flip(0)[:LEADING].numpy()
        for name, way in STREAMS.items():
            off = np.array([np.abs(way(gradients, seed)[:LEADING] / exact - 1) for seed in range(3)])
            lines.append(f"| {s} | {name} | {np.median(off):.1%} | {np.median(off.max(axis=1)):.1%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(projections(sys.argv[1]), flush=True)
    print(streams())
