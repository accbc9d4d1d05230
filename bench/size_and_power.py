"""How often the two verdicts accept: true power laws (size) and tails that are none (power).

Each cell is the share of accepted samples among 10,000 (standard error
below 0.5%). For the size, K values are drawn from a Pareto law with
the Zipf exponent s. For the power, 5,000 values are drawn and the K largest magnitudes tested, as in an analysis.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from gradlaw.stats import fit_power_law_rows

SAMPLES, STEP, LENGTH = 10_000, 500, 5000
Tail = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
SIZES = (50, 200, 1000)
EXPONENTS = (0.2, 0.5, 1.0, 2.0, 5.0)
TAILS: dict[str, Tail] = {
    "lognormal (any sigma)": lambda rng, shape: rng.lognormal(size=shape),
    "stretched exponential, shape 1/2": lambda rng, shape: rng.weibull(0.5, shape),
    "exponential": lambda rng, shape: rng.standard_exponential(shape),
    "Gaussian": lambda rng, shape: rng.standard_normal(shape),
    "Student t, 5 degrees": lambda rng, shape: rng.standard_t(5, shape),
    "Student t, 2 degrees": lambda rng, shape: rng.standard_t(2, shape),
    "Cauchy (Student t, 1 degree)": lambda rng, shape: rng.standard_t(1, shape),
}


def accepted(draw: Callable[[int], np.ndarray], k: int) -> tuple[float, float]:
    """Shares accepted by the published and by the calibrated verdict."""
    published = calibrated = 0
    for start in range(0, SAMPLES, STEP):
        fits = fit_power_law_rows(draw(start), k)
        published += fits.is_power_law.sum()
        calibrated += fits.is_power_law_calibrated.sum()
    return published / SAMPLES, calibrated / SAMPLES


def table() -> str:
    """The measurement in Markdown: published / calibrated."""
    lines = ["| sample | " + " | ".join(f"K = {k}" for k in SIZES) + " |", "|---|" + "---:|" * len(SIZES)]
    lines += [_row(f"power law, s = {s}", partial(_pareto, s)) for s in EXPONENTS]
    lines += [_row(name, partial(_largest_of, tail)) for name, tail in TAILS.items()]
    return "\n".join(lines)


def _pareto(s: float, k: int, start: int) -> np.ndarray:
    """Twice as many values as are used: lambda_min is a value of the sample, as in an analysis."""
    return np.random.default_rng([k, start, round(10 * s)]).random((STEP, 2 * k)) ** -s


def _largest_of(tail: Tail, k: int, start: int) -> np.ndarray:
    return tail(np.random.default_rng([k, start, 1]), (STEP, LENGTH))


def _row(name: str, draw: Callable[[int, int], np.ndarray]) -> str:
    cells = []
    for k in SIZES:
        published, calibrated = accepted(partial(draw, k), k)
        cells.append(f"{100 * published:.1f}% / {100 * calibrated:.1f}%")
    return f"| {name} | " + " | ".join(cells) + " |"
