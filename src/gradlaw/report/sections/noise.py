"""Signal, noise and ranks of the model and of its tensors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.formatting import percent, with_error
from gradlaw.report.section import Rows, ShownSection, Table, register

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("parameters", "n", "trace", "share", "noise scale", "signal to noise", "stable rank", "participation")
NOTE = """With standard errors (jackknife). Trace: of the covariance of one minibatch gradient. Noise scale: the
batch size, in samples, at which the noise of a minibatch equals the mean gradient (McCandlish et al. 2018, unbiased);
infinite where the mean is lost in noise. Signal to noise: squared mean gradient over trace. Stable rank: trace over the
largest eigenvalue. Participation: squared trace over the sum of squared eigenvalues, without the bias of T below n.
Ranks of single tensors are among the extended statistics only."""


@register
class ShownNoise(ShownSection):
    name = "noise"

    def sentences(self, analysis: AnalysisResult) -> list[str]:
        noise: pd.DataFrame = analysis.sections[self.name]
        return [_sentence(noise.iloc[0].to_dict())]

    def summary(self, analysis: AnalysisResult) -> list[Table]:
        return [Table("Signal and noise", HEADER, noise_rows(analysis.sections[self.name]), NOTE)]


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
