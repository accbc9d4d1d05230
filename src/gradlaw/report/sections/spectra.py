"""The spectra by rank (paper Fig. 4), their verdicts and their outliers."""

from __future__ import annotations

import math
from html import escape

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.verdicts import SpectralVerdict
from gradlaw.report.chart import Chart, ChartMaker, Layer, Panel, by_rank, fitted_line, k_marks, put_aside
from gradlaw.report.finding import Advice, Certainty, Finding
from gradlaw.report.formatting import number, percent, yes
from gradlaw.report.section import Rows, ShownSection, Table, register
from gradlaw.spectra.matrices import COVARIANCE

HEADER = ("spectrum", "K", "rank", "s", "d_KS", "published", "calibrated", "outliers")
NOTE = """Outliers: leading eigenvalues above the largest drop, if that is more than a power law
would show once in a hundred times."""
FEWEST_EIGENVALUES = 50  # in a fit of which anything is said with confidence
DIFFERENT = 0.2  # relative, of the exponent of a control
LEADING, FEW = 0.5, 0.1  # share of the trace that makes a leading subspace; its dimensions, of those there are


def _make(analysis: AnalysisResult) -> Chart:
    """Eigenvalues against rank, log-log, of the second moment and the covariance, and the covariance's eigengaps."""
    verdicts = {verdict.matrix: verdict for verdict in analysis.spectral_verdicts()}
    layers: list[Layer] = []
    for name, symbol in (("second moment", "circle"), ("covariance", "times")):
        spectrum = analysis.spectra[name]
        drawn = by_rank(spectrum.eigenvalues[: spectrum.rank], name, name, symbol)
        drawn += fitted_line(verdicts[name].fit, float(spectrum.eigenvalues[0]), name)
        layers += drawn if name == COVARIANCE else put_aside(drawn)
    if analysis.sketch_size is not None:
        return _approximate_chart(tuple(layers), verdicts["covariance"].k)
    found, gaps = analysis.eigengaps, verdicts["eigengaps"]
    sorted_gaps = by_rank(found.sorted[: found.rank], "eigengaps, sorted", "eigengaps")
    sorted_gaps += fitted_line(gaps.fit, float(found.sorted[0]) if len(found.sorted) else 0.0, "eigengaps")
    spectrum_marks, gap_marks = k_marks(verdicts["covariance"].k), k_marks(gaps.k)
    return Chart(
        "spectra",
        (
            Panel("spectrum", "Gradient spectra", "rank", "eigenvalue", tuple(layers), spectrum_marks, "log", "log"),
            Panel("eigengaps", "Eigengaps of the covariance", "rank", "eigengap", tuple(sorted_gaps), gap_marks,
                  "log", "log"),
        ),
        "Eigenvalues and eigengaps against rank on logarithmic axes",
        "Eigenvalues of the second moment and of the covariance of the gradients, down to the numerical rank, and the "
        "gaps between neighbouring eigenvalues of the covariance, sorted. Dashed: the power law fitted to the K "
        "largest, over the ranks that it was fitted to.",
    )  # fmt: skip


def _approximate_chart(layers: tuple[Layer, ...], k: int) -> Chart:
    """Without eigengaps, which a sketch does not tell."""
    panel = Panel("spectrum", "Approximate gradient spectra", "rank", "eigenvalue", layers, k_marks(k), "log", "log")
    return Chart(
        "spectra",
        (panel,),
        "Approximate eigenvalues against rank on logarithmic axes",
        "Approximate eigenvalues of the second moment and of the covariance of the gradients, as their sketches have "
        "them; to be relied on down to the K largest, to which the power law (dashed) is fitted.",
    )


@register
class ShownSpectra(ShownSection):
    name, heading = "spectra", "Spectra of the gradients"
    place = 2
    charts = (ChartMaker("spectra", _make),)

    def findings(self, analysis: AnalysisResult) -> list[Finding]:
        covariance = analysis.spectral_verdicts()[1]
        outliers = [] if not covariance.outliers else [_leading(analysis, covariance.outliers)]
        return [*outliers, _straight(analysis, covariance)]

    def sentences(self, analysis: AnalysisResult) -> list[str]:
        verdicts = analysis.spectral_verdicts()
        covariance = verdicts[1]
        outliers = [] if covariance.outliers is None else [_outliers(covariance, analysis.classes)]
        said = [_spectrum(verdict, analysis.is_open(verdict)) for verdict in verdicts] + outliers
        return said if analysis.sketch_size is None else [f"Approximate: {line[:1].lower()}{line[1:]}" for line in said]

    def summary(self, analysis: AnalysisResult) -> list[Table]:
        return [self._table(analysis)._replace(note=escape(NOTE))]

    def terminal(self, analysis: AnalysisResult) -> list[Table]:
        return [self._table(analysis)]

    @staticmethod
    def _table(analysis: AnalysisResult) -> Table:
        title = "Power-law fits of the spectra" + (" (approximate)" if analysis.sketch_size is not None else "")
        rows = spectra_rows(analysis.spectral_verdicts())
        if analysis.sketch_size is not None:
            rows = [_with_open(row, v, analysis) for row, v in zip(rows, analysis.spectral_verdicts(), strict=True)]
        return Table(title, HEADER, rows)


def _with_open(row: tuple[str, ...], verdict: SpectralVerdict, analysis: AnalysisResult) -> tuple[str, ...]:
    """A row below ``HEADER``, with the verdicts that a sketch leaves open."""
    opened = (analysis.is_open(verdict, calibrated) for calibrated in (False, True))
    verdicts = ("open" if left else cell for left, cell in zip(opened, row[5:7], strict=True))
    return (*row[:5], *verdicts, row[7])


