"""The covariance spectrum over those of noise of the same shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.drawing import BLUE, GREEN, GREY, RED, finish, fitted_line, new_figure, scatter
from gradlaw.report.formatting import number
from gradlaw.report.section import Drawing, ShownSection, Table, register
from gradlaw.report.sections.spectra import HEADER, spectra_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _draw(analysis: AnalysisResult) -> Figure:
    """The measured covariance spectrum over those of its controls, log-log by rank."""
    with new_figure(5.6, 4.0) as figure:
        axes = figure.add_subplot()
        measured, *controls = analysis.control_verdicts()
        # As lines, and the first ones broad: permuted and diagonal noise lie on one another.
        for verdict, colour, width in zip(controls, (GREY, BLUE, GREEN), (1.6, 4.0, 1.2), strict=True):
            spectrum = analysis.controls[verdict.matrix]
            values = spectrum.eigenvalues[: spectrum.rank]
            axes.plot(range(1, len(values) + 1), values, color=colour, lw=width, alpha=0.7, label=verdict.matrix)
        spectrum = analysis.spectra["covariance"]
        scatter(axes, spectrum.eigenvalues[: spectrum.rank], RED, "measured")
        if measured.fit:
            fitted_line(axes, measured.fit, RED)
        finish(axes, measured.k, "eigenvalue of the covariance")
        axes.set_title("The covariance spectrum over its controls", loc="left")
    return figure


@register
class ShownControls(ShownSection):
    name = "controls"
    drawings = (
        Drawing(
            "controls",
            _draw,
            "Measured covariance spectrum over spectra of noise",
            """The same statistics where there is nothing to find. Isotropic: Gaussian noise of the same total variance.
Permuted: the measured gradients with each dimension permuted over the iterations, which keeps every variance and
destroys every correlation. Diagonal: Gaussian noise with the measured variances. Outliers of these two are dimensions
of large variance (often one tensor's), not correlations.""",
            single=True,
        ),
    )

    def sentences(self, analysis: AnalysisResult) -> list[str]:
        return _outliers_of_controls(analysis)

    def tables(self, analysis: AnalysisResult) -> list[Table]:
        return [Table("Controls", HEADER, spectra_rows(analysis.control_verdicts()))]

    def terminal(self, analysis: AnalysisResult) -> list[Table]:
        return self.tables(analysis)


def _outliers_of_controls(analysis: AnalysisResult) -> list[str]:
    """Why noise without any correlation has outliers, if it has."""
    found = {v.matrix: v.outliers for v in analysis.control_verdicts()[1:] if v.outliers}
    if not found:
        return []
    counts = " and ".join(f"{count} ({name})" for name, count in found.items())
    text = (
        f"Noise without correlations has leading eigenvalues above the line too: {counts}. They are of variance alone, "
        "dimensions that vary more than the others"
    )
    if analysis.noise is not None:
        tensors = analysis.noise.iloc[1:]
        variance = tensors["trace"] / tensors["dimensions"]
        mean = tensors["trace"].sum() / tensors["dimensions"].sum()
        top = tensors.loc[variance.idxmax()]
        text += (
            f": those of {top['name']} have {number(variance.max() / mean)} times the mean variance, in "
            f"{top['dimensions']:,} dimensions"
        )
    return [f"{text}. As many of the measured outliers may be no more than that."]
