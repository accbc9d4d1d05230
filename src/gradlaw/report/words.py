"""What an analysis says, in words and in rows of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradlaw.analysis import Analysis, SpectralVerdict
    from gradlaw.depth import Depth
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
RATES_HEADER = ("direction", "rate", "share", "95% interval", "false discoveries controlled")
LAYERS_HEADER = ("direction", "layer", "n", "K", "power-law", "calibrated", "Gaussian", "degenerate")
EXPONENTS_HEADER = ("sample", "K", "s", "95% interval", "bootstrap", "K by scan", "s by scan", "d_KS by scan")
FAMILIES_HEADER = ("sample", "family", "log-likelihood ratio", "p (Vuong)", "p (nested)", "against a power law")
SPECTRA_HEADER = ("spectrum", "K", "rank", "s", "d_KS", "published", "calibrated")


def title(analysis: Analysis) -> str:
    """Model, data, B and T."""
    settings, problem = analysis.settings, analysis.provenance["problem"]
    data = problem["data"].get("name")
    on = f" on {data.rstrip('/').rpartition('/')[2]}" if data else ""
    transformed = f" ({', '.join(settings['transforms'])})" if settings["transforms"] else ""
    return f"{problem['model']}{on}{transformed}, B = {settings['batch_size']:,}, T = {settings['iterations']:,}"


def verdicts(analysis: Analysis) -> list[str]:
    """One sentence for each direction and each spectrum."""
    sentences = [_direction(tests) for tests in analysis.tests.values()]
    sentences += [_spectrum(verdict) for verdict in analysis.spectral_verdicts()]
    return sentences if analysis.depth is None else [*sentences, _stable_indices(analysis.depth)]


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


def rates_rows(analysis: Analysis) -> list[tuple[str, ...]]:
    """The cells below ``RATES_HEADER``."""
    rows: list[tuple[str, ...]] = []
    for axis, t in analysis.tests.items():
        for name, rate, corrected in (
            ("power law, published", t.power_law_rate, None),
            ("power law, calibrated", t.power_law_rate_calibrated, t.power_law_rate_corrected),
            ("Gaussian", t.gaussian_rate, t.gaussian_rate_corrected),
        ):
            interval = t.interval(rate)
            between = f"{percent(interval[0])} to {percent(interval[1])}" if interval else "-"
            rows.append((f"{axis}-wise", name, percent(rate), between, percent(corrected)))
    return rows


def layers_rows(depth: Depth) -> list[tuple[str, ...]]:
    """The cells below ``LAYERS_HEADER``: whole model, tensors, types of layer."""
    rows: list[tuple[str, ...]] = []
    for row in depth.layers.to_dict("records"):
        kind = {"model": "whole model", "layer type": f"all {row['name']}"}.get(row["group"], row["name"])
        shares = (row["power_law_rate"], row["power_law_rate_calibrated"], row["gaussian_rate"], row["degenerate"])
        known = [percent(None if share is None or share != share else share) for share in shares]
        rows.append((f"{row['axis']}-wise", kind, f"{row['dimensions']:,}", f"{row['k']:,}", *known))
    return rows


def exponents_rows(depth: Depth) -> list[tuple[str, ...]]:
    """The cells below ``EXPONENTS_HEADER``."""
    return [
        (
            row["sample"],
            f"{row['k']:,}",
            number(row["s"]),
            f"{number(row['s_low'])} to {number(row['s_high'])}",
            f"{number(row['s_bootstrap_low'])} to {number(row['s_bootstrap_high'])}",
            f"{row['scan_k']:,}",
            number(row["scan_s"]),
            number(row["scan_d_ks"]),
        )
        for row in depth.exponents.to_dict("records")
    ]


def families_rows(depth: Depth) -> list[tuple[str, ...]]:
    """The cells below ``FAMILIES_HEADER``."""
    rows: list[tuple[str, ...]] = []
    for row in depth.comparisons.to_dict("records"):
        nested = row["nested_p_value"]
        nested = None if nested is None or nested != nested else nested
        ratio = "0" if row["ratio"] == 0 else f"{row['ratio']:.1f}"
        family = row["family"].replace("_", " ")
        rows.append((row["sample"], family, ratio, number(row["p_value"]), number(nested), _outcome(row, nested)))
    return rows


def _outcome(row: dict, nested: float | None, alpha: float = 0.05) -> str:
    if row["status"] == "not converged":
        return "not converged"
    if row["ratio"] == 0:
        return "no better"
    if (row["p_value"] if nested is None else nested) > alpha:
        return "undecided"
    return "fits worse" if row["ratio"] > 0 else "fits better"


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


def _stable_indices(depth: Depth) -> str:
    across, along = (depth.median_stable_index(axis) for axis in ("dimension", "iteration"))
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
