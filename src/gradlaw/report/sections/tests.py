"""Power-law and Gaussian rates in both directions."""

from html import escape

import numpy as np

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.chart import Chart, ChartMaker, Layer, Mark, Panel, histogram
from gradlaw.report.finding import HALF, Advice, Certainty, Finding, certainty_of_rate, lowered, share_in_words
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
PAGE_HEADER = ("direction", "series", "values", "K", "mean d_KS", "mean p", "degenerate")
# Of the share of Gaussian series among those that can be tested, over that of true Gaussian series.
LOOKS_GAUSSIAN, SOME_GAUSSIAN = 0.6, 0.2
POWER_LAW = 0.4  # share from which a finding speaks of power-law tails
_SHOWN = 4  # times the published critical distance
_TITLES = {"dimension": "Across parameters", "iteration": "Across minibatches"}


def _distances(analysis: AnalysisResult) -> Chart:
    panels = tuple(_distance_panel(analysis, axis) for axis in analysis.tests)
    return Chart(
        "distances",
        panels,
        "Histograms of the Kolmogorov-Smirnov distance of all series in both directions",
        "d_KS of every series that can be tested. Left of the calibrated line a series passes as a power law; the "
        "published line is further right and lets more pass. The last bar has all that lie beyond it.",
    )


def _distance_panel(analysis: AnalysisResult, axis: str) -> Panel:
    t = analysis.tests[axis]
    values = t.d_ks[~t.degenerate_series]
    layers = histogram(values, np.linspace(0, min(1.0, _SHOWN * t.d_critical), 41), f"{axis}-wise", axis)
    marks = Mark("calibrated", x=t.d_critical_calibrated), Mark("published", x=t.d_critical)
    return Panel(f"distances_{axis}", f"{_TITLES[axis]}: d_KS", "d_KS", "share of series", tuple(layers), marks)


def _p_values(analysis: AnalysisResult) -> Chart:
    panels = tuple(_p_value_panel(analysis, axis) for axis in analysis.tests)
    return Chart(
        "p_values",
        panels,
        "Histograms of p-values of all series in both directions",
        "p-values of every series that can be tested: of a power law (calibrated) and of Gaussianity. Where the law "
        "holds they spread evenly from 0 to 1 (dotted); left of alpha it is rejected.",
    )


def _p_value_panel(analysis: AnalysisResult, axis: str) -> Panel:
    t = analysis.tests[axis]
    kept, edges = ~t.degenerate_series, np.linspace(0, 1, 21)
    layers: list[Layer] = histogram(t.p_value[kept], edges, "power law", "power law")
    if t.gaussian_p_value is not None:
        layers += histogram(t.gaussian_p_value[kept], edges, "Gaussian", "gaussian")
    marks = Mark(f"alpha = {t.alpha:g}", x=t.alpha), Mark("even", y=float(edges[1]))
    return Panel(f"p_values_{axis}", f"{_TITLES[axis]}: p-values", "p", "share of series", tuple(layers), marks)


@register
class ShownTests(ShownSection):
    name, heading = "tests", "Tests of every series"
    place = 3
    charts = (ChartMaker("distances", _distances), ChartMaker("p_values", _p_values))

    def findings(self, analysis: AnalysisResult) -> list[Finding]:
        found = [_across_parameters(analysis)]
        return [*found, _across_minibatches(analysis)] if "iteration" in analysis.tests else found

    def sentences(self, analysis: AnalysisResult) -> list[str]:
        return [_direction(tests) for tests in analysis.tests.values()]

    def summary(self, analysis: AnalysisResult) -> list[Table]:
        rates = Table("Rates", RATES_HEADER, _rates_rows(analysis), RATES_NOTE)
        return [rates, Table("Tests of the gradients", PAGE_HEADER, _page_rows(analysis), escape(thresholds(analysis)))]

    def terminal(self, analysis: AnalysisResult) -> list[Table]:
        return [
            Table("Tests of the gradients", TESTS_HEADER, _tests_rows(analysis)),
            Table("Rates, with Wilson intervals", RATES_HEADER, _rates_rows(analysis)),
        ]

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


