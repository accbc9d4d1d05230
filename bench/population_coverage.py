"""How often the interval of a population's exponent covers the true one, by simulation.

Draws of T gradients in n dimensions with eigenvalues r^-s, from rank *break* on falling as r^-below, as many as the row
says (standard error of a coverage of 95%: 1.0% of 500). *Found* is the mean of the estimates with their standard
deviation, *stated* the mean standard error, *sample* the exponent that the sample spectrum itself shows (maximum
likelihood over the eigenvalues in use). *Covered* is by intervals of 95% of s, of the exponent below the break and of
its rank. *Rejected* is how often the right law is rejected at 5%. *Sizes*: lengths of the draws, lognormal, by the
standard deviation of their logarithm: gradients of single samples are some of them much longer than others. *t*:
degrees of freedom of Student t coordinates, Gaussian ones where there is a dash. *Outliers*: leading eigenvalues that
are 20 times as large.

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
    below: float = np.nan
    at: float = np.nan
    outliers: int = 0
    sizes: float = 0.0
    freedom: float = np.inf
    draws: int = 500

    def eigenvalues(self) -> np.ndarray:
        """Of the population, the first that is no outlier 1."""
        ranks = np.arange(1, self.dimensions + 1.0)
        values = ranks**-self.s
        if np.isfinite(self.at):
            values[ranks > self.at] *= (ranks[ranks > self.at] / self.at) ** (self.s - self.below)
        values[: self.outliers] *= 20
        return np.asarray(values)


CELLS = (
    *(Cell(100, 1200, s, sizes=0.6) for s in (1.0, 2.0, 0.7)),
    *(Cell(100, 1200, 1.0, sizes=sizes, draws=300) for sizes in (0.0, 1.5)),
    Cell(200, 2400, 0.8, below=2.0, at=40, sizes=0.6, draws=200),
    Cell(100, 1200, 1.0, outliers=5, sizes=0.6, draws=300),
    *(Cell(100, 1200, s, sizes=0.6, draws=300) for s in (0.3, 0.0)),
    *(Cell(100, 1200, 1.0, freedom=freedom, draws=200) for freedom in (10.0, 5.0)),
    *(Cell(500, 6000, s, sizes=0.6, draws=60) for s in (0.7, 1.0, 2.0)),
    Cell(500, 60_000, 1.0, sizes=0.6, draws=30),
    Cell(5000, 60_000, 1.0, sizes=0.6, draws=2),
)
HEAD = (
    "T,n,s,below,break,outliers,sizes,freedom,draws,"
    "found,deviation,stated,sample,covered,covered_below,covered_break,rejected"
)
_FIGURES = 8


def measured(cell: Cell) -> list[float]:
    """The figures of a row."""
    eigenvalues, broken = cell.eigenvalues(), bool(np.isfinite(cell.at))
    truth = {"s": cell.s} | ({"s_below": cell.below, "break_rank": cell.at} if broken else {})
    rows = []
    for seed in range(cell.draws):
        sizes = np.random.default_rng([seed, 1]).standard_normal(cell.iterations) * cell.sizes
        freedom = cell.freedom if np.isfinite(cell.freedom) else None
        gram = drawn_gram(eigenvalues, cell.iterations, seed, sizes=np.exp(sizes), freedom=freedom)
        found = population_of_gram(gram, cell.dimensions, broken=broken)
        law = found.broken if broken else found.power_law
        assert law is not None, cell
        used = found.sample[found.outliers : found.last]
        within = [low <= truth[name] <= high for name in truth for low, high in (law.interval(name),)]
        within += [np.nan] * (3 - len(within))
        sample = fit_power_law(used, len(used)).s
        rows.append((law.s, np.sqrt(law.covariance[1, 1]), sample, *within, law.p_value < 0.05))
    s, stated, sample, *within, rejected = np.array(rows, dtype=float).T
    shares = [covered.mean() for covered in within]
    return [s.mean(), s.std(), stated.mean(), sample.mean(), *shares, rejected.mean()]


def run(path: Path) -> None:
    """Draw what the file does not have yet, a row at a time."""
    lines = path.read_text().splitlines() if path.exists() else [HEAD]
    done = {line.rsplit(",", _FIGURES)[0] for line in lines}
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
        "| T | n | s | below | break | outliers | sizes | t | draws | found | stated | sample | covered | rejected |",
        "|" + "---:|" * 14,
    ]
    for line in path.read_text().splitlines()[1:]:
        cells = line.split(",")
        key, (found, deviation, stated, sample, *covered, rejected) = cells[:-_FIGURES], cells[-_FIGURES:]
        shown = [*key, f"{float(found):.3f} ± {float(deviation):.3f}", f"{float(stated):.3f}", f"{float(sample):.2f}"]
        shown.append(", ".join(f"{100 * float(share):.1f}%" for share in covered if share != "nan"))
        shown.append(f"{100 * float(rejected):.1f}%")
        lines.append("| " + " | ".join("-" if cell in ("inf", "nan") else cell for cell in shown) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    torch.set_num_threads(1)
    results = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("population_coverage.csv")
    run(results)
    print(table(results))
