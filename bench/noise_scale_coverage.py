"""How often the interval of the gradient noise scale covers the true value, by simulation.

Gradients of 64 dimensions whose noise has eigenvalues 1/k; 2,000 runs a cell (standard error 0.5%). ``parts`` of a
batch have ``samples`` each. Student t values have 4 degrees of freedom: squared norms of single samples have no
variance, and means over steps hardly ever come near it, the worst case that a noise scale has.
"""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from gradlaw.watch.noise_scale import estimates

RUNS, DIMENSIONS, GROUP = 2000, 64, 250
STEPS, PARTS, RATIOS = (20, 100, 500), (2, 4, 16), (1, 10, 100, 1000)
SAMPLES = {1: STEPS, 8: STEPS[:2]}  # samples a part: over how many steps
SPREAD = np.sqrt(np.arange(1, DIMENSIONS + 1.0) ** -1 / np.sum(np.arange(1, DIMENSIONS + 1.0) ** -1))
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
NOISE: dict[str, Draw] = {
    "Gaussian": lambda rng, shape: rng.standard_normal(shape),
    "Student t, 4 degrees": lambda rng, shape: rng.standard_t(4, shape) / np.sqrt(2),
    "lognormal": lambda rng, shape: (rng.lognormal(size=shape) - np.exp(0.5)) / np.sqrt(np.e * (np.e - 1)),
}


def covered(draw: Draw, steps: int, parts: int, samples: int, runs: int = RUNS, seed: int = 0) -> list[float]:
    """Shares of intervals of 95% that cover the truth, by ratio of trace (1) to squared mean gradient."""
    hits = []
    for first in range(0, runs, GROUP):
        rng = np.random.default_rng([seed, first, steps, parts, samples])
        norms = _norms(draw, rng, (min(GROUP, runs - first), steps, parts, samples))
        hits.append([_hits(norms, ratio, parts, samples) for ratio in RATIOS])
    return np.concatenate(hits, axis=1).mean(axis=1).tolist()


def _norms(draw: Draw, rng: np.random.Generator, shape: tuple[int, int, int, int]) -> tuple[np.ndarray, ...]:
    """Of the noise e of parts and batch: mean |e_i|^2 over the parts, |e|^2 and u e of the batch; (steps, runs)."""
    runs, steps, parts, samples = shape
    direction = np.full(DIMENSIONS, DIMENSIONS**-0.5)
    found = []
    for _ in range(steps):
        noise = (draw(rng, (runs, parts, samples, DIMENSIONS)) * SPREAD).mean(axis=2)
        whole = noise.mean(axis=1)
        found.append(((noise**2).sum(axis=2).mean(axis=1), (whole**2).sum(axis=1), whole @ direction))
    small, big, along = (np.stack(column) for column in zip(*found, strict=True))
    return small, big, along


def _hits(norms: tuple[np.ndarray, ...], ratio: float, parts: int, samples: int) -> np.ndarray:
    """The mean of parts and of the batch is sqrt(1 / ratio) in one direction."""
    small, big, along = norms
    shift = 1 / ratio + 2 * ratio**-0.5 * along
    trace = (small - big) / (1 / samples - 1 / (samples * parts))
    rows = np.stack([trace, big + shift - trace / (samples * parts)], axis=1)
    intervals = [found.interval for found in estimates(rows, level=0.95)]
    return np.array([limits is not None and limits[0] <= ratio <= limits[1] for limits in intervals])


def cells() -> Iterator[tuple[str, int, int, int]]:
    """Noise, samples a part, steps and parts of every row."""
    for name, (samples, steps) in product(NOISE, SAMPLES.items()):
        for count, parts in product(steps, PARTS):
            yield name, samples, count, parts


def table() -> str:
    """The measurement in Markdown: coverage in percent by true noise scale over samples a part."""
    lines = ["| noise | samples a part | steps | parts | " + " | ".join(f"scale {r}" for r in RATIOS) + " |"]
    lines += ["|---|" + "---:|" * (3 + len(RATIOS))]
    for name, samples, steps, parts in cells():
        shares = covered(NOISE[name], steps, parts, samples)
        lines.append(
            f"| {name} | {samples} | {steps} | {parts} | " + " | ".join(f"{100 * s:.1f}" for s in shares) + " |"
        )
        print(lines[-1], flush=True)
    return "\n".join(lines)
