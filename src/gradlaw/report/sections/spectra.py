"""The spectra by rank (paper Fig. 4), their verdicts and their outliers."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.verdicts import SpectralVerdict
from gradlaw.report.drawing import BLUE, GREEN, RED, finish, fitted_line, new_figure, scatter
from gradlaw.report.formatting import number, yes
from gradlaw.report.section import Drawing, Rows, ShownSection, Table, register
from gradlaw.report.sections.tests import thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADER = ("spectrum", "K", "rank", "s", "d_KS", "published", "calibrated", "outliers")
NOTE = """Outliers: leading eigenvalues above the largest drop, if that is more than a power law
would show once in a hundred times."""


def _draw(analysis: AnalysisResult) -> Figure:
    """Eigenvalues against rank, log-log, of the second moment and the covariance, and the covariance's eigengaps."""
    with new_figure(9.2, 3.7) as figure:
        left, right = figure.subplots(1, 2)
        second, covariance, gaps = analysis.spectral_verdicts()
        for name, verdict, colour, marker in (
            ("second moment", second, RED, "o"),
            ("covariance", covariance, BLUE, "x"),
        ):
            spectrum = analysis.spectra[name]
            scatter(left, spectrum.eigenvalues[: spectrum.rank], colour, name, marker)
            if verdict.fit:
                fitted_line(left, verdict.fit, colour)
        finish(left, covariance.k, "eigenvalue")
        left.set_title("Gradient spectra", loc="left")
        found = analysis.eigengaps
        scatter(right, found.sorted[: found.rank], GREEN, "eigengaps of the covariance, sorted")
        if gaps.fit:
            fitted_line(right, gaps.fit, GREEN)
        finish(right, gaps.k, "eigengap")
        right.set_title("Eigengaps", loc="left")
    return figure


@register
class ShownSpectra(ShownSection):
    name = "spectra"
    drawings = (
        Drawing(
            "spectra",
            _draw,
            "Eigenvalues and eigengaps against rank on logarithmic axes",
            """\
Left: eigenvalues of the second moment and of the covariance of the gradients, down to the numerical rank.
Right: gaps between neighbouring eigenvalues of the covariance, sorted. Dashed: the power law fitted to the K
largest.""",
        ),
    )

    def sentences(self, analysis: AnalysisResult) -> list[str]:
        verdicts = analysis.spectral_verdicts()
        covariance = verdicts[1]
        outliers = [] if covariance.outliers is None else [_outliers(covariance, analysis.classes)]
        return [_spectrum(verdict) for verdict in verdicts] + outliers

    def summary(self, analysis: AnalysisResult) -> list[Table]:
        return [self._table(analysis)._replace(note=f"{escape(thresholds(analysis))} {NOTE}")]

    def terminal(self, analysis: AnalysisResult) -> list[Table]:
        return [self._table(analysis)]

    @staticmethod
    def _table(analysis: AnalysisResult) -> Table:
        return Table("Power-law fits of the spectra", HEADER, spectra_rows(analysis.spectral_verdicts()))


def spectra_rows(verdicts: list[SpectralVerdict]) -> Rows:
    """The cells below ``HEADER``."""
    rows: Rows = []
    for v in verdicts:
        if v.fit:
            last = number(v.fit.s), number(v.fit.d_ks), yes(v.fit.is_power_law), yes(v.fit.is_power_law_calibrated)
        else:
            last = "-", "-", "refused", "refused"
        rows.append((v.matrix, f"{v.k:,}", f"{v.rank:,}", *last, "-" if v.outliers is None else str(v.outliers)))
    return rows


def _spectrum(v: SpectralVerdict) -> str:
    subject = "eigengaps of the covariance are" if v.matrix == "eigengaps" else f"spectrum of the {v.matrix} is"
    if v.fit is None:
        return f"The {subject} without a power-law verdict: {v.refused}."
    if v.fit.is_power_law_calibrated:
        said = "as straight as a power law"
    elif v.fit.is_power_law:
        said = "as straight as a power law at the published level only, not at the calibrated one"
    else:
        said = "not a power law"
    return f"Over the top {v.k:,}, the {subject} {said} (s = {number(v.fit.s)}, d_KS = {number(v.fit.d_ks)})."


def _outliers(v: SpectralVerdict, classes: int | None) -> str:
    known = f" (classes less one: {classes - 1})" if classes else ""
    if not v.outliers:
        return f"No drop sets leading eigenvalues of the covariance apart from the line of the others{known}."
    return f"{v.outliers} leading eigenvalues of the covariance stand above the line of the others{known}."
