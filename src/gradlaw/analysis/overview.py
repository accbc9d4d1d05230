"""One analysis as one row: what a comparison of several sets side by side."""

from typing import Any

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.verdicts import SpectralVerdict
from gradlaw.spectra.matrices import COVARIANCE


def overview(result: AnalysisResult) -> dict[str, Any]:
    """The statistics of the whole model by column; None where something could not be measured.

    Columns: ``loss`` (mean over the iterations); of tests in each direction ``*_power_law_rate``, ``*_calibrated_rate``
    and ``*_gaussian_rate`` (0 to 1); of each spectrum ``*_s``, ``*_d_ks``, ``*_is_power_law`` and
    ``*_is_power_law_calibrated``; ``outliers``; ``noise_scale`` (in samples, or in batches of a step) with its standard
    error and ``sample_trace``, that of the covariance at B = 1. Of gradients that were sketched ``approximate`` is the
    first, what is of spectra is approximate, and ``*_s`` and ``*_d_ks`` have the ends of their intervals beside, and a
    verdict that the interval of d_KS leaves open is None.
    """
    row: dict[str, Any] = {} if result.sketch_size is None else {"approximate": True}
    row["loss"] = float(result.losses.mean())
    for axis, tests in result.tests.items():
        row[f"{axis}_power_law_rate"] = tests.power_law_rate
        row[f"{axis}_calibrated_rate"] = tests.power_law_rate_calibrated
        row[f"{axis}_gaussian_rate"] = tests.gaussian_rate
    for verdict in result.spectral_verdicts():
        name, fit = verdict.matrix.replace(" ", "_"), verdict.fit
        for field in ("s", "d_ks", "is_power_law", "is_power_law_calibrated"):
            row[f"{name}_{field}"] = None if fit is None or field in _open(result, verdict) else getattr(fit, field)
        if result.sketch_size is not None and fit is not None:
            for field in ("s", "d_ks"):
                row[f"{name}_{field}_low"], row[f"{name}_{field}_high"] = result.interval_of(field, verdict.matrix)
        if verdict.matrix == COVARIANCE:
            row["outliers"] = verdict.outliers
    noise = result.noise
    for column in ("noise_scale", "noise_scale_error", "sample_trace"):
        row[column] = None if noise is None else float(noise.iloc[0][column])
    return row


def _open(result: AnalysisResult, verdict: SpectralVerdict) -> list[str]:
    """The verdicts that a sketch leaves open."""
    names = {"is_power_law": False, "is_power_law_calibrated": True}
    return [name for name, calibrated in names.items() if result.is_open(verdict, calibrated)]
