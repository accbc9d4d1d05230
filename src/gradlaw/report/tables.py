"""The tables of an analysis: a header and rows of cells each."""

import pandas as pd

from gradlaw.analysis.extended import ExtendedStatistics
from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.verdicts import SpectralVerdict
from gradlaw.report.formatting import chance, number, percent, with_error, yes

Rows = list[tuple[str, ...]]

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
LAYERS_HEADER = (
    "direction",
    "layer",
    "n",
    "K",
    "power-law",
    "calibrated",
    "by chance",
    "Gaussian",
    "degenerate",
)
EXPONENTS_HEADER = ("sample", "K", "s", "95% interval", "bootstrap", "K by scan", "s by scan", "d_KS by scan")
FAMILIES_HEADER = ("sample", "family", "log-likelihood ratio", "p (Vuong)", "p (nested)", "against a power law")
SPECTRA_HEADER = ("spectrum", "K", "rank", "s", "d_KS", "published", "calibrated", "outliers")
NOISE_HEADER = ("parameters", "n", "trace", "share", "noise scale", "signal to noise", "stable rank", "participation")
OVER_HEADER = ("T", "K", "s", "d_KS", "trace", "lambda_1", "lambda_2", "lambda_5", "lambda_10")


def tests_rows(analysis: AnalysisResult) -> Rows:
    """The cells below ``TESTS_HEADER``."""
    return [
        (
            f"{axis}-wise",
            f"{t.series:,}",
            f"{t.length:,}",
            number(t.mean_d_ks),
            _rate(t.power_law_rate, t.no_verdict),
            _rate(t.power_law_rate_calibrated, t.no_verdict_calibrated),
            by_chance(t.power_law_rate_of_gaussian, t.power_law_rate_calibrated_of_gaussian),
            number(t.mean_p_value),
            percent(t.gaussian_rate),
            percent(t.degenerate),
        )
        for axis, t in analysis.tests.items()
    ]


NO_VERDICT = "no verdict"


def _rate(share: float | None, no_verdict: str | None) -> str:
    return percent(share) if no_verdict is None else NO_VERDICT


def by_chance(published: float | None, calibrated: float | None) -> str:
    """The shares of Gaussian series that pass both verdicts."""
    if published is None or calibrated is None or published != published:
        return "-"
    return f"{chance(published)} / {chance(calibrated)}"


def spectra_rows(verdicts: list[SpectralVerdict]) -> Rows:
    """The cells below ``SPECTRA_HEADER``."""
    rows: Rows = []
    for v in verdicts:
        if v.fit:
            last = number(v.fit.s), number(v.fit.d_ks), yes(v.fit.is_power_law), yes(v.fit.is_power_law_calibrated)
        else:
            last = "-", "-", "refused", "refused"
        rows.append((v.matrix, f"{v.k:,}", f"{v.rank:,}", *last, "-" if v.outliers is None else str(v.outliers)))
    return rows


def rates_rows(analysis: AnalysisResult) -> Rows:
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
        for name, (rate, of_gaussian, corrected, no_verdict) in {
            "power law, published": published,
            "power law, calibrated": calibrated,
            "Gaussian": (t.gaussian_rate, t.gaussian_ceiling, t.gaussian_rate_corrected, None),
        }.items():
            interval = t.interval(rate)
            between = f"{percent(interval[0])} to {percent(interval[1])}" if interval else "-"
            share = "-" if of_gaussian is None else percent(of_gaussian) if name == "Gaussian" else chance(of_gaussian)
            cells = (percent(rate), between, share, percent(corrected))
            if no_verdict is not None:
                cells = (NO_VERDICT, "-", share, "-")
            rows.append((f"{axis}-wise", name, *cells))
    return rows


def noise_rows(noise: pd.DataFrame) -> Rows:
    """The cells below ``NOISE_HEADER``: the whole model, then its tensors."""
    total = noise["trace"].iloc[0]
    rows: Rows = []
    for row in noise.to_dict("records"):
        estimates = ("noise_scale_unbiased", "signal_to_noise", "stable_rank", "participation_ratio_corrected")
        size = f"{row['dimensions']:,}"
        name = "whole model" if row["group"] == "model" else row["name"]
        if row["degenerate"]:
            rows.append((name, size, "not above rounding", *["-"] * 5))
            continue
        cells = [with_error(row[name], row[f"{name}_error"]) for name in estimates]
        share = percent(row["trace"] / total if total > 0 else None)
        rows.append((name, size, with_error(row["trace"], row["trace_error"]), share, *cells))
    return rows


def over_iterations_rows(frame: pd.DataFrame) -> Rows:
    """The cells below ``OVER_HEADER``."""
    shown = ("s", "d_ks", "trace", "lambda_1", "lambda_2", "lambda_5", "lambda_10")
    return [
        (f"{row['iterations']:,}", f"{row['k']:,}", *(number(row[name]) for name in shown))
        for row in frame.to_dict("records")
    ]


def layers_rows(extended: ExtendedStatistics) -> Rows:
    """The cells below ``LAYERS_HEADER``: whole model, tensors, types of layer."""
    rows: Rows = []
    for row in extended.layers.to_dict("records"):
        kind = {"model": "whole model", "layer type": f"all {row['name']}"}.get(row["group"], row["name"])
        power_law = [_layer_rate(row, "power_law_rate"), _layer_rate(row, "power_law_rate_calibrated")]
        names = "power_law_rate_of_gaussian", "power_law_rate_calibrated_of_gaussian"
        power_law.append(by_chance(*(row.get(name) for name in names)))  # runs of earlier versions have none
        k = "-" if pd.isna(row["k"]) else f"{row['k']:,.0f}"
        rest = percent(row["gaussian_rate"]), percent(row["degenerate"])
        rows.append((f"{row['axis']}-wise", kind, f"{row['dimensions']:,}", k, *power_law, *rest))
    return rows


def _layer_rate(row: dict, name: str) -> str:
    why = row.get(name.replace("power_law_rate", "no_verdict"))
    return _rate(row[name], why if isinstance(why, str) else None)


def exponents_rows(extended: ExtendedStatistics) -> Rows:
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
        for row in extended.exponents.to_dict("records")
    ]


def families_rows(extended: ExtendedStatistics, alpha: float) -> Rows:
    """The cells below ``FAMILIES_HEADER``; outcomes at level ``alpha``."""
    rows: Rows = []
    for row in extended.comparisons.to_dict("records"):
        nested = row["nested_p_value"]
        nested = None if nested is None or nested != nested else nested
        ratio = "0" if row["ratio"] == 0 else f"{row['ratio']:.1f}"
        family = row["family"].replace("_", " ")
        rows.append(
            (row["sample"], family, ratio, number(row["p_value"]), number(nested), _outcome(row, nested, alpha))
        )
    return rows


def _outcome(row: dict, nested: float | None, alpha: float) -> str:
    if row["status"] == "not converged":
        return "not converged"
    if row["ratio"] == 0:
        return "no better"
    if (row["p_value"] if nested is None else nested) > alpha:
        return "undecided"
    return "fits worse" if row["ratio"] > 0 else "fits better"
