"""The covariance spectrum over those of noise of the same shape."""

from __future__ import annotations

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.chart import Chart, ChartMaker, Layer, Line, Panel, Points, by_rank, fitted_line, k_marks
from gradlaw.report.formatting import number
from gradlaw.report.section import ShownSection, Table, register
from gradlaw.report.sections.spectra import HEADER, spectra_rows

_WIDTHS = {"permuted": 3.5}  # broad: permuted and diagonal noise lie on one another


def _make(analysis: AnalysisResult) -> Chart:
    """The measured covariance spectrum over those of its controls, log-log by rank."""
    measured, *controls = analysis.control_verdicts()
    layers: list[Layer] = []
    for verdict in controls:
        spectrum = analysis.controls[verdict.matrix]
        for points in by_rank(spectrum.eigenvalues[: spectrum.rank], verdict.matrix, verdict.matrix):
            assert isinstance(points, Points)
            width = _WIDTHS.get(verdict.matrix, 1.4)
            layers.append(Line(points.label, points.colour, points.x, points.y, width=width))
    spectrum = analysis.spectra["covariance"]
    layers += by_rank(spectrum.eigenvalues[: spectrum.rank], "measured", "covariance", "times")
    layers += fitted_line(measured.fit, float(spectrum.eigenvalues[0]), "covariance")
    title = "The covariance spectrum over its controls"
    return Chart(
        "controls",
        (Panel("controls", title, "rank", "eigenvalue", tuple(layers), k_marks(measured.k), "log", "log"),),
        "Measured covariance spectrum over spectra of noise",
        "The same statistics where there is nothing to find. Isotropic: Gaussian noise of the same total variance. "
        "Permuted: the measured gradients with each dimension permuted over the iterations, which keeps every variance "
        "and destroys every correlation. Diagonal: Gaussian noise with the measured variances. Outliers of these two "
        "are dimensions of large variance (often one tensor's), not correlations.",
    )


@register
class ShownControls(ShownSection):
    name, heading = "controls", "Controls: the same where there is nothing to find"
    place, folded = 6, True
    charts = (ChartMaker("controls", _make),)

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
