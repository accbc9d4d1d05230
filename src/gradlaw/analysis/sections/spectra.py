"""The spectra of the second moment and of the covariance."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.section import ReadTable, Run, Section, register
from gradlaw.spectra import Spectrum
from gradlaw.spectra.gradient import spectra_of_gram
from gradlaw.spectra.matrices import COVARIANCE, SECOND_MOMENT

if TYPE_CHECKING:
    import pandas as pd


@register
class Spectra(Section[dict[str, Spectrum]]):
    """By matrix: its spectrum. The table has the eigengaps of the covariance beside them."""

    name, place, by_ranks = "spectra", 3, True
    tables = ("eigenvalues",)

    def measure(self, run: Run) -> dict[str, Spectrum]:
        gram, rounding = run.gram
        with run.progress.stage("eigenvalues of both spectra"):
            second, covariance = run.ranks.first(lambda: spectra_of_gram(gram, run.history.shape[1], rounding))
        return {SECOND_MOMENT: second, COVARIANCE: covariance}

    def record(self, result: dict[str, Spectrum] | None, analysis: AnalysisResult) -> dict[str, Any]:
        verdicts = [asdict(verdict) for verdict in analysis.spectral_verdicts()]
        return {self.name: scalars_of(result or {}), "spectral_verdicts": verdicts}

    def frames(self, result: dict[str, Spectrum], analysis: AnalysisResult) -> dict[str, pd.DataFrame]:
        import pandas as pd  # loaded for those who keep a table

        second, covariance = result[SECOND_MOMENT], result[COVARIANCE]
        frame = pd.DataFrame({"rank": np.arange(1, len(second.eigenvalues) + 1)})
        frame["second_moment"], frame["covariance"] = second.eigenvalues, covariance.eigenvalues
        frame["covariance_eigengap"] = pd.Series(analysis.eigengaps.values)  # one fewer: the last is missing
        return {"eigenvalues": frame}

    def read(self, record: dict[str, Any], table: ReadTable) -> dict[str, Spectrum]:
        frame, scalars = table("eigenvalues"), record[self.name]
        return {name: read_spectrum(scalars[name], frame[name.replace(" ", "_")])
                for name in (SECOND_MOMENT, COVARIANCE)}  # fmt: skip


def scalars_of(spectra: dict[str, Spectrum]) -> dict[str, Any]:
    """All of each spectrum but its eigenvalues, and its rank."""
    fields = {name: asdict(spectrum) | {"rank": spectrum.rank} for name, spectrum in spectra.items()}
    return {name: {key: v for key, v in values.items() if key != "eigenvalues"} for name, values in fields.items()}


def read_spectrum(scalars: dict[str, Any], eigenvalues: pd.Series) -> Spectrum:
    """A spectrum from what :func:`scalars_of` kept of it and from its eigenvalues."""
    return Spectrum(eigenvalues.to_numpy(), **{name: value for name, value in scalars.items() if name != "rank"})
