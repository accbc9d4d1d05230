"""Everything measured on one gradient history, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlaw.analysis.extended import ExtendedStatistics
from gradlaw.analysis.verdicts import SpectralVerdict, spectral_verdict, spectral_verdicts
from gradlaw.by_value import ByValue
from gradlaw.problem import ParameterSlice
from gradlaw.spectra import Eigengaps, Spectrum, eigengaps
from gradlaw.spectra.matrices import COVARIANCE
from gradlaw.stats import GradientTests

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class RankedSeries(ByValue):
    """One series in descending order of magnitude: the one of median KS distance, as an example to draw.

    ``places`` says which dimension, or which iteration, each magnitude is of; None in runs of versions before 0.2.
    """

    axis: str
    index: int
    magnitudes: np.ndarray
    places: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class AnalysisResult(ByValue):
    """What :func:`gradlaw.analyze` measured.

    Attributes:
        provenance: settings, problem, versions and machine.
        layout: where each parameter tensor sits among the n dimensions.
        losses: minibatch losses, shape (T,).
        sections: what each section measured, by its name; None where it has nothing to say or was not asked.
        notices: what was decided along the way, in words.
        started, finished: ISO times, UTC; the only part that differs between two runs with one seed.
    """

    provenance: dict[str, Any]
    layout: list[ParameterSlice]
    losses: np.ndarray
    sections: dict[str, Any]
    notices: list[str]
    started: str
    finished: str

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked for."""
        return self.provenance["settings"]

    @property
    def sketch_size(self) -> int | None:
        """Numbers of a sketch, where gradients were sketched and the spectra are approximate; None of whole ones."""
        sketch: dict[str, Any] | None = self.settings.get("sketch")
        return None if sketch is None else sketch["size"]

    def interval_of(self, statistic: str, matrix: str = COVARIANCE) -> tuple[float, float]:
        """The interval of 95% of ``"s"`` or ``"d_ks"`` of a spectrum that a sketch told."""
        table = self.sections["approximate"]
        row = table[(table["matrix"] == matrix) & (table["statistic"] == statistic)].iloc[0]
        return float(row["low"]), float(row["high"])

    def is_open(self, verdict: SpectralVerdict, calibrated: bool = True) -> bool:
        """Whether a sketch leaves a verdict open: the interval of d_KS has the critical distance in it."""
        if self.sketch_size is None or verdict.fit is None:
            return False
        low, high = self.interval_of("d_ks", verdict.matrix)
        return low <= (verdict.fit.d_critical_calibrated if calibrated else verdict.fit.d_critical) < high

    @property
    def tests(self) -> dict[str, GradientTests]:
        """Of the series in both directions, by axis (``"dimension"``, ``"iteration"``); across iterations none where
        gradients were sketched.
        """
        tests: dict[str, GradientTests] = self.sections["tests"]
        return tests

    @property
    def examples(self) -> dict[str, RankedSeries]:
        """One series of each axis; none of gradients that were sketched."""
        examples: dict[str, RankedSeries] | None = self.sections["examples"]
        return examples or {}

    @property
    def spectra(self) -> dict[str, Spectrum]:
        """By matrix (``"second moment"``, ``"covariance"``)."""
        spectra: dict[str, Spectrum] = self.sections["spectra"]
        return spectra

    @property
    def noise(self) -> pd.DataFrame | None:
        """Signal, noise and ranks of the model and each parameter tensor, one row each (columns as
        :func:`~gradlaw.spectra.gradient_noise_by_layer` has them); None where they cannot be measured.
        """
        return self.sections["noise"]

    @property
    def over_iterations(self) -> pd.DataFrame | None:
        """How the covariance spectrum moves with T, one row a number of iterations; None if T is small."""
        return self.sections["over_iterations"]

    @property
    def controls(self) -> dict[str, Spectrum]:
        """Covariance spectra of noise of the same shape, by control; empty unless asked for."""
        return self.sections["controls"] or {}

    @property
    def extended(self) -> ExtendedStatistics | None:
        """Layers, other tail indices, other families, Gaussianity in full; None unless asked for."""
        return self.sections["extended"]

    @property
    def eigengaps(self) -> Eigengaps:
        """The gaps of the covariance spectrum."""
        return eigengaps(self.spectra[COVARIANCE])

    @property
    def classes(self) -> int | None:
        """How many classes the data have, if that is known."""
        return len(self.provenance["problem"]["data"].get("classes", ())) or None

    def spectral_verdicts(self) -> list[SpectralVerdict]:
        """Verdicts on the second moment, the covariance and its eigengaps; see :mod:`gradlaw.analysis.verdicts`."""
        verdicts = spectral_verdicts(self.spectra, self.settings["k"], self.settings["alpha"])
        if self.sketch_size is None:
            return verdicts
        refused = "gaps are smaller than the error of eigenvalues, and cannot be said from a sketch"
        return [*verdicts[:2], replace(verdicts[2], fit=None, refused=refused)]

    def control_verdicts(self) -> list[SpectralVerdict]:
        """Verdicts on the covariance and, on as many eigenvalues, on its controls; empty without controls."""
        covariance = self.spectral_verdicts()[1]
        alpha = self.settings["alpha"]
        found = [spectral_verdict(name, s, covariance.k, alpha) for name, s in self.controls.items()]
        return [replace(covariance, matrix="measured"), *found] if found else []
