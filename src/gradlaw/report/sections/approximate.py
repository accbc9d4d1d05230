"""What a sketch leaves open: the interval of each statistic of the spectra."""

from __future__ import annotations

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.formatting import number, percent
from gradlaw.report.section import Rows, ShownSection, Table, register
from gradlaw.spectra.approximate import half_width

HEADER = ("spectrum", "statistic", "approximate", "low", "high")
_RANKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
NOTE = """Intervals of 95%, each by itself, of what the spectrum of these gradients would give: the error of the
sketch, not that of having drawn these minibatches."""


@register
class ShownApproximate(ShownSection):
    name, heading = "approximate", "How far the approximate spectra may be off"
    place = 2

    def sentences(self, analysis: AnalysisResult) -> list[str]:
        table, size = analysis.sections["approximate"], analysis.settings["sketch"]["size"]
        values = table[table["statistic"] == "eigenvalue"]
        width = half_width(values["low"].to_numpy(), values["high"].to_numpy())
        return [
            f"Approximate: gradients were sketched to {size:,} numbers each. An eigenvalue of the spectra is known to "
            f"about {percent(width)}; tests across parameters are of whole gradients. What needs them all cannot be "
            "said from a sketch (see the notes)."
        ]

    def summary(self, analysis: AnalysisResult) -> list[Table]:
        return [Table("Approximate statistics and their intervals", HEADER, _rows(analysis), NOTE)]

    def terminal(self, analysis: AnalysisResult) -> list[Table]:
        return [Table("Approximate statistics and their intervals", HEADER, _rows(analysis))]


def _rows(analysis: AnalysisResult) -> Rows:
    table = analysis.sections["approximate"]
    shown = table[(table["statistic"] != "eigenvalue") | table["rank"].isin(_RANKS)]
    return [
        (matrix, _NAMES.get(statistic, f"eigenvalue {rank:,.0f}"), number(value), number(low), number(high))
        for matrix, statistic, rank, value, low, high in shown.itertuples(index=False)
    ]


_NAMES = {"s": "s", "d_ks": "d_KS"}
