"""The tests of all series in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.section import ReadTable, Run, Section, register
from gradlaw.choices import Axis
from gradlaw.history.sketched_history import SketchedHistory
from gradlaw.stats.rates import SERIES_COLUMNS, GradientTests, gradient_tests
from gradlaw.stats.series import AXES

if TYPE_CHECKING:
    import pandas as pd


@register
class Tests(Section[dict[str, GradientTests]]):
    """By axis: power law and Gaussianity of every series."""

    name, place, by_ranks, from_sketch = "tests", 1, True, True
    tables = tuple(f"{axis}_wise" for axis in AXES)

    def measure(self, run: Run) -> dict[str, GradientTests]:
        if isinstance(run.history, SketchedHistory):
            return {"dimension": run.history.tests}  # made of each gradient before it was sketched
        return {axis: self._of_axis(run, axis) for axis in AXES}

    def record(self, result: dict[str, GradientTests] | None, analysis: AnalysisResult) -> dict[str, Any]:
        return {self.name: {axis: tests.scalars() for axis, tests in (result or {}).items()}}

    def frames(self, result: dict[str, GradientTests], analysis: AnalysisResult) -> dict[str, pd.DataFrame]:
        tables = {"dimension": _dimension_wise, "iteration": _iteration_wise}
        return {f"{axis}_wise": tables[axis](analysis) for axis in result}

    def read(self, record: dict[str, Any], table: ReadTable) -> dict[str, GradientTests]:
        return {axis: _read_tests(record[self.name][axis], table(f"{axis}_wise")) for axis in record[self.name]}

    @staticmethod
    def _of_axis(run: Run, axis: Axis) -> GradientTests:
        sizes = run.sizes
        with run.progress.stage(f"test {axis}-wise gradients", run.history.shape[AXES.index(axis)]) as advance:
            return gradient_tests(
                run.history, axis, sizes.k[axis], sizes.gaussian_k[axis], run.alpha, run.seed, advance=advance
            )


def _dimension_wise(analysis: AnalysisResult) -> pd.DataFrame:
    frame = analysis.tests["dimension"].to_frame()
    frame.insert(0, "iteration", np.arange(len(frame)))
    frame.insert(1, "loss", analysis.losses)
    return frame


def _iteration_wise(analysis: AnalysisResult) -> pd.DataFrame:
    import pandas as pd  # loaded for those who keep a table

    frame = analysis.tests["iteration"].to_frame()
    names, sizes = [p.name for p in analysis.layout], [p.stop - p.start for p in analysis.layout]
    frame.insert(0, "parameter", pd.Categorical.from_codes(np.repeat(np.arange(len(names)), sizes), pd.Index(names)))
    frame.insert(1, "element", np.concatenate([np.arange(size) for size in sizes]))
    return frame


def _read_tests(scalars: dict[str, Any], frame: pd.DataFrame) -> GradientTests:
    names = GradientTests.__dataclass_fields__
    values: dict[str, Any] = {name: scalars[name] for name in names if name not in (*SERIES_COLUMNS, "notices")}
    values |= {name: frame[name].to_numpy() if name in frame else None for name in SERIES_COLUMNS}
    return GradientTests(**values)
