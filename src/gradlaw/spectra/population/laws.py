"""Families of population spectra: a power law, a power law with a break, and eigenvalues that stand above them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from gradlaw.spectra.population.log_determinants import Weighted

Family = Literal["power law", "broken power law"]
EXACT, PER_E_FOLD = 50, 20  # ranks that are taken one by one; groups of ranks per factor e below them


@dataclass(frozen=True)
class Shape:
    """The part of a population that a law describes.

    Attributes:
        first: rank of its first eigenvalue, from 1; those before are outliers.
        dimensions: n, its last rank.
        pivot: rank at which its height is a parameter.
    """

    first: int
    dimensions: int
    pivot: float

    def groups(self) -> tuple[np.ndarray, np.ndarray]:
        """Ranks in groups that a smooth law does not tell apart: middle rank and number of ranks of each."""
        return _groups(self.first, self.dimensions)


@lru_cache(maxsize=16)
def _groups(first: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    exact = min(first + EXACT, dimensions + 1)
    steps = max(2, int(PER_E_FOLD * np.log((dimensions + 1) / exact)) + 2)
    edges = np.unique(np.concatenate([np.arange(first, exact), np.geomspace(exact, dimensions + 1, steps).round()]))
    return np.sqrt(edges[:-1] * (edges[1:] - 1)), np.diff(edges)


def logarithms(parameters: np.ndarray, ranks: np.ndarray, pivot: float) -> np.ndarray:
    """Ln lambda of a law at ranks.

    Args:
        parameters: ln lambda at the pivot (of the first part, drawn on) and s; with a break also the exponent below it
            and ln of its rank; shape (..., 2 or 4), of as many laws.
        ranks: from 1, shape (m,).
        pivot: see :class:`Shape`.
    """
    height, s, *bend = np.moveaxis(parameters, -1, 0)[..., None]
    log = np.log(ranks)
    line = height - s * (log - np.log(pivot))
    if not bend:
        return np.asarray(line)
    below, at = bend
    return np.asarray(line - (below - s) * np.maximum(0, log - at))


def population(parameters: np.ndarray, shape: Shape, outliers: np.ndarray, draws: int) -> Weighted:
    """All eigenvalues of a law and of the outliers above it, or of several laws.

    Args:
        parameters: of the law, see :func:`logarithms`.
        shape: of the law.
        outliers: as a sample shows them: too large, to first order by the trace of everything below over the draws.
        draws: how many the sample has.
    """
    ranks, counts = shape.groups()
    values = np.exp(logarithms(parameters, ranks, shape.pivot))
    above = np.maximum(outliers - (values @ counts)[..., None] / draws, values[..., :1])
    return Weighted(np.concatenate([above, values], axis=-1), np.concatenate([np.ones(len(outliers)), counts]))
