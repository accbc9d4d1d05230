"""Results made up of a few numbers, as a measurement would record them."""

from typing import Any

import numpy as np

from gradlaw.reproduction.store import Result


def rates(power_law: float, calibrated: float, gaussian: float) -> Result:
    """Of both directions alike."""
    found = {"power_law_rate": power_law, "power_law_rate_calibrated": calibrated, "gaussian_rate": gaussian}
    return Result({"tests": {"dimension": found, "iteration": found}}, {})


def spectrum(power_law: bool = True, calibrated: bool = True, s: float = 1.3, **others: Any) -> Result:
    """Of second moment, covariance and eigengaps alike, but for ``others`` by name."""
    fit = {"is_power_law": power_law, "is_power_law_calibrated": calibrated, "s": s}
    scale, outliers, parameters = others.pop("scale", 1.0), others.pop("outliers", 9), others.pop("parameters", "")
    eigenvalues = scale * np.arange(1, 101) ** -1.3
    eigenvalues[: others.pop("raised", 0)] *= others.pop("by", 1.0)
    one = {"fit": fit, "k": 100, "rank": 100, "outliers": outliers, "leading": eigenvalues[:60].tolist()}
    spectra = dict.fromkeys(("second moment", "covariance", "eigengaps"), one)
    for name, changes in others.items():
        spectra[name.replace("_", " ")] = one | {"fit": None if changes is None else fit | changes}
    return Result({"spectra": spectra} | _at(parameters), {"covariance": eigenvalues})


def hessian(eigenvalues: np.ndarray, fit: dict[str, bool] | None = None, parameters: str = "") -> Result:
    """The largest eigenvalues of a Hessian."""
    return Result({"positive": len(eigenvalues), "fit": fit} | _at(parameters), {"hessian": eigenvalues})


def angles(sines: np.ndarray, bounds: np.ndarray) -> Result:
    """Measured angles and their bounds."""
    return Result({}, {"sine": sines, "bound": bounds})


def _at(parameters: str) -> dict[str, Any]:
    return {"provenance": {"problem": {"parameters_sha256": parameters}}}
