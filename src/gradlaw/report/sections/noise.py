"""Signal, noise and ranks of the model and of its tensors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.chart import Band, Chart, ChartMaker, Line, Mark, Panel
from gradlaw.report.finding import Advice, Finding, certainty_of_estimate
from gradlaw.report.formatting import percent, with_error
from gradlaw.report.section import Rows, ShownSection, Table, register

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("parameters", "n", "trace", "share", "noise scale", "signal to noise", "stable rank", "participation")
RANKS = ("parameters", "trace", "stable rank", "participation")
NOTE = """With standard errors (jackknife). Trace: of the covariance of one minibatch gradient. Noise scale: the
batch size, in samples, at which the noise of a minibatch equals the mean gradient (McCandlish et al. 2018, unbiased);
infinite where the mean is lost in noise. Signal to noise: squared mean gradient over trace. Stable rank: trace over the
largest eigenvalue. Participation: squared trace over the sum of squared eigenvalues, without the bias of T below n.
Ranks of single tensors are among the extended statistics only."""


def _make(analysis: AnalysisResult) -> Chart | None:
    """The share of noise in a minibatch gradient against the batch size: S / (S + B) of its squared length."""
    model = analysis.sections["noise"].iloc[0].to_dict()
    scale, error = model["noise_scale_unbiased"], model["noise_scale_unbiased_error"]
    if model["degenerate"] or not math.isfinite(scale) or scale <= 0 or not math.isfinite(error):
        return None
    batch, unit = analysis.settings["batch_size"], _unit(analysis)
    sizes = np.geomspace(1, max(batch, 100 * scale), 200)
    low, high = max(scale - 2 * error, 0.0), scale + 2 * error
    layers = (
        Band("noise", "covariance", sizes, low / (low + sizes), high / (high + sizes)),
        Line("noise", "covariance", sizes, scale / (scale + sizes)),
    )
    marks = Mark(f"B = {batch:,}", x=float(batch)), Mark(f"noise scale {_rounded(scale)}", x=scale)
    labels = f"batch size, {unit}", "share of its squared length"
    panel = Panel("noise", "Noise in a minibatch gradient", *labels, layers, marks, "log", lowest=0.0, highest=1.0)
    return Chart(
        "noise",
        (panel,),
        "Share of noise in a minibatch gradient against the batch size",
        "How much of the mean squared length of a minibatch gradient is noise, from the noise scale S: S / (S + B), "
        "with two standard errors. At B = S signal and noise are equal.",
    )


@register
class ShownNoise(ShownSection):
    name, heading = "noise", "Signal and noise"
    place = 5

    charts = (ChartMaker("noise", _make),)

    def findings(self, analysis: AnalysisResult) -> list[Finding]:
        return _findings(analysis)

    def sentences(self, analysis: AnalysisResult) -> list[str]:
        noise: pd.DataFrame = analysis.sections[self.name]
        return [_sentence(noise.iloc[0].to_dict())]

    def summary(self, analysis: AnalysisResult) -> list[Table]:
        return [Table("Signal and noise", HEADER, noise_rows(analysis.sections[self.name].iloc[:1]), NOTE)]

    def details(self, analysis: AnalysisResult) -> list[Table]:
        frame: pd.DataFrame = analysis.sections[self.name]
        kept = [HEADER.index(name) for name in RANKS]  # the others are in the table of layers
        rows = [tuple(row[i] for i in kept) for row in noise_rows(frame)[1:]]
        measured = any(cell != "-" for row in rows for cell in row[RANKS.index("stable rank") :])
        return [Table("Ranks of each tensor", RANKS, rows)] if measured else []


def noise_rows(noise: pd.DataFrame) -> Rows:
    """The cells below ``HEADER``: the whole model, then its tensors."""
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


def _findings(analysis: AnalysisResult) -> list[Finding]:
    """Of the noise scale, and of the batch size of this analysis against it."""
    model = analysis.sections["noise"].iloc[0].to_dict()
    if model["degenerate"]:
        return []
    topic = "Critical batch size"
    scale, error = model["noise_scale_unbiased"], model["noise_scale_unbiased_error"]
    batch, unit = analysis.settings["batch_size"], _unit(analysis)
    if not math.isfinite(scale) or scale <= 0 or not math.isfinite(error):
        text = (
            f"Over T = {analysis.settings['iterations']:,} minibatches of {batch:,} the mean cannot be told from zero."
        )
        return [Finding(topic, "The mean gradient is lost in the noise of minibatches", text, "low",
                        "more iterations or larger batches may find it", "layers")]  # fmt: skip
    certainty = certainty_of_estimate(scale, error)
    text = f"Noise scale {with_error(scale, error)} {unit}; the minibatches of this analysis have B = {batch:,}."
    why = f"standard error {100 * error / scale:.2g}% of the value"
    headline = f"Signal and noise are equal in minibatches of about {_rounded(scale)} {unit}"
    advice = None if certainty == "low" else _batch_advice(batch, scale, unit)
    return [Finding(topic, headline, text, certainty, why, "noise", advice)]


FAR = 10  # times: how far B is from the noise scale before anything is said of a side


def _batch_advice(batch: int, scale: float, unit: str) -> Advice:
    """What the batch size means: below a tenth, up to ten times, or above ten times the noise scale."""
    if batch * FAR < scale:
        text = (
            f"B = {batch:,} is far below the critical batch size of about {_rounded(scale)} {unit}: noise makes up "
            "most of a step, and larger batches would save steps almost in proportion."
        )
    elif batch > FAR * scale:
        text = (
            f"B = {batch:,} is far above the critical batch size of about {_rounded(scale)} {unit}: most samples of a "
            "batch repeat what the others say, and smaller batches would take about as many steps."
        )
    else:
        text = (
            f"B = {batch:,} is of the order of the critical batch size, about {_rounded(scale)} {unit}: larger batches "
            "save steps, with diminishing returns."
        )
    caveat = (
        "For plain SGD, and at these parameters: noise scales usually grow while training (McCandlish et al. 2018). B "
        "is that of this analysis, which need not be that of a training."
    )
    return Advice(text, caveat)


def _unit(analysis: AnalysisResult) -> str:
    return "batches" if "batches" in analysis.provenance["problem"]["data"] else "samples"


def _rounded(value: float) -> str:
    """Two digits, as many as an order of magnitude needs."""
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 1 else f"{value:.2g}"


def _sentence(model: dict[str, Any]) -> str:
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