def _across_parameters(analysis: AnalysisResult) -> Finding:
    """Of the rate at the calibrated level, and of the Gaussian rate where few pass."""
    t, topic = analysis.tests["dimension"], "Tails across parameters"
    panel = "gradients_dimension" if analysis.examples else "distances_dimension"
    if t.no_verdict_calibrated is not None:
        return Finding(topic, "Too few values to tell the tails across parameters", f"{t.no_verdict_calibrated}.",
                       "no verdict", "no number of series makes up for short ones", panel)  # fmt: skip
    share, by_chance = t.power_law_rate_calibrated, t.power_law_rate_calibrated_of_gaussian
    certainty, why = certainty_of_rate(t, share, by_chance)
    text = f"{percent(share)} of {t.series:,} iterations pass the calibrated test on their {t.k:,} largest gradients"
    words = share_in_words(share)
    if share >= POWER_LAW:
        headline = (
            f"Across parameters, {words} {'of the ' if words == 'about half' else ''}gradients have power-law tails"
        )
    elif t.gaussian_rate is not None and t.gaussian_rate <= SOME_GAUSSIAN * (t.gaussian_ceiling or 1):
        headline = "Across parameters, gradients are far from Gaussian, and mostly no power law"
        text += f", {percent(t.gaussian_rate)} the Gaussian one"
    elif t.gaussian_rate is not None and t.gaussian_rate >= LOOKS_GAUSSIAN * (t.gaussian_ceiling or 1):
        headline = "Across parameters, most gradients look Gaussian"
        text += f", {percent(t.gaussian_rate)} the Gaussian one"
    else:
        headline = f"Across parameters, {'no' if words == 'none' else words} gradients have power-law tails"
    return Finding(topic, headline, f"{text}.", certainty, why, panel)


def _across_minibatches(analysis: AnalysisResult) -> Finding:
    """Of the share of Gaussian parameters among those that can be tested, beside that of true Gaussians."""
    t, topic, panel = analysis.tests["iteration"], "Noise across minibatches", "layers"
    if t.gaussian_rate is None or t.gaussian_ceiling is None or t.degenerate == 1:
        why = "no series can be tested" if t.degenerate == 1 else "a series is too short for the Gaussian test"
        return Finding(
            topic, "The noise of minibatches cannot be tested", f"{why.capitalize()}.", "no verdict", why, panel
        )
    tested = t.gaussian_rate / (1 - t.degenerate)
    relative = tested / t.gaussian_ceiling
    text = (
        f"Of the parameters that can be tested, {percent(tested)} pass as Gaussian; of true Gaussian series "
        f"{percent(t.gaussian_ceiling)} would"
    )
    certainty: Certainty = "high"
    why = f"each test sees {t.gaussian_k} of {t.length:,} values"
    if relative >= LOOKS_GAUSSIAN:
        certainty, why = "medium", f"{why}: small deviations from a Gaussian pass"
        headline = f"Across minibatches, the noise of {share_in_words(min(relative, 1.0))} parameters looks Gaussian"
    elif relative >= SOME_GAUSSIAN:
        headline = "Across minibatches, the noise is Gaussian for some parameters and not for others"
    else:
        headline = "Across minibatches, the noise of most parameters is not Gaussian"
    if t.degenerate > HALF:
        certainty, why = lowered(certainty), f"{percent(t.degenerate)} of the parameters cannot be tested"
    elif t.degenerate:
        text += f"; {percent(t.degenerate)} of all cannot be tested"
    return Finding(topic, headline, f"{text}.", certainty, why, panel, _clipping(analysis))


def _clipping(analysis: AnalysisResult) -> Advice | None:
    """Where at least 40% of the parameters that can be tested have power-law tails across minibatches."""
    t = analysis.tests["iteration"]
    if t.no_verdict_calibrated is not None or t.degenerate == 1:
        return None
    share = t.power_law_rate_calibrated / (1 - t.degenerate)
    if share < POWER_LAW:
        return None
    return Advice(
        f"Heavy tails across minibatches ({percent(share)} of the parameters that can be tested): a few minibatches "
        "make much larger steps than the rest, which gradient clipping bounds and an average over minibatches hardly "
        "does.",
        f"Of single parameters, at these parameters and B = {analysis.settings['batch_size']:,}; larger batches bring "
        "the noise nearer to a Gaussian.",
    )


def _page_rows(analysis: AnalysisResult) -> Rows:
    """The cells below ``PAGE_HEADER``."""
    return [
        (f"{axis}-wise", f"{t.series:,}", f"{t.length:,}", f"{t.k:,}", number(t.mean_d_ks), number(t.mean_p_value),
         percent(t.degenerate))
        for axis, t in analysis.tests.items()
    ]  # fmt: skip


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
