"""Spectra from sketches beside those of the gradients themselves, along training.

Windows of 64 gradients, 50 sketches of each size m: LeNet on MNIST (SGD, batches of 32) and a GPT of 0.8 million
parameters on tiny Shakespeare (AdamW, batches of 16 windows of 64 characters), at the start of training and after 500
steps, and independent Gaussian numbers, n = 90,000, whose eigenvalues are all but alike.
*Stated* is the relative error that comes with a spectrum, *largest* the largest that any of its 63 eigenvalues has,
medians over the sketches; *covered* the share of sketches whose stated error holds for all of them. *s* is the Zipf
exponent of the 21 largest eigenvalues: of the gradients, of the sketch as it is, and corrected, with standard
deviations over sketches. *Overlap* is that of the 5 leading eigenvectors of the two halves of the window, with the root
mean square error of the sketches. The folder GRADLAW_TEST_DATA has ``mnist`` and ``tinyshakespeare``.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import gradlaw as gl
from gradlaw.spectra import gradient_eigenvectors, gradient_spectrum, subspace_overlap
from gradlaw.spectra.sketch import GradientSketch, sketched_overlap, sketched_spectrum
from gradlaw.stats import fit_power_law
from gradlaw.zoo.gpt import GPT, next_token_loss
from gradlaw.zoo.lenet import LeNet

WINDOW, LATER, SKETCHES, SIZES, VECTORS = 64, 500, 50, (2048, 4096, 8192, 16384), 5
TAIL = WINDOW // 3


def windows() -> Iterator[tuple[str, Tensor]]:
    """Name and gradients (T, n) of each."""
    yield "Gaussian", torch.randn(WINDOW, 90_000, generator=torch.Generator().manual_seed(0))
    folder = Path(os.environ["GRADLAW_TEST_DATA"])
    torch.manual_seed(0)
    lenet, images = LeNet(channels=1, classes=10), gl.load_data(str(folder / "mnist"))
    optimizer = torch.optim.SGD(lenet.parameters(), lr=0.05)
    yield from _along("LeNet", lenet, nn.functional.cross_entropy, images, 32, optimizer)
    text = gl.load_text(folder / "tinyshakespeare")
    gpt = GPT(len(text.source.classes), width=128)
    yield from _along("GPT", gpt, next_token_loss, text, 16, torch.optim.AdamW(gpt.parameters(), lr=1e-3))


def _along(
    name: str, model: nn.Module, loss: object, data: object, batch: int, optimizer: torch.optim.Optimizer
) -> Iterator[tuple[str, Tensor]]:
    rng, rows = np.random.default_rng(0), []
    for step in range(LATER + WINDOW):
        chosen = torch.from_numpy(rng.integers(len(data.inputs), size=batch))
        optimizer.zero_grad()
        loss(model(data.inputs[chosen]), data.targets[chosen]).backward()
        if step < WINDOW or step >= LATER:
            rows.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
        optimizer.step()
        if len(rows) == WINDOW:
            yield f"{name}, steps {step + 1 - WINDOW} to {step}", torch.stack(rows)
            rows = []


def row(name: str, gradients: Tensor, size: int) -> str:
    """One line of the table."""
    exact = gradient_spectrum(gradients).eigenvalues[: WINDOW - 1]
    halves = gradients[: WINDOW // 2], gradients[WINDOW // 2 :]
    overlap = subspace_overlap(*(gradient_eigenvectors(half, VECTORS) for half in halves)).overlaps[-1]
    found = [_sketched(gradients, size, seed, exact) for seed in range(SKETCHES)]
    stated, largest, covered, s, corrected, overlaps = map(np.array, zip(*found, strict=True))
    error = np.sqrt(np.mean((overlaps - overlap) ** 2))
    return (
        f"| {name} | {size} | {np.median(stated):.3f} | {np.median(largest):.3f} | {100 * covered.mean():.0f}% | "
        f"{fit_power_law(exact, TAIL).s:.3f} | {s.mean():.3f} ± {s.std():.3f} | {corrected.mean():.3f} ± "
        f"{corrected.std():.3f} | {overlap:.3f} | {error:.3f} |"
    )


def _sketched(gradients: Tensor, size: int, seed: int, exact: np.ndarray) -> tuple[float, ...]:
    sketch = GradientSketch([gradients.shape[1]], size, seed)
    rows = torch.stack([sketch.of([gradient]) for gradient in gradients])
    found = sketched_spectrum(rows, gradients.shape[1])
    values = found.spectrum.eigenvalues[: WINDOW - 1]
    covered = ((found.lower[: WINDOW - 1] <= exact) & (exact <= found.upper[: WINDOW - 1])).all()
    overlap = sketched_overlap(rows[: WINDOW // 2], rows[WINDOW // 2 :], VECTORS)[-1]
    fits = [fit_power_law(v, TAIL).s for v in (values, found.corrected[: WINDOW - 1])]
    return found.relative_error, np.abs(values / exact - 1).max(), covered, *fits, overlap


def table() -> str:
    """The measurement in Markdown."""
    lines = [
        "| gradients | m | stated | largest | covered | s | s sketched | s corrected | overlap | its error |",
        "|---|" + "---:|" * 9,
    ]
    for name, gradients in windows():
        for size in SIZES:
            lines.append(row(name, gradients, size))
            print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    table()
