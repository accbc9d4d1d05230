"""How much of the leading directions of one half of the gradients the other half confirms."""

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.section import ShownSection, Table, register

HEADER = ("leading directions", "of the variance of their half", "of the other half")
_RANKS = (1, 10, 100)
NOTE = """Of two halves of the gradients, every second iteration each, directions are the eigenvectors of the covariance
of one. They were chosen for their own half, whose variance along them is too large; along the same directions the other
half shows, without bias, what the population has there."""


@register
class ShownTwoHalves(ShownSection):
    name, heading = "two_halves", "Directions of one half in the other"
    place = 4

    def sentences(self, analysis: AnalysisResult) -> list[str]:
        frame = analysis.sections[self.name]
        _, own, other = _rows(analysis)[-1]
        directions, iterations = _seen(frame["rank"].tolist())[-1], frame["iterations"][0]
        return [
            f"The {directions:,} leading directions of one half of {iterations:,} independent gradients hold {own} of "
            f"its variance, and {other} of that of the other half."
        ]

    def summary(self, analysis: AnalysisResult) -> list[Table]:
        return [Table("Variance along the leading directions of one half", HEADER, _rows(analysis), NOTE)]


def _seen(ranks: list[int]) -> list[int]:
    """Those of the table: the last kept up to each of ``_RANKS``."""
    return sorted({max(rank for rank in ranks if rank <= most) for most in _RANKS})


def _rows(analysis: AnalysisResult) -> list[tuple[str, ...]]:
    frame = analysis.sections["two_halves"].set_index("rank")
    return [
        (f"{rank:,}", f"{frame['own_share'][rank]:.1%}", f"{frame['other_share'][rank]:.1%}")
        for rank in _seen(frame.index.tolist())
    ]
