"""How often the intervals of approximate spectra cover, where the exact spectrum is known too.

The covariance of T gradients, sketched by 8 blocks to m numbers with other seeds in each draw: draws from a population
with eigenvalues r^-s and a random basis (n = 20,000, or 8,000 where T is above m); LeNet on MNIST at random parameters,
B = 1; and the FCN of the paper on MNIST, B = 10. Where T is above m the m x m second moment is streamed, and the T x m
sketches are never there at once. *covered*: of the intervals of 95% of the k largest eigenvalues (mean over ranks and
draws), of the exponent s and of the KS distance; *half width* of an eigenvalue's interval, relative; *error*: root mean
square of what is stated for s and d_KS. *not told*: the sketch is too small, and says so itself; coverage of s and d_KS
is that of draws in which they are told. The standard error of a coverage of 95% over 40 draws is 3.4%.

python bench/sketch_coverage.py FOLDER     # MNIST is in FOLDER/mnist; writes bench/sketch_coverage.csv, prints it
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn

import gradlaw as gl
from gradlaw.spectra.approximate import SketchedMoment, approximate_spectrum
from gradlaw.spectra.gradient import gradient_spectrum
from gradlaw.spectra.sketch import GradientSketch
from gradlaw.stats import fit_power_law
from gradlaw.zoo.fcn import FCN
from gradlaw.zoo.lenet import LeNet

DRAWS, BLOCKS, STEP = 40, 8, 256
KEPT = Path(__file__).with_suffix(".csv")
COLUMNS = ("gradients", "T", "n", "m", "k", "draws", "told", "covered_eigenvalues", "half_width", "s", "s_found",
           "s_error", "covered_s", "d_ks", "d_ks_found", "d_ks_error", "covered_d_ks")  # fmt: skip


def population(s: float, iterations: int, dimensions: int) -> Tensor:
    """Draws (T, n) of a population with eigenvalues r^-s, in a basis that is not that of the coordinates."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((iterations, dimensions)) * np.arange(1, dimensions + 1) ** (-s / 2)
    signs = rng.choice([-1.0, 1.0], size=dimensions)
    return torch.from_numpy(dct(rows * signs, axis=1, norm="ortho")).float()


def network(name: str, folder: str, iterations: int) -> Tensor:
    """Gradients (T, n) at random parameters."""
    torch.manual_seed(0)
    images = gl.load_data(f"{folder}/mnist")
    model, batch = (LeNet(channels=1, classes=10), 1) if name == "LeNet" else (FCN(784, 10), 10)
    problem = gl.Problem(model, nn.functional.cross_entropy, images)
    return gl.collect(problem, iterations, batch, store="memory").gradients


def cases(folder: str) -> Iterator[tuple[str, int, list[tuple[int, int]], object]]:
    """Name, T, pairs of m and k, and what makes the gradients."""
    for s in (0.7, 1.2, 1.5):
        yield f"power law, s = {s}", 300, [(1024, 100), (4096, 100)], lambda s=s: population(s, 300, 20_000)
    yield "power law, s = 1.2", 2000, [(512, 50)], lambda: population(1.2, 2000, 8_000)
    for name in ("LeNet", "FCN"):
        yield name, 300, [(1024, 100), (4096, 100)], lambda name=name: network(name, folder, 300)
        yield name, 1000, [(256, 30), (512, 60), (512, 30)], lambda name=name: network(name, folder, 1000)


def sketched(gradients: Tensor, size: int, seed: int) -> Tensor | SketchedMoment:
    """All sketches, or their moment where there are more than m."""
    sketch = GradientSketch([gradients.shape[1]], size, seed, BLOCKS)
    if len(gradients) <= size:
        return torch.stack([sketch.of([gradient]) for gradient in gradients])
    moment = SketchedMoment(size, BLOCKS)
    for chunk in gradients.split(STEP):
        moment.add(torch.stack([sketch.of([gradient]) for gradient in chunk]))
    return moment


def row(name: str, gradients: Tensor, exact: np.ndarray, size: int, k: int) -> dict[str, object]:
    """One line of the table."""
    fit, inside, found, told = fit_power_law(exact[:k], k), [], [], []
    for seed in range(DRAWS):
        spectrum = approximate_spectrum(sketched(gradients, size, seed), gradients.shape[1], BLOCKS, k=k)
        pairs = ((fit.s, spectrum.s_interval), (fit.d_ks, spectrum.d_ks_interval))
        of_values = np.mean((spectrum.lower <= exact[:k]) & (exact[:k] <= spectrum.upper))
        inside.append([of_values, *(low <= value <= high for value, (low, high) in pairs)])
        found.append([spectrum.s, spectrum.d_ks, spectrum.half_width])
        told.append(spectrum.is_told)
    covered, (s, d_ks, width) = np.mean(inside, axis=0), np.transpose(found)
    if any(told):
        covered[1:] = np.mean(np.array(inside)[told], axis=0)[1:]
    error = [float(np.sqrt(np.mean((values - right) ** 2))) for values, right in ((s, fit.s), (d_ks, fit.d_ks))]
    values = (name, *gradients.shape, size, k, DRAWS, np.mean(told), covered[0], np.median(width), fit.s, s.mean(),
              error[0], covered[1], fit.d_ks, d_ks.mean(), error[1], covered[2])  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def measure(folder: str) -> None:
    """Add to the file what it has not."""
    known = read()
    for name, iterations, pairs, make in cases(folder):
        there = {(line["gradients"], line["T"], line["m"], line["k"]) for line in known}
        missing = [(m, k) for m, k in pairs if (name, str(iterations), str(m), str(k)) not in there]
        if not missing:
            continue
        gradients = make()
        exact = gradient_spectrum(gradients).eigenvalues
        for size, k in missing:
            line = row(name, gradients, exact, size, k)
            with KEPT.open("a", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                if not file.tell():
                    writer.writeheader()
                writer.writerow({key: f"{v:.5g}" if isinstance(v, float) else v for key, v in line.items()})


def read() -> list[dict[str, str]]:
    """What has been measured."""
    if not KEPT.exists():
        return []
    with KEPT.open(newline="") as file:
        return list(csv.DictReader(file))


def table() -> str:
    """The measurement in Markdown."""
    lines = [
        "| gradients | T | n | m | k | eigenvalues covered | half width | s | found | error | covered | d_KS | found | "
        "error | covered |",
        "|---|" + "---:|" * 14,
    ]
    for r in read():
        whole = [f"{int(r[name]):,}" for name in ("T", "n", "m", "k")]
        if float(r["told"]) == 0:
            r |= {"covered_s": "nan", "covered_d_ks": "nan"}
        of_s = [f"{float(r[name]):.3f}" for name in ("s", "s_found", "s_error")]
        of_d = [f"{float(r[name]):.3f}" for name in ("d_ks", "d_ks_found", "d_ks_error")]
        covered = [
            f"{float(r[name]):.0%}" for name in ("covered_eigenvalues", "half_width", "covered_s", "covered_d_ks")
        ]
        cells = [r["gradients"], *whole, *covered[:2], *of_s, covered[2], *of_d, covered[3]]
        lines.append(f"| {' | '.join(cells)} |".replace("nan%", "not told"))
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure(sys.argv[1])
    print(table())
