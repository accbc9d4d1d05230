"""The extended statistics, where they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlaw.analysis.extended import TABLES, ExtendedStatistics
from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.section import ReadTable, Run, Section, register

if TYPE_CHECKING:
    import pandas as pd

_KEY = "depth"  # what format 2 calls it


@register
class Extended(Section[ExtendedStatistics]):
    """Layers, other tail indices, other families of tails, Gaussianity in full: a table each."""

    name, place, by_ranks = "extended", 7, True
    tables = TABLES

    def measure(self, run: Run) -> ExtendedStatistics | None:
        if self.name not in run.asked:
            return None
        from gradlaw.analysis.measure_extended import measure_extended  # loads pandas

        return measure_extended(run.gradients, run.measured["tests"], _tails(run), run.progress)

    def record(self, result: ExtendedStatistics | None, analysis: AnalysisResult) -> dict[str, Any]:
        return {_KEY: result is not None}

    def frames(self, result: ExtendedStatistics, analysis: AnalysisResult) -> dict[str, pd.DataFrame]:
        return {name: getattr(result, name) for name in TABLES}

    def read(self, record: dict[str, Any], table: ReadTable) -> ExtendedStatistics | None:
        return ExtendedStatistics(**{name: table(name) for name in TABLES}) if record[_KEY] else None


def _tails(run: Run) -> dict[str, tuple[np.ndarray, int]]:
    """The samples to compare with other families, each with its K; eigenvalues down to the rank."""
    examples, spectra, sizes = run.measured["examples"], run.measured["spectra"], run.sizes
    tails = {f"{axis}-wise example": (e.magnitudes.astype(np.float64), sizes.k[axis]) for axis, e in examples.items()}
    return tails | {name: (s.eigenvalues[: s.rank], min(sizes.of_spectra, s.rank)) for name, s in spectra.items()}
