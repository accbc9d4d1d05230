"""The law of the population beside the sample spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.chart import Chart, ChartMaker, Layer, Line, Panel, by_rank
from gradlaw.report.formatting import number
from gradlaw.report.section import Rows, ShownSection, Table, register
from gradlaw.spectra.matrices import COVARIANCE
from gradlaw.spectra.population.laws import logarithms

if TYPE_CHECKING:
    import pandas as pd

HEADER = ("population", "s", "below the break", "break at rank", "p")
REJECTED = 0.05  # level at which a law is rejected
NOTE = """With intervals of 95%, where the law is not rejected. The population is what the T gradients are a sample of;
p is the chance of a spectrum further from the law, were it right. With thousands of gradients the smallest bend is
rejected."""
SHOWN = ("sample", "s", "d_KS")
NOTE_OF_SAMPLES = """Of the K largest eigenvalues. <em>Drawn</em>: as many Gaussian vectors whose covariance follows the
law, of the sizes that the gradients have. What both samples show is the doing of law and sampling; what the drawn one
does not show is the gradients' own."""


def _make(analysis: AnalysisResult) -> Chart:
    """Sample eigenvalues against rank, and the laws of the population."""
    frame: pd.DataFrame = analysis.sections["population"]
    spectrum = analysis.spectra[COVARIANCE]
    layers: list[Layer] = by_rank(spectrum.eigenvalues[: spectrum.rank], "sample", "covariance", "times")
    for row in frame.to_dict("records"):
        ranks = np.geomspace(row["outliers"] + 1, spectrum.dimensions, 200)
        values = np.exp(logarithms(_parameters(row), ranks, row["pivot"]))
        layers.append(Line(f"population: {row['law']}", row["law"], ranks, values, dashed=True))
    halves = analysis.sections.get("two_halves")
    if halves is not None:
        layers.append(Line("one half, along the other", "two halves", *halves[["rank", "other"]].to_numpy().T))
    title = "Sample covariance, and laws of the population"
    panel = Panel("population", title, "rank", "eigenvalue", tuple(layers), (), "log", "log",
                  lowest=float(spectrum.eigenvalues[spectrum.rank - 1]) / 100)  # fmt: skip
    return Chart(
        "population",
        (panel,),
        "Eigenvalues of the sample covariance against rank, with lines for the population",
        "The eigenvalues of T gradients, and the laws that a population would have to follow for T draws from it to "
        "look like these. The sample ends at rank T; the population goes on to n. The solid line is cross-validated: "
        "variances of one half of the gradients along the eigenvectors of the other half.",
    )


def _parameters(row: dict[str, Any]) -> np.ndarray:
    """As :func:`~gradlaw.spectra.population.laws.logarithms` takes them."""
    below = [row["s_below"], np.log(row["break_rank"])] if np.isfinite(row["break_rank"]) else []
    return np.array([row["height"], row["s"], *below])


@register
class ShownPopulation(ShownSection):
    name, heading = "population", "The population behind the spectrum"
    place = 3
    charts = (ChartMaker("population", _make),)

    def sentences(self, analysis: AnalysisResult) -> list[str]:
        return [population_sentence(analysis.sections[self.name].to_dict("records"))]

    def summary(self, analysis: AnalysisResult) -> list[Table]:
        rows = sample_rows(analysis.sections[self.name].to_dict("records"))
        drawn = Table("The gradients, and draws from the law", SHOWN, rows, NOTE_OF_SAMPLES)
        return [self._table(analysis)._replace(note=NOTE), drawn]

    def terminal(self, analysis: AnalysisResult) -> list[Table]:
        return [self._table(analysis)]

    @staticmethod
    def _table(analysis: AnalysisResult) -> Table:
        rows = population_rows(analysis.sections["population"].to_dict("records"))
        return Table("Laws of the population", HEADER, rows)


def population_rows(laws: list[dict[str, Any]]) -> Rows:
    """The cells below ``HEADER``."""
    rows: Rows = []
    for law in laws:
        broken = np.isfinite(law["break_rank"])
        below = [_with_ends(law, name) if broken else "-" for name in ("s_below", "break_rank")]
        rows.append((law["law"], _with_ends(law, "s"), *below, number(law["p_value"])))
    return rows


def sample_rows(laws: list[dict[str, Any]]) -> Rows:
    """The cells below ``SHOWN``."""
    law = laws[0]
    drawn = ("drawn from the law", number(law["s_drawn"]), number(law["d_ks_drawn"]))
    return [("the gradients", number(law["s_sample"]), number(law["d_ks_sample"])), drawn]


def population_sentence(laws: list[dict[str, Any]]) -> str:
    """What the sample spectrum says of the population, and how much of it is the sample's doing, in words."""
    plain = laws[0]
    share = plain["d_ks_drawn"] / plain["d_ks_sample"]
    return (
        f"{_said(laws)} As many draws from that law show s = {number(plain['s_drawn'])} and d_KS = "
        f"{number(plain['d_ks_drawn'])}, the gradients d_KS = {number(plain['d_ks_sample'])}: sampling moves s by "
        f"{plain['s_drawn'] - _taken(laws)['s']:+.2g} and makes {share:.0%} of the distance."
    )


def _taken(laws: list[dict[str, Any]]) -> dict[str, Any]:
    """The law that draws are made from: see ``PopulationSpectrum.law``."""
    return laws[1] if len(laws) > 1 and laws[0]["p_value"] < REJECTED else laws[0]


def _said(laws: list[dict[str, Any]]) -> str:
    plain, *broken = laws
    sample = f"{number(plain['s_sample'])} over its top {plain['k']:,}"
    text = f"The sample spectrum of {plain['iterations']:,} independent gradients has s = {sample}; "
    if plain["p_value"] >= REJECTED:
        return text + f"the covariance itself can be a power law with s = {_with_ends(plain, 's')}."
    text += f"the covariance itself is no plain power law (the nearest has s = {number(plain['s'])})"
    if not broken:
        return f"{text}."
    bent = broken[0]
    fits = "fits" if bent["p_value"] >= REJECTED else "comes nearer, though it is rejected too"
    return (
        f"{text}; one with s = {number(bent['s'])} down to rank {number(bent['break_rank'])} and "
        f"{number(bent['s_below'])} below {fits}."
    )


def _with_ends(law: dict[str, Any], name: str) -> str:
    """A value with its interval, which holds if the law does, and is left out where it is rejected."""
    if law["p_value"] < REJECTED:
        return number(law[name])
    return f"{number(law[name])} ({number(law[f'{name}_low'])} to {number(law[f'{name}_high'])})"
