"""Power-law and Gaussian rates in both directions."""

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.formatting import NO_VERDICT, by_chance, chance, number, percent, rate
from gradlaw.report.section import Rows, ShownSection, Table, register
from gradlaw.stats import GradientTests

TESTS_HEADER = (
    "direction",
    "series",
    "values",
    "mean d_KS",
    "power-law",
    "calibrated",
    "by chance",
    "mean p",
    "Gaussian",
    "degenerate",
)
RATES_HEADER = ("direction", "rate", "share", "95% interval", "by chance", "false discoveries controlled")
RATES_NOTE = """Wilson 95% intervals take the series as independent, which gradients of one model are not: the true
uncertainty is larger. Last column: the share not rejected when false discoveries are controlled at alpha over all
series (Benjamini-Hochberg), with the p-values of the calibrated null."""
OF_GAUSSIAN = (
    "By chance: the share of Gaussian series of the same length and K that pass the published / the calibrated verdict "
    "on power laws; where it is above 20%, or K over a third of a series, there is no verdict."
)


@register
class ShownTests(ShownSection):
    name = "tests"

    def sentences(self, analysis: AnalysisResult) -> list[str]:
        return [_direction(tests) for tests in analysis.tests.values()]

    def summary(self, analysis: AnalysisResult) -> list[Table]:
        return [Table("Tests of the gradients", TESTS_HEADER, _tests_rows(analysis))]

    def details(self, analysis: AnalysisResult) -> list[Table]:
        return [Table("Rates, with Wilson intervals", RATES_HEADER, _rates_rows(analysis), RATES_NOTE)]

    def terminal(self, analysis: AnalysisResult) -> list[Table]:
        return self.summary(analysis) + self.details(analysis)

    def remarks(self, analysis: AnalysisResult) -> list[str]:
        return [thresholds(analysis)]


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


def _tests_rows(analysis: AnalysisResult) -> Rows:
    """The cells below ``TESTS_HEADER``."""
    return [
        (
            f"{axis}-wise",
            f"{t.series:,}",
            f"{t.length:,}",
            number(t.mean_d_ks),
            rate(t.power_law_rate, t.no_verdict),
            rate(t.power_law_rate_calibrated, t.no_verdict_calibrated),
            by_chance(t.power_law_rate_of_gaussian, t.power_law_rate_calibrated_of_gaussian),
            number(t.mean_p_value),
            percent(t.gaussian_rate),
            percent(t.degenerate),
        )
        for axis, t in analysis.tests.items()
    ]


def _rates_rows(analysis: AnalysisResult) -> Rows:
    """The cells below ``RATES_HEADER``."""
    rows: Rows = []
    for axis, t in analysis.tests.items():
        published = t.power_law_rate, t.power_law_rate_of_gaussian, None, t.no_verdict
        calibrated = (
            t.power_law_rate_calibrated,
            t.power_law_rate_calibrated_of_gaussian,
            t.power_law_rate_corrected,
            t.no_verdict_calibrated,
        )
        for name, (share_passing, of_gaussian, corrected, no_verdict) in {
            "power law, published": published,
            "power law, calibrated": calibrated,
            "Gaussian": (t.gaussian_rate, t.gaussian_ceiling, t.gaussian_rate_corrected, None),
        }.items():
            interval = t.interval(share_passing)
            between = f"{percent(interval[0])} to {percent(interval[1])}" if interval else "-"
            share = "-" if of_gaussian is None else percent(of_gaussian) if name == "Gaussian" else chance(of_gaussian)
            cells = (percent(share_passing), between, share, percent(corrected))
            if no_verdict is not None:
                cells = (NO_VERDICT, "-", share, "-")
            rows.append((f"{axis}-wise", name, *cells))
    return rows


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
