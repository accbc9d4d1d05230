"""One analysis as one row: what a comparison of several sets side by side."""

from typing import Any

from gradlaw.analysis.result import AnalysisResult
from gradlaw.spectra.matrices import COVARIANCE


def overview(result: AnalysisResult) -> dict[str, Any]:
    """The statistics of the whole model by column; None where something could not be measured.

    Columns: ``loss`` (mean over the iterations); of tests in each direction ``*_power_law_rate``, ``*_calibrated_rate``
    and ``*_gaussian_rate`` (0 to 1); of each spectrum ``*_s``, ``*_d_ks``, ``*_is_power_law`` and
    ``*_is_power_law_calibrated``; ``outliers``; ``noise_scale`` (in samples, or in batches of a step) with its standard
    error and ``sample_trace``, that of the covariance at B = 1.
    """
    row: dict[str, Any] = {"loss": float(result.losses.mean())}
    for axis, tests in result.tests.items():
        row[f"{axis}_power_law_rate"] = tests.power_law_rate
        row[f"{axis}_calibrated_rate"] = tests.power_law_rate_calibrated
        row[f"{axis}_gaussian_rate"] = tests.gaussian_rate
    for verdict in result.spectral_verdicts():
        name, fit = verdict.matrix.replace(" ", "_"), verdict.fit
        for field in ("s", "d_ks", "is_power_law", "is_power_law_calibrated"):
            row[f"{name}_{field}"] = None if fit is None else getattr(fit, field)
        if verdict.matrix == COVARIANCE:
            row["outliers"] = verdict.outliers
    noise = result.noise
    for column in ("noise_scale", "noise_scale_error", "sample_trace"):
        row[column] = None if noise is None else float(noise.iloc[0][column])
    return row
