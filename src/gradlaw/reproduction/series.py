"""The series of a result, thinned to what figures draw and rules look at."""

from typing import Any

import numpy as np

from gradlaw.reproduction.store import Result
from gradlaw.spectra.matrices import COVARIANCE, SECOND_MOMENT

# The quantities that figures draw, beside the two matrices.
DIMENSION, ITERATION, HESSIAN_VALUES = "dimension-wise", "iteration-wise", "Hessian"
GAPS_BY_EIGENVALUE, GAPS_SORTED = "eigengaps by eigenvalue", "eigengaps, sorted"
AXES = {DIMENSION: "dimension", ITERATION: "iteration"}
NAMES = {
    **AXES,
    SECOND_MOMENT: "second_moment",
    COVARIANCE: "covariance",
    HESSIAN_VALUES: "hessian",
    GAPS_SORTED: "eigengaps",
    GAPS_BY_EIGENVALUE: "eigengaps_by_eigenvalue",
}  # of arrays, by the quantity that is drawn
POINTS = 700  # drawn of a series at most, evenly spaced in log rank
LEADING = 60  # eigenvalues that every result has
WHOLE = 1000  # leading values that are kept, all of them: power laws are fitted to these


def drawn_ranks(length: int) -> np.ndarray:
    """The ranks that are drawn of a long series, evenly spaced in log rank; shape (at most ``POINTS``,)."""
    return np.unique(np.geomspace(1, length, POINTS).round().astype(np.int64))


def ranked(result: Result, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Ranks, counted from 1, and values of a series; only those that were kept of it, which may be none.

    Both of shape (kept,).
    """
    values = result.arrays.get(name, np.empty(0))
    return result.arrays.get(f"{name}_ranks", np.arange(1, len(values) + 1)), values


def thin(result: Result) -> Result:
    """The result with its series thinned, and without the record's copies of their leading values.

    Of a spectrum up to its numerical rank, and of its sorted gaps, the first ``WHOLE`` are kept, and of those below the
    ones that are drawn; of the gaps by eigenvalue the drawn ones alone; of any spectrum the first ``LEADING``. The
    values stay as they are: a figure of a thinned result is the same. A thinned result is returned as it is.
    """
    if "leading" not in result.record.get("spectra", {}).get(COVARIANCE, {}):
        return Result(_without(result.record, "leading"), result.arrays)
    arrays: dict[str, np.ndarray] = {}
    spectra = {name: _without(fields, "leading") for name, fields in result.record["spectra"].items()}
    for matrix in (SECOND_MOMENT, COVARIANCE):
        values = result.arrays[NAMES[matrix]][: max(LEADING, spectra[matrix]["rank"])]
        _keep(arrays, NAMES[matrix], values, WHOLE)
    gaps = -np.diff(result.arrays[NAMES[COVARIANCE]])[: max(0, spectra[COVARIANCE]["rank"] - 1)]
    _keep(arrays, NAMES[GAPS_SORTED], np.sort(gaps[gaps > 0])[::-1], WHOLE)
    by_eigenvalue = np.arange(1, len(gaps) + 1)[gaps > 0]
    by_eigenvalue = by_eigenvalue[_kept(len(by_eigenvalue), 0) - 1]
    _put(arrays, NAMES[GAPS_BY_EIGENVALUE], by_eigenvalue, gaps[by_eigenvalue - 1])
    for axis in AXES.values():
        if f"{axis}_magnitudes" in result.arrays:
            magnitudes = result.arrays[f"{axis}_magnitudes"].astype(np.float64)
            _put(arrays, axis, result.arrays[f"{axis}_ranks"], magnitudes)
    return Result(result.record | {"spectra": spectra}, arrays)


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


def _kept(length: int, whole: int) -> np.ndarray:
    """The ranks that are kept of a series."""
    if length <= max(POINTS, whole):
        return np.arange(1, length + 1)
    return np.union1d(np.arange(1, whole + 1), drawn_ranks(length))


def _keep(arrays: dict[str, np.ndarray], name: str, values: np.ndarray, whole: int) -> None:
    ranks = _kept(len(values), whole)
    _put(arrays, name, ranks, values[ranks - 1])


def _put(arrays: dict[str, np.ndarray], name: str, ranks: np.ndarray, values: np.ndarray) -> None:
    """Values, if there are any, with their ranks, unless these are 1, 2, 3 and so on."""
    if not len(values):
        return
    arrays[name] = values
    if ranks[-1] != len(ranks):
        arrays[f"{name}_ranks"] = ranks
