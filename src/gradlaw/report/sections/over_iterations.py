"""The covariance spectrum at fewer iterations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.drawing import BLUE, GREEN, GREY, RED, new_figure
from gradlaw.report.formatting import number
from gradlaw.report.section import Drawing, Rows, ShownSection, Table, register

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

HEADER = ("T", "K", "s", "d_KS", "trace", "lambda_1", "lambda_2", "lambda_5", "lambda_10")
_DRAWN_EIGENVALUES = (1, 2, 5, 10)


def _draw(analysis: AnalysisResult) -> Figure:
    """Leading eigenvalues of the covariance, and the exponent, against the number of iterations."""
    from matplotlib.ticker import NullLocator, StrMethodFormatter  # heavy: loaded for those who draw

    frame: pd.DataFrame = analysis.sections["over_iterations"]
    with new_figure(7.2, 2.7) as figure:
        left, right = figure.subplots(1, 2)
        for rank, colour in zip(_DRAWN_EIGENVALUES, (RED, BLUE, GREEN, GREY), strict=True):
            values = frame[f"lambda_{rank}"]
            left.plot(frame["iterations"], values.where(values > 0), "o-", ms=4, color=colour, label=f"rank {rank}")
        left.set(yscale="log", ylabel="eigenvalue")
        left.legend(ncols=2)
        left.set_title("Leading eigenvalues", loc="left")
        right.plot(frame["iterations"], frame["s"], "o-", ms=4, color=RED)
        right.set(ylabel=f"s of the top {int(frame['k'].iloc[0]):,}")
        right.set_title("Exponent", loc="left")
        for axes in (left, right):
            axes.set(xscale="log", xlabel="iterations, T", xticks=frame["iterations"])
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            axes.xaxis.set_minor_locator(NullLocator())
    return figure


@register
class ShownOverIterations(ShownSection):
    name = "over_iterations"
    drawings = (
        Drawing(
            "over_iterations",
            _draw,
            "Leading eigenvalues and exponent against the number of iterations",
            """\
The covariance spectrum of fewer iterations, drawn at random from the same history; s is fitted to the same
number of eigenvalues each time.""",
        ),
    )

    def tables(self, analysis: AnalysisResult) -> list[Table]:
        return [Table("Over iterations", HEADER, _rows(analysis.sections[self.name]))]


def _rows(frame: pd.DataFrame) -> Rows:
    """The cells below ``HEADER``."""
    shown = ("s", "d_ks", "trace", "lambda_1", "lambda_2", "lambda_5", "lambda_10")
    return [
        (f"{row['iterations']:,}", f"{row['k']:,}", *(number(row[name]) for name in shown))
        for row in frame.to_dict("records")
    ]
