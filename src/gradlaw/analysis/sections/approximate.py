"""How far what was told by a sketch may be off: intervals of the leading eigenvalues, of s and of the KS distance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradlaw.analysis.section import Run, TableSection, register
from gradlaw.spectra.approximate import ApproximateSpectrum

if TYPE_CHECKING:
    import pandas as pd


@register
class Approximate(TableSection):
    """One row a statistic of each spectrum, where gradients were sketched; None of whole gradients.

    Columns: ``matrix``; ``statistic`` (``"s"``, ``"d_ks"`` or ``"eigenvalue"``) and, of an eigenvalue, its ``rank``;
    ``value`` as the sketch has it; ``low`` and ``high``, the ends of its interval of 95%.
    """

    name, place, by_ranks, from_sketch = "approximate", 3, True, True

    def measure(self, run: Run) -> pd.DataFrame | None:
        import pandas as pd  # loaded for those who keep a table

        frames = [_table(matrix, found) for matrix, found in run.approximate.items()]
        return pd.concat(frames, ignore_index=True) if frames else None


def _table(matrix: str, found: ApproximateSpectrum) -> pd.DataFrame:
    import pandas as pd

    rows: list[tuple[str, str, float, float, float, float]] = [
        (matrix, "s", math.nan, found.s, *found.s_interval),
        (matrix, "d_ks", math.nan, found.d_ks, *found.d_ks_interval),
    ]
    values = zip(found.spectrum.eigenvalues[: found.k], found.lower, found.upper, strict=True)
    rows += [
        (matrix, "eigenvalue", rank, float(value), float(low), float(high))
        for rank, (value, low, high) in enumerate(values, start=1)
    ]
    return pd.DataFrame(rows, columns=["matrix", "statistic", "rank", "value", "low", "high"])
