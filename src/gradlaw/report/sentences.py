"""What an analysis says, in sentences."""

import math

from gradlaw.analysis.extended import ExtendedStatistics
from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.verdicts import SpectralVerdict
from gradlaw.report.formatting import chance, number, percent, with_error
from gradlaw.stats import GradientTests


def title(analysis: AnalysisResult) -> str:
    """Model, data, B and T."""
    settings, problem = analysis.settings, analysis.provenance["problem"]
    data = problem["data"].get("name")
    on = f" on {data.rstrip('/').rpartition('/')[2]}" if data else ""
    noise = problem["data"].get("label_noise")
    on += f" with {noise['kind']} label noise ({noise['realised_rate']:.0%} wrong)" if noise else ""
    transformed = f" ({', '.join(settings['transforms'])})" if settings["transforms"] else ""
    return f"{problem['model']}{on}{transformed}, B = {settings['batch_size']:,}, T = {settings['iterations']:,}"


def verdicts(analysis: AnalysisResult) -> list[str]:
    """One sentence for each direction, each spectrum, its outliers, the noise."""
    sentences = [_direction(tests) for tests in analysis.tests.values()]
    spectra = analysis.spectral_verdicts()
    sentences += [_spectrum(verdict) for verdict in spectra]
    covariance = spectra[1]
    if covariance.outliers is not None:
        sentences.append(_outliers(covariance, analysis.classes))
    if analysis.controls:
        sentences += _outliers_of_controls(analysis)
    if analysis.noise is not None:
        sentences.append(_noise(analysis.noise.iloc[0].to_dict()))
    return sentences if analysis.extended is None else [*sentences, _stable_indices(analysis.extended)]


def thresholds(analysis: AnalysisResult) -> str:
    """The critical distances and the Gaussian ceiling that the tables are to be read against."""
    distances = {t.k: f"{t.d_critical:.4f} published, {t.d_critical_calibrated:.4f} calibrated at K = {t.k:,}"
                 for t in analysis.tests.values()}  # fmt: skip
    text = f"Critical distance (calibrated: exponent fitted to the same data): {'; '.join(distances.values())}. "
    text += OF_GAUSSIAN
    ceiling = analysis.tests["dimension"].gaussian_ceiling
    if ceiling is not None:
        text += f" A true Gaussian passes the Gaussian test in {percent(ceiling)} of series."
    return text


OF_GAUSSIAN = (
    "By chance: the share of Gaussian series of the same length and K that pass the published / the calibrated verdict "
    "on power laws; where it is above 20%, or K over a third of a series, there is no verdict."
)


def _direction(t: GradientTests) -> str:
    if t.axis == "dimension":
        subject, each = "Dimension-wise gradients (across parameters)", f"of {t.series:,} iterations"
    else:
        subject, each = "Iteration-wise gradients (across minibatches)", f"of {t.series:,} parameters"
    parts = [_power_law(t, each)]
    if t.gaussian_rate is not None:
        parts.append(f"Gaussian in {percent(t.gaussian_rate)}{'' if t.no_verdict is None else ' ' + each}")
    text = f"{subject}: {', '.join(parts)}"
    if t.degenerate:
        text += f"; {percent(t.degenerate)} cannot be tested and count as failing"
    text += "."
    for level, reason in _reasons(t):
        text += f" No verdict{level}: {reason}."
    return text


def _power_law(t: GradientTests, each: str) -> str:
    """Both rates beside those of Gaussian series, as far as they are verdicts."""
    published = f"{percent(t.power_law_rate)} {each} ({chance(t.power_law_rate_of_gaussian)} of Gaussian series"
    calibrated = (
        f"{percent(t.power_law_rate_calibrated)} at the calibrated level "
        f"({chance(t.power_law_rate_calibrated_of_gaussian)} of Gaussian series"
    )
    if t.no_verdict is None and t.no_verdict_calibrated is None:
        return f"power-law tails in {published} pass too), {calibrated})"
    if t.no_verdict_calibrated is None:
        return (
            f"power-law tails in {percent(t.power_law_rate_calibrated)} {each} at the calibrated level "
            f"({chance(t.power_law_rate_calibrated_of_gaussian)} of Gaussian series pass too), no verdict at the "
            "published one"
        )
    if t.no_verdict is None:
        return f"power-law tails in {published} pass too), no verdict at the calibrated level"
    return "no verdict on power-law tails"


def _reasons(t: GradientTests) -> list[tuple[str, str]]:
    """Why a level has no verdict; once where both have the same reason."""
    reasons = {" at the published level": t.no_verdict, " at the calibrated level": t.no_verdict_calibrated}
    known = [(level, reason) for level, reason in reasons.items() if reason is not None]
    return [("", known[0][1])] if len(known) == 2 else known


def _stable_indices(extended: ExtendedStatistics) -> str:
    across, along = (extended.median_stable_index(axis) for axis in ("dimension", "iteration"))
    return (
        f"Alpha-stable tail index of the noise, median over series: {number(across)} dimension-wise, {number(along)} "
        "iteration-wise (2 is Gaussian)."
    )


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


def _noise(model: dict) -> str:
    if model["degenerate"]:
        return "The gradients do not vary above rounding: there is no noise to measure."
    trace = with_error(model["trace"], model["trace_error"])
    scale = model["noise_scale_unbiased"]
    if not math.isfinite(scale):
        return f"Gradient noise: trace {trace}; the mean gradient is lost in it, so that there is no noise scale."
    return (
        f"Gradient noise: trace {trace}, noise scale {with_error(scale, model['noise_scale_unbiased_error'])} samples "
        f"(the batch size at which signal and noise are equal), stable rank "
        f"{with_error(model['stable_rank'], model['stable_rank_error'])}."
    )
