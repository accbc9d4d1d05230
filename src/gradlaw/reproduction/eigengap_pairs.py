"""Exponents of eigenvalues and of their gaps, pair by pair: gaps of k^-s fall as k^-(s + 1)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gradlaw.analysis.verdicts import EIGENGAPS
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.experiment import HISTORY, Experiment
from gradlaw.reproduction.paper import Paper
from gradlaw.spectra.matrices import COVARIANCE


@dataclass(frozen=True)
class Pair:
    """Two published exponents of one network: of its eigenvalues and of their gaps."""

    settings: str
    eigenvalues: float
    gaps: float

    @property
    def difference(self) -> float:
        return self.gaps - self.eigenvalues


@dataclass(frozen=True)
class Measured:
    """Two measured exponents of one history: of its covariance and of its eigengaps."""

    trained: bool
    eigenvalues: float
    gaps: float

    @property
    def difference(self) -> float:
        return self.gaps - self.eigenvalues


def measured(experiments: Iterable[Experiment], evidence: Evidence) -> tuple[tuple[Measured, ...], int]:
    """Of all seeds of all histories of which both fits were made, and how many are left out.

    Left out are fits of the whole spectrum, which is no tail.
    """
    found, whole = [], 0
    results = ((e, r.record) for e in experiments if e.kind == HISTORY for r in evidence.results(e))
    for experiment, record in results:
        gaps, covariance = (record["spectra"][name] for name in (EIGENGAPS, COVARIANCE))
        if not gaps["fit"] or not covariance["fit"]:
            continue
        if covariance["fit"]["k"] >= covariance["rank"]:
            whole += 1
        else:
            trained = experiment.network.training is not None
            found.append(Measured(trained, covariance["fit"]["s"], gaps["fit"]["s"]))
    return tuple(found), whole


def describe(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Mean, standard deviation (NaN of one value), smallest and largest."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return float(np.mean(values)), deviation, min(values), max(values)


def printed(paper: Paper, spectra: int, gaps: int) -> tuple[Pair, ...]:
    """The rows of two published tables that have the same data set, model and training, as far as both print s."""
    names = "dataset", "model", "training"
    exponents = {tuple(row[name] for name in names): row["s"] for row in paper.published[spectra]}
    rows = [(tuple(row[name] for name in names), row["s"]) for row in paper.published[gaps]]
    return tuple(
        Pair(", ".join(key), exponents[key], s) for key, s in rows if s is not None and exponents.get(key) is not None
    )
