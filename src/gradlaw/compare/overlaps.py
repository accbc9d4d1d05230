"""Overlaps of the leading subspaces of two runs, from their gradients."""

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

from gradlaw.analyze import Analysis
from gradlaw.history import GradientHistory
from gradlaw.spectra import gradient_eigenvectors, subspace_overlap
from gradlaw.spectra.eigenvectors import Eigenvectors

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 10  # dimensions of a subspace
COLUMNS = ["first", "second", "k", "overlap", "random"]


def overlaps_of(
    runs: Mapping[str, Analysis], histories: Mapping[str, GradientHistory]
) -> tuple["pd.DataFrame", list[str]]:
    """Overlaps of the subspaces of the first k eigenvectors of the covariance, k = 1 to 10, and what is left out.

    Columns: ``first``, ``second`` (runs; of one run, the halves of its iterations, which is about as much as T/2
    minibatches allow), ``k``, ``overlap`` (mean squared cosine, 0 to 1), ``random`` (its mean between random
    subspaces).
    """
    import pandas as pd  # loaded for those who ask for a table

    absent = [name for name in runs if name not in histories]
    notes = [f"no subspaces of {', '.join(absent)}: runs keep no eigenvectors; pass their histories"] if absent else []
    rows: list[tuple[Any, ...]] = []
    vectors: dict[str, Eigenvectors] = {}
    for name, history in histories.items():
        half = len(history) // 2
        k = min(LARGEST, half - 2, runs[name].spectra["covariance"].rank)
        if k < 1:
            notes.append(f"no subspaces of {name}: its covariance has no eigenvector above rounding")
            continue
        vectors[name] = gradient_eigenvectors(history, k)
        halves = [gradient_eigenvectors(part, k) for part in (history[:half], history[half:])]
        rows += _rows(name, name, *halves)
    for first, second in combinations(vectors, 2):
        if histories[first].layout != histories[second].layout:
            notes.append(f"no overlap of {first} and {second}: they have other parameters")
            continue
        rows += _rows(first, second, vectors[first], vectors[second])
    return pd.DataFrame(rows, columns=COLUMNS), notes


def _rows(first: str, second: str, a: Any, b: Any) -> list[tuple[Any, ...]]:
    found = subspace_overlap(a, b)
    pairs = zip(found.overlaps, found.expected, strict=True)
    return [(first, second, k, float(overlap), float(random)) for k, (overlap, random) in enumerate(pairs, 1)]
