"""What an analysis says, in words and in rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradlaw.analysis import Analysis, SpectralVerdict
    from gradlaw.stats import GradientTests

TESTS_HEADER = (
    "direction",
    "series",
    "values",
    "mean d_KS",
    "power-law",
    "calibrated",
    "mean p",
    "Gaussian",
    "degenerate",
)
SPECTRA_HEADER = ("spectrum", "K", "rank", "s", "d_KS", "published", "calibrated")


def title(analysis: Analysis) -> str:
    """Model, data, B and T."""
    settings, problem = analysis.settings, analysis.provenance["problem"]
    data = problem["data"].get("name")
    on = f" on {data.rstrip('/').rpartition('/')[2]}" if data else ""
    return f"{problem['model']}{on}, B = {settings['batch_size']:,}, T = {settings['iterations']:,}"


def verdicts(analysis: Analysis) -> list[str]:
    """One sentence for each direction and each spectrum."""
    sentences = [_direction(tests) for tests in analysis.tests.values()]
    return sentences + [_spectrum(verdict) for verdict in analysis.spectral_verdicts()]


def tests_rows(analysis: Analysis) -> list[tuple[str, ...]]:
    """The cells below ``TESTS_HEADER``."""
    return [
        (
            f"{axis}-wise",
            f"{t.series:,}",
            f"{t.length:,}",
            number(t.mean_d_ks),
            percent(t.power_law_rate),
            percent(t.power_law_rate_calibrated),
            number(t.mean_p_value),
            percent(t.gaussian_rate),
            percent(t.degenerate),
        )
        for axis, t in analysis.tests.items()
    ]


def spectra_rows(analysis: Analysis) -> list[tuple[str, ...]]:
    """The cells below ``SPECTRA_HEADER``."""
    rows: list[tuple[str, ...]] = []
    for v in analysis.spectral_verdicts():
        last = (number(v.fit.s), number(v.fit.d_ks), yes(v.fit.is_power_law), yes(v.fit.is_power_law_calibrated)) \
            if v.fit else ("-", "-", "refused", "refused")  # fmt: skip
        rows.append((v.matrix, f"{v.k:,}", f"{v.rank:,}", *last))
    return rows


def thresholds(analysis: Analysis) -> str:
    """The critical distances and the Gaussian ceiling that the tables are to be read against."""
    tests = analysis.tests["dimension"]
    text = (
        f"Critical distance at K = {tests.k:,}: {tests.d_critical:.4f} published, "
        f"{tests.d_critical_calibrated:.4f} calibrated (exponent fitted to the same data)."
    )
    if tests.gaussian_ceiling is not None:
        text += f" A true Gaussian passes in {percent(tests.gaussian_ceiling)} of series."
    return text


def percent(share: float | None) -> str:
    """A share as a percentage, never rounded to 0% or 100% unless it is."""
    if share is None:
        return "-"
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{100 * share:.1f}%"


def number(value: float | None) -> str:
    """Three significant digits."""
    if value is None:
        return "-"
    return f"{value:.2e}" if value and abs(value) < 1e-3 else f"{value:.3g}"


def yes(passed: bool) -> str:
    return "yes" if passed else "no"


def _direction(t: GradientTests) -> str:
    if t.axis == "dimension":
        subject, each = "Dimension-wise gradients (across parameters)", f"of {t.series:,} iterations"
    else:
        subject, each = "Iteration-wise gradients (across minibatches)", f"of {t.series:,} parameters"
    text = (
        f"{subject}: power-law tails in {percent(t.power_law_rate)} {each} "
        f"({percent(t.power_law_rate_calibrated)} at the calibrated level)"
    )
    if t.gaussian_rate is not None:
        text += f", Gaussian in {percent(t.gaussian_rate)}"
    if t.degenerate:
        text += f"; {percent(t.degenerate)} cannot be tested and count as failing"
    return text + "."


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
