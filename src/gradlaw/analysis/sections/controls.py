"""The covariance spectra of noise of the same shape, where there is nothing to find."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.section import ReadTable, Run, Section, register
from gradlaw.analysis.sections.spectra import read_spectrum, scalars_of
from gradlaw.spectra import Spectrum, control_spectrum
from gradlaw.spectra.controls import CONTROLS

if TYPE_CHECKING:
    import pandas as pd


@register
class Controls(Section[dict[str, Spectrum]]):
    """By control: its covariance spectrum; at the cost of a dense Gram matrix each."""

    name, place, by_ranks = "controls", 4, True

    def measure(self, run: Run) -> dict[str, Spectrum] | None:
        if self.name not in run.asked:
            return None
        spectra = {}
        for control in CONTROLS:
            with run.progress.stage(f"control: {control}"):
                spectra[control] = control_spectrum(run.gradients, control, run.seed)
        return spectra

    def record(self, result: dict[str, Spectrum] | None, analysis: AnalysisResult) -> dict[str, Any]:
        verdicts = [asdict(verdict) for verdict in analysis.control_verdicts()]
        return {self.name: scalars_of(result or {}), "control_verdicts": verdicts}

    def frames(self, result: dict[str, Spectrum], analysis: AnalysisResult) -> dict[str, pd.DataFrame]:
        import pandas as pd  # loaded for those who keep a table

        columns = {name: spectrum.eigenvalues for name, spectrum in result.items()}
        length = len(next(iter(columns.values())))
        return {self.name: pd.DataFrame({"rank": np.arange(1, length + 1), **columns})}

    def read(self, record: dict[str, Any], table: ReadTable) -> dict[str, Spectrum] | None:
        if not record[self.name]:
            return None
        frame = table(self.name)
        return {name: read_spectrum(scalars, frame[name]) for name, scalars in record[self.name].items()}
