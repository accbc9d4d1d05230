"""The covariance spectrum at fewer iterations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.chart import Chart, ChartMaker, Panel, Points
from gradlaw.report.formatting import number
from gradlaw.report.section import Rows, ShownSection, Table, register

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("T", "K", "s", "d_KS", "trace", "lambda_1", "lambda_2", "lambda_5", "lambda_10")
_DRAWN = {1: "circle", 2: "square", 5: "triangle", 10: "diamond"}


def _make(analysis: AnalysisResult) -> Chart:
    """Leading eigenvalues of the covariance, and the exponent, against the number of iterations."""
    frame: pd.DataFrame = analysis.sections["over_iterations"]
    sizes, leading = frame["iterations"].to_numpy(), []
    for rank, symbol in _DRAWN.items():
        values = frame[f"lambda_{rank}"].to_numpy(dtype=float)
        above = values > 0
        leading.append(Points(f"rank {rank}", f"rank {rank}", sizes[above], values[above], int(above.sum()), symbol,
                              joined=True))  # fmt: skip
    exponent = Points("s", "covariance", sizes, frame["s"].to_numpy(dtype=float), len(sizes), joined=True)
    s_label = f"s of the top {int(frame['k'].iloc[0]):,}"
    return Chart(
        "over_iterations",
        (
            Panel("over_iterations", "Leading eigenvalues over T", "iterations, T", "eigenvalue", tuple(leading),
                  x_scale="log", y_scale="log"),
            Panel("exponent", "Exponent over T", "iterations, T", s_label, (exponent,), x_scale="log"),
        ),
        "Leading eigenvalues and exponent against the number of iterations",
        "The covariance spectrum of fewer iterations, drawn at random from the same history; s is fitted to the same "
        "number of eigenvalues each time. What still moves with T is of the sample as well as of the network.",
    )  # fmt: skip


@register
class ShownOverIterations(ShownSection):
    name, heading = "over_iterations", "The spectrum at fewer iterations"
    place, folded = 7, True
    charts = (ChartMaker("over_iterations", _make),)

    def tables(self, analysis: AnalysisResult) -> list[Table]:
        return [Table("Over iterations", HEADER, _rows(analysis.sections[self.name]))]


def _rows(frame: pd.DataFrame) -> Rows:
    """The cells below ``HEADER``."""
    shown = ("s", "d_ks", "trace", "lambda_1", "lambda_2", "lambda_5", "lambda_10")
    return [
        (f"{row['iterations']:,}", f"{row['k']:,}", *(number(row[name]) for name in shown))
        for row in frame.to_dict("records")
    ]
