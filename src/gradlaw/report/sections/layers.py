"""Layer by layer: every parameter tensor, from the tests and, where it was measured, the noise."""

from __future__ import annotations

import math

import numpy as np

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.chart import Chart, ChartMaker, Mark, Panel, Stack
from gradlaw.report.formatting import NO_VERDICT, number, percent, with_error
from gradlaw.report.section import Rows, ShownSection, Table, register

TESTED = ("parameters", "n", "degenerate", "Gaussian", "calibrated", "mean d_KS")
MEASURED = ("share of noise", "noise scale", "signal to noise")
NOTE = """Iteration-wise, over the parameters of each tensor that can be tested; degenerate ones are those that cannot.
d_KS of each tensor from 0 to the largest, as a histogram of twelve bars."""
_BARS, _LEVELS = 12, " ▁▂▃▄▅▆▇█"


def _make(analysis: AnalysisResult) -> Chart | None:
    """Where the non-Gaussian dimensions are: shares by parameter tensor."""
    t = analysis.tests.get("iteration")
    if t is None or t.gaussian_p_value is None:
        return None
    passed = (t.gaussian_p_value > t.alpha) & ~t.degenerate_series
    names = tuple(part.name for part in analysis.layout)
    gaussian = np.array([passed[part.start : part.stop].mean() for part in analysis.layout])
    dead = np.array([t.degenerate_series[part.start : part.stop].mean() for part in analysis.layout])
    edges = np.stack([np.zeros(len(names)), gaussian, 1 - dead, np.ones(len(names))])
    layers = tuple(
        Stack(label, label.lower(), names, edges[i], edges[i + 1])
        for i, label in enumerate(("Gaussian", "not Gaussian", "degenerate"))
    )
    marks = () if t.gaussian_ceiling is None else (Mark("a true Gaussian", x=t.gaussian_ceiling),)
    title = "Gaussian noise across minibatches, by tensor"
    return Chart(
        "layers",
        (Panel("layers", title, "share of the parameters", "", layers, marks),),
        "Shares of Gaussian, not Gaussian and degenerate parameters by tensor",
        "Where the parameters are whose noise across minibatches is not Gaussian. Dotted: the share of true Gaussian "
        "series that pass.",
    )


@register
class ShownLayers(ShownSection):
    name, measured, heading = "layers", "tests", "Layer by layer"
    place = 4
    charts = (ChartMaker("layers", _make),)

    def summary(self, analysis: AnalysisResult) -> list[Table]:
        if "iteration" not in analysis.tests:  # of gradients that were sketched
            return []
        header = TESTED if analysis.noise is None else (*TESTED, *MEASURED)
        return [Table("Layers", (*header, "d_KS"), _rows(analysis), NOTE)]


def _rows(analysis: AnalysisResult) -> Rows:
    t = analysis.tests["iteration"]
    tested = t.d_ks[~t.degenerate_series]
    edges = np.linspace(0, float(tested.max()) if len(tested) else 1.0, _BARS + 1)
    noise = {} if analysis.noise is None else analysis.noise.iloc[1:].set_index("name").to_dict("index")
    total = sum(row["trace"] for row in noise.values() if math.isfinite(row["trace"]))
    rows: Rows = []
    for part in analysis.layout:
        kept = ~t.degenerate_series[part.start : part.stop]
        d_ks = t.d_ks[part.start : part.stop][kept]
        p = None if t.gaussian_p_value is None else t.gaussian_p_value[part.start : part.stop][kept]
        power_law = t.is_power_law_calibrated[part.start : part.stop][kept]
        cells = [
            part.name,
            f"{part.stop - part.start:,}",
            percent(float(1 - kept.mean())),
            percent(float((p > t.alpha).mean()) if p is not None and len(p) else None),
            NO_VERDICT if t.no_verdict_calibrated is not None else percent(_mean(power_law)),
            number(_mean(d_ks)),
        ]
        if analysis.noise is not None:
            cells += _noise_cells(noise[part.name], total)
        rows.append((*cells, _sparkline(d_ks, edges)))
    return rows


def _noise_cells(row: dict[str, float], total: float) -> list[str]:
    if row["degenerate"]:
        return ["-", "-", "-"]
    estimates = ("noise_scale_unbiased", "signal_to_noise")
    share = percent(row["trace"] / total if total > 0 else None)
    return [share, *(with_error(row[name], row[f"{name}_error"]) for name in estimates)]


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _sparkline(values: np.ndarray, edges: np.ndarray) -> str:
    """A histogram in a line of text."""
    if not len(values):
        return "-"
    counts, _ = np.histogram(values, edges)
    heights = np.ceil(counts / counts.max() * (len(_LEVELS) - 1)).astype(int)
    return "".join(_LEVELS[height] for height in heights).replace(" ", "\N{FIGURE SPACE}")