def _leading(analysis: AnalysisResult, outliers: int) -> Finding:
    """Of the outliers of the covariance, and of the share of the trace that they hold."""
    spectrum = analysis.spectra["covariance"]
    share = float(spectrum.eigenvalues[:outliers].sum() / spectrum.trace)
    noun = "direction stands" if outliers == 1 else "directions stand"
    headline = f"A few directions stand out of the noise and hold {'most' if share > LEADING else 'a part'} of it"
    if analysis.sketch_size is not None:
        headline += " (approximate)"
    text = f"{outliers} {noun} above the line of the others and hold {percent(share)} of the variance"
    text += f"; the data have {analysis.classes} classes." if analysis.classes else "."
    certainty, why = _certainty_of_outliers(analysis, outliers)
    most = FEW * min(spectrum.iterations, spectrum.dimensions)
    advice = None
    if share >= LEADING and outliers <= most and certainty != "low":
        advice = Advice(
            f"A leading subspace: {outliers} directions hold {percent(share)} of the gradient noise. Low-rank methods "
            "(projected gradients, low-rank preconditioners) have a subspace to work with.",
            f"The subspace is that of {spectrum.iterations:,} gradients at these parameters, whose leading eigenvalues "
            "come out too large where T is below n, and it turns while training.",
        )
    return Finding("Leading directions", headline, text, certainty, why, "spectrum", advice)


def _certainty_of_outliers(analysis: AnalysisResult, outliers: int) -> tuple[Certainty, str]:
    """High if noise without correlations has fewer, low if it has as many, medium without controls."""
    controls = {v.matrix: v.outliers or 0 for v in analysis.control_verdicts()[1:]}
    if not controls:
        return "medium", "not compared with noise of the same variances (controls were not asked for)"
    name, most = max(controls.items(), key=lambda item: item[1])
    if most >= outliers:
        return "low", f"noise without correlations has {most} ({name}): they may be of variance alone"
    return "high", f"noise without correlations has at most {most} ({name})"


def _straight(analysis: AnalysisResult, v: SpectralVerdict) -> Finding:
    """Of the verdicts on the spectrum of the covariance."""
    topic = "Spectrum of the noise"
    if v.fit is None:
        above = f"{v.rank:,} {'eigenvalue is' if v.rank == 1 else 'eigenvalues are'} above rounding"
        text = f"{above}; the fit was to take the top {v.k:,}." if v.rank < v.k else f"{v.refused}."
        return Finding(topic, "No verdict on the shape of the spectrum", text, "no verdict",
                       "a fit needs K eigenvalues above rounding", "spectrum")  # fmt: skip
    if v.fit.is_power_law_calibrated:
        headline = "The spectrum of the noise falls as straight as a power law"
    elif v.fit.is_power_law:
        headline = "The spectrum of the noise is nearly a power law: it passes the published level only"
    else:
        headline = "The spectrum of the noise is not a power law"
    text = f"Over the top {v.k:,} eigenvalues of the covariance, s = {number(v.fit.s)}, d_KS = {number(v.fit.d_ks)}."
    if analysis.sketch_size is not None:
        return _approximately(analysis, v, topic, headline)
    certainty, why = _certainty_of_line(analysis, v)
    return Finding(topic, headline, text, certainty, why, "spectrum")


def _approximately(analysis: AnalysisResult, v: SpectralVerdict, topic: str, headline: str) -> Finding:
    """The same of a sketch: no verdict where the interval of d_KS has the critical distance in it."""
    assert v.fit is not None
    (s_low, s_high), (low, high) = analysis.interval_of("s"), analysis.interval_of("d_ks")
    text = (
        f"Approximate, from sketches of {analysis.sketch_size:,} numbers: over the top {v.k:,} eigenvalues of the "
        f"covariance, s is within {number(s_low)} to {number(s_high)}, d_KS within {number(low)} to {number(high)}."
    )
    if math.isinf(s_high):
        text = f"Sketches of {analysis.sketch_size:,} numbers are too small to tell s and d_KS; take larger ones."
    if analysis.is_open(v):
        headline = "Whether the spectrum of the noise is a power law cannot be said from this sketch"
        why = f"the interval of d_KS has the critical distance in it, {number(v.fit.d_critical_calibrated)}"
        return Finding(topic, headline, text, "no verdict", why, "spectrum")
    certainty, why = _certainty_of_line(analysis, v)
    return Finding(topic, f"{headline} (approximate)", text, certainty, why, "spectrum")


def _certainty_of_line(analysis: AnalysisResult, v: SpectralVerdict) -> tuple[Certainty, str]:
    """Never high without controls: a spectrum is not a sample, and its verdict describes."""
    if v.k < FEWEST_EIGENVALUES:
        return "low", f"only {v.k} eigenvalues"
    measured = 0.0 if v.fit is None else v.fit.s
    exponents = {c.matrix: c.fit.s for c in analysis.control_verdicts()[1:] if c.fit is not None}
    if not exponents:
        return "medium", "a spectrum is not a sample, and it was not compared with noise of the same shape"
    nearest = min(exponents, key=lambda name: abs(exponents[name] - measured))
    if abs(exponents[nearest] - measured) <= DIFFERENT * measured:
        return "medium", f"{nearest} noise has nearly the same exponent, s = {number(exponents[nearest])}"
    return (
        "high",
        f"noise of the same shape has other exponents, the nearest s = {number(exponents[nearest])} ({nearest})",
    )


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


def _spectrum(v: SpectralVerdict, is_open: bool = False) -> str:
    subject = "eigengaps of the covariance are" if v.matrix == "eigengaps" else f"spectrum of the {v.matrix} is"
    if v.fit is None:
        return f"The {subject} without a power-law verdict: {v.refused}."
    if is_open:
        return f"Over the top {v.k:,}, whether the {subject} as straight as a power law is left open by the sketch."
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
