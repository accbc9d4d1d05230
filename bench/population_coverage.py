"""How often the interval of a population's exponent covers the true one, by simulation.

Draws of T gradients in n dimensions with eigenvalues r^-s, as many as the row says (standard error of a coverage of
95%: 1.0% of 500). *Found* is the mean of the estimates with their standard deviation, *stated* the mean standard error,
*sample* the exponent that the sample spectrum itself shows (maximum likelihood over the eigenvalues in use). *Rejected*
is how often the power law is rejected at 5% though it is right. *Sizes*: lengths of the draws, lognormal, by the
standard deviation of their logarithm: gradients of single samples are some of them much longer than others. *t*:
degrees of freedom of Student t coordinates, Gaussian ones where there is a dash.

python bench/population_coverage.py [CSV]     # rows that the file has are not drawn again
"""

import sys
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch

from gradlaw.spectra.population.draws import drawn_gram
from gradlaw.spectra.population.population import population_of_gram
from gradlaw.stats import fit_power_law


@dataclass(frozen=True)
class Cell:
    """A row: what is drawn, and how often."""

    iterations: int
    dimensions: int
    s: float
    outliers: int = 0
    sizes: float = 0.0
    freedom: float = np.inf
    draws: int = 500


CELLS = (
    *(Cell(100, 1200, s) for s in (0.3, 1.0, 2.0)),
    Cell(100, 1200, 1.0, sizes=0.6),
    Cell(100, 1200, 1.0, sizes=0.3, draws=150),
)
HEAD = "T,n,s,outliers,sizes,freedom,draws,found,deviation,stated,sample,covered,rejected"


def measured(cell: Cell) -> list[float]:
    """The figures of a row."""
    eigenvalues = np.arange(1, cell.dimensions + 1.0) ** -cell.s
    eigenvalues[: cell.outliers] *= 20
    rows = []
    for seed in range(cell.draws):
        sizes = np.random.default_rng([seed, 1]).standard_normal(cell.iterations) * cell.sizes
        freedom = cell.freedom if np.isfinite(cell.freedom) else None
        gram = drawn_gram(eigenvalues, cell.iterations, seed, sizes=np.exp(sizes), freedom=freedom)
        found = population_of_gram(gram, cell.dimensions, broken=False)
        law, used = found.power_law, found.sample[found.outliers : found.last]
        low, high = law.interval("s")
        sample = fit_power_law(used, len(used)).s
        rows.append((law.s, np.sqrt(law.covariance[1, 1]), sample, low <= cell.s <= high, law.p_value < 0.05))
    s, stated, sample, covered, rejected = np.array(rows, dtype=float).T
    return [s.mean(), s.std(), stated.mean(), sample.mean(), covered.mean(), rejected.mean()]


def run(path: Path) -> None:
    """Draw what the file does not have yet, a row at a time."""
    lines = path.read_text().splitlines() if path.exists() else [HEAD]
    done = {line.rpartition(",")[0].rsplit(",", 5)[0] for line in lines}
    for cell in CELLS:
        key = ",".join(f"{value:g}" for value in astuple(cell))
        if key in done:
            continue
        lines.append(key + "," + ",".join(f"{value:.5g}" for value in measured(cell)))
        path.write_text("\n".join(lines) + "\n")
        print(lines[-1], flush=True)


def table(path: Path) -> str:
    """The rows of a file in Markdown."""
    lines = [
        "| T | n | s | outliers | sizes | t | draws | found | stated | sample | covered | rejected |",
        "|" + "---:|" * 12,
    ]
    for line in path.read_text().splitlines()[1:]:
        *key, found, deviation, stated, sample, covered, rejected = line.split(",")
        shown = [*key, f"{float(found):.3f} ± {float(deviation):.3f}", f"{float(stated):.3f}", f"{float(sample):.2f}"]
        shown += [f"{100 * float(share):.1f}%" for share in (covered, rejected)]
        lines.append("| " + " | ".join("-" if cell == "inf" else cell for cell in shown) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    results = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("population_coverage.csv")
    run(results)
    print(table(results))
