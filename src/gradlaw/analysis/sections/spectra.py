"""The spectra of the second moment and of the covariance."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.section import ReadTable, Run, Section, register
from gradlaw.analysis.verdicts import SpectralVerdict
from gradlaw.spectra import Spectrum
from gradlaw.spectra.gradient import spectra_of_gram
from gradlaw.spectra.matrices import COVARIANCE, SECOND_MOMENT

if TYPE_CHECKING:
    import pandas as pd


@register
class Spectra(Section[dict[str, Spectrum]]):
    """By matrix: its spectrum. The table has the eigengaps of the covariance beside them."""

    name, place, by_ranks, from_sketch = "spectra", 3, True, True
    tables = ("eigenvalues",)

    def measure(self, run: Run) -> dict[str, Spectrum]:
        if run.approximate:
            return {name: found.spectrum for name, found in run.approximate.items()}
        gram, rounding = run.gram
        with run.progress.stage("eigenvalues of both spectra"):
            second, covariance = run.ranks.first(lambda: spectra_of_gram(gram, run.history.shape[1], rounding))
        return {SECOND_MOMENT: second, COVARIANCE: covariance}

    def record(self, result: dict[str, Spectrum] | None, analysis: AnalysisResult) -> dict[str, Any]:
        verdicts = [asdict(verdict) | _of_sketch(verdict, analysis) for verdict in analysis.spectral_verdicts()]
        return {self.name: scalars_of(result or {}), "spectral_verdicts": verdicts}

    def frames(self, result: dict[str, Spectrum], analysis: AnalysisResult) -> dict[str, pd.DataFrame]:
        import pandas as pd  # loaded for those who keep a table

        second, covariance = result[SECOND_MOMENT], result[COVARIANCE]
        frame = pd.DataFrame({"rank": np.arange(1, len(second.eigenvalues) + 1)})
        frame["second_moment"], frame["covariance"] = second.eigenvalues, covariance.eigenvalues
        if analysis.sketch_size is not None:
            return {"eigenvalues": frame.assign(approximate=True)}
        frame["covariance_eigengap"] = pd.Series(analysis.eigengaps.values)  # one fewer: the last is missing
        return {"eigenvalues": frame}

    def read(self, record: dict[str, Any], table: ReadTable) -> dict[str, Spectrum]:
        frame, scalars = table("eigenvalues"), record[self.name]
        return {name: read_spectrum(scalars[name], frame[name.replace(" ", "_")])
                for name in (SECOND_MOMENT, COVARIANCE)}  # fmt: skip


def _of_sketch(verdict: SpectralVerdict, analysis: AnalysisResult) -> dict[str, Any]:
    """That a verdict is approximate, and whether it is left open; nothing of whole gradients."""
    if analysis.sketch_size is None:
        return {}
    opened = {"open": analysis.is_open(verdict, False), "open_calibrated": analysis.is_open(verdict)}
    return {"approximate": True, **(opened if verdict.fit is not None else {})}


def scalars_of(spectra: dict[str, Spectrum]) -> dict[str, Any]:
    """All of each spectrum but its eigenvalues, and its rank."""
    fields = {name: asdict(spectrum) | {"rank": spectrum.rank} for name, spectrum in spectra.items()}
    return {name: {key: v for key, v in values.items() if key != "eigenvalues"} for name, values in fields.items()}


def read_spectrum(scalars: dict[str, Any], eigenvalues: pd.Series) -> Spectrum:
    """A spectrum from what :func:`scalars_of` kept of it and from its eigenvalues."""
    return Spectrum(eigenvalues.to_numpy(), **{name: value for name, value in scalars.items() if name != "rank"})
