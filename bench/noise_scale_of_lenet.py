"""How often the interval of the gradient noise scale covers the true value, with real gradients.

The population are the gradients of 2,000 images of MNIST at a LeNet, random and after 500 steps of SGD: true values are
exact, and batches are drawn from them with replacement, 2,000 runs a cell (standard error 0.5%). The folder
GRADLAW_TEST_DATA has ``mnist``.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import gradlaw as gl
from gradlaw.spectra.access import gradients_of
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.watch.noise_scale import estimates
from gradlaw.zoo.lenet import LeNet

RUNS, POPULATION, TRAINED = 2000, 2000, 500
STEPS = (20, 100)
PARTS = ((16, 1), (4, 4), (2, 16))  # parts of a batch, and samples in each


def grams() -> dict[str, np.ndarray]:
    """Inner products of the gradients of all samples, by name of the point."""
    torch.manual_seed(0)
    images = gl.load_data(str(Path(os.environ["GRADLAW_TEST_DATA"]) / "mnist"))
    model, rng, found = LeNet(channels=1, classes=10), np.random.default_rng(0), {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    found["random"] = _gram(model, images)
    for _ in range(TRAINED):
        chosen = torch.from_numpy(rng.integers(len(images.inputs), size=32))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images.inputs[chosen]), images.targets[chosen]).backward()
        optimizer.step()
    found["trained"] = _gram(model, images)
    return found


def _gram(model: nn.Module, images: Any) -> np.ndarray:
    samples = images.inputs[:POPULATION], images.targets[:POPULATION]
    problem = gl.Problem(model, nn.functional.cross_entropy, samples)
    return gram_matrix(gradients_of(gl.collect(problem, iterations=POPULATION, batch_size=1))).numpy()


def covered(gram: np.ndarray, steps: int, parts: int, samples: int) -> float:
    """The share of the intervals of 95% that cover the ratio of the population."""
    signal = gram.mean()
    truth = (np.diagonal(gram).mean() - signal) / signal
    rng, rows = np.random.default_rng([steps, parts, samples]), []
    for _ in range(steps):
        chosen = rng.integers(len(gram), size=(RUNS, parts, samples))
        small = gram[chosen[..., :, None], chosen[..., None, :]].mean(axis=(2, 3)).mean(axis=1)
        batch = chosen.reshape(RUNS, -1)
        big = np.array([gram[np.ix_(one, one)].mean() for one in batch])
        trace = (small - big) / (1 / samples - 1 / (samples * parts))
        rows.append([trace, big - trace / (samples * parts)])
    intervals = [found.interval or (np.inf, np.inf) for found in estimates(np.array(rows), level=0.95)]
    return float(np.mean([low <= truth <= high for low, high in intervals]))


def table() -> str:
    """The measurement in Markdown."""
    lines = ["| LeNet | noise scale | steps | " + " | ".join(f"{p} parts of {b}" for p, b in PARTS) + " |"]
    lines += ["|---|" + "---:|" * (2 + len(PARTS))]
    for name, gram in grams().items():
        scale = np.diagonal(gram).mean() / gram.mean() - 1
        for steps in STEPS:
            shares = [100 * covered(gram, steps, parts, samples) for parts, samples in PARTS]
            lines.append(f"| {name} | {scale:.0f} | {steps} | " + " | ".join(f"{share:.1f}" for share in shares) + " |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    table()
