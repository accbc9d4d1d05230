"""What the directions of one half of the gradients hold of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradlaw.analysis.section import Run, TableSection, register
from gradlaw.analysis.sections.population import MOST_ITERATIONS
from gradlaw.spectra.population.halves import FEWEST, TwoHalves, two_halves
from gradlaw.spectra.population.population import independent_iterations, why_dependent

if TYPE_CHECKING:
    import pandas as pd

_POINTS = 100  # ranks that are kept


@register
class CrossValidated(TableSection):
    """Eigenvectors from one half of the iterations, variances from both, at some ranks from the first to the last.

    None where iterations depend on one another or are fewer than 8. Columns: ``rank``; ``own``, the eigenvalue of the
    half; ``other``, the variance of the other half along the eigenvector; ``own_share`` and ``other_share``, sums of
    both up to the rank over the trace of a half; ``iterations`` (independent ones, the first 2,000 at most).
    """

    name, place, by_ranks = "two_halves", 4, True

    def measure(self, run: Run) -> pd.DataFrame | None:
        settings = run.history.settings
        used = min(independent_iterations(settings), MOST_ITERATIONS)
        if why_dependent(settings) is not None or used < FEWEST:
            return None
        gram, _ = run.gram
        with run.progress.stage("two halves of the gradients"):
            halves = run.ranks.first(lambda: two_halves(gram[:used, :used].cpu()))
        rounding = run.history.rounding**2 * float(gram.diagonal().mean())
        return _table(halves, used) if float(halves.own.sum()) > rounding else None  # else gradients are all the same


def _table(halves: TwoHalves, iterations: int) -> pd.DataFrame:
    import pandas as pd  # loaded for those who keep a table

    own, other = (values.numpy() for values in halves)
    ranks = np.unique(np.geomspace(1, len(own), _POINTS).round().astype(int))
    trace = own.sum()
    shares = {f"{name}_share": values.cumsum()[ranks - 1] / trace for name, values in (("own", own), ("other", other))}
    columns = {"rank": ranks, "own": own[ranks - 1], "other": other[ranks - 1]}
    return pd.DataFrame(columns | shares | {"iterations": iterations})
