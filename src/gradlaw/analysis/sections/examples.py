"""One series of each direction, as an example to draw: the one of median KS distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlaw.analysis.result import AnalysisResult, RankedSeries
from gradlaw.analysis.section import ReadTable, Run, Section, register
from gradlaw.history import GradientHistory
from gradlaw.history.sharded_history import ShardedHistory
from gradlaw.stats import GradientTests
from gradlaw.stats.series import AXES

if TYPE_CHECKING:
    import pandas as pd


@register
class Examples(Section[dict[str, RankedSeries]]):
    """By axis: the series whose KS distance is the median."""

    name, place, by_ranks = "examples", 2, True

    def measure(self, run: Run) -> dict[str, RankedSeries]:
        return {axis: _median_series(run.gradients, run.measured["tests"][axis]) for axis in AXES}

    def record(self, result: dict[str, RankedSeries] | None, analysis: AnalysisResult) -> dict[str, Any]:
        return {self.name: {axis: example.index for axis, example in (result or {}).items()}}

    def frames(self, result: dict[str, RankedSeries], analysis: AnalysisResult) -> dict[str, pd.DataFrame]:
        import pandas as pd  # loaded for those who keep a table

        parts = []
        for axis, e in result.items():
            columns = {"axis": axis, "rank": np.arange(1, len(e.magnitudes) + 1), "magnitude": e.magnitudes}
            parts.append(pd.DataFrame(columns if e.places is None else columns | {"place": e.places}))
        return {self.name: pd.concat(parts, ignore_index=True).astype({"axis": "category"})}

    def read(self, record: dict[str, Any], table: ReadTable) -> dict[str, RankedSeries] | None:
        if not record.get(self.name):
            return None
        frame = table(self.name)
        series = {axis: frame[frame["axis"] == axis] for axis in AXES}
        places = {axis: series[axis]["place"].to_numpy() if "place" in frame else None for axis in AXES}
        return {axis: RankedSeries(axis, record[self.name][axis], series[axis]["magnitude"].to_numpy(), places[axis])
                for axis in AXES}  # fmt: skip


def _median_series(history: GradientHistory | ShardedHistory, tests: GradientTests) -> RankedSeries:
    """The series whose KS distance is the median of those that can be tested (of all, if none can)."""
    tested = np.flatnonzero(~tests.degenerate_series)
    candidates = tested if len(tested) else np.arange(tests.series)
    index = int(candidates[np.argsort(tests.d_ks[candidates], kind="stable")[len(candidates) // 2]])
    series = history[index] if tests.axis == AXES[0] else history.dimension(index)
    magnitudes, places = series.abs().sort(descending=True, stable=True)
    return RankedSeries(tests.axis, index, magnitudes.cpu().numpy(), places.cpu().numpy())
