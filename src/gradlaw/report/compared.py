"""Tables of several runs: where their settings differ, and their statistics side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradlaw.analysis.overview import overview
from gradlaw.analysis.result import AnalysisResult
from gradlaw.report.formatting import number, percent, with_error, yes
from gradlaw.report.marked import without_folders
from gradlaw.report.overlay import Group, Runs
from gradlaw.report.section import Table

_LONGEST = 40  # characters of a setting
_NAMES = {
    "loss": "mean loss",
    "dimension_power_law_rate": "dimension-wise power-law, published",
    "dimension_calibrated_rate": "dimension-wise power-law, calibrated",
    "dimension_gaussian_rate": "dimension-wise Gaussian",
    "iteration_power_law_rate": "iteration-wise power-law, published",
    "iteration_calibrated_rate": "iteration-wise power-law, calibrated",
    "iteration_gaussian_rate": "iteration-wise Gaussian",
    **{
        f"{matrix}_{field}": f"{matrix.replace('_', ' ')}: {words}"
        for matrix in ("second_moment", "covariance", "eigengaps")
        for field, words in {
            "s": "s",
            "d_ks": "d_KS",
            "is_power_law": "power law, published",
            "is_power_law_calibrated": "power law, calibrated",
        }.items()
    },
}
_DIGEST = 12  # characters that tell one from another
_DERIVED = ("settings.rounding", "settings.rounding_alone", "problem.data.normalisation")  # of what was set


def differing_settings(runs: Runs) -> Table:
    """The settings in which the runs differ, a row each."""
    flat = {name: _flat(without_folders(_inputs(run.provenance))) for name, run in runs.items()}
    keys = dict.fromkeys(key for found in flat.values() for key in found)
    rows = []
    for key in keys:
        if key.startswith(_DERIVED):
            continue
        cells = [found.get(key, "-") for found in flat.values()]
        if len(set(cells)) > 1:
            most = _DIGEST if key.endswith("sha256") else _LONGEST
            rows.append((key, *(cell if len(cell) <= most else f"{cell[: most - 1]}…" for cell in cells)))
    note = "" if rows else "No setting differs."
    return Table("What differs", ("setting", *runs), rows, note)


def side_by_side(runs: Runs, groups: Sequence[Group]) -> Table:
    """Every statistic of the whole model, a row each; seeds of one setting as mean and standard deviation."""
    found = {name: _statistics(run) for name, run in runs.items()}
    rows = []
    for key in dict.fromkeys(key for row in found.values() for key in row):
        if key.endswith("_error"):
            continue
        cells = (_cell(key, [found[name].get(key) for name in group.runs]) for group in groups)
        rows.append((_NAMES.get(key, key.replace("_", " ")), *cells))
    averaged = any(len(group.runs) > 1 for group in groups)
    note = "Of several seeds: the mean and the standard deviation over the seeds." if averaged else ""
    return Table("Side by side", ("statistic", *(group.label for group in groups)), rows, note)


def _statistics(run: AnalysisResult) -> dict[str, Any]:
    """The overview, with the noise scale that the findings speak of: the one without bias."""
    row = overview(run)
    if run.noise is not None:
        row["noise_scale"] = float(run.noise.iloc[0]["noise_scale_unbiased"])
    return row


def _inputs(provenance: dict[str, Any]) -> dict[str, Any]:
    return {name: provenance[name] for name in ("problem", "settings", "versions", "machine")}


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Leaves of nested data by their path."""
    if not isinstance(value, dict):
        return {prefix: str(value)}
    leaves: dict[str, str] = {}
    for key, item in value.items():
        leaves |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def _cell(key: str, values: list[Any]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if isinstance(known[0], bool):
        return yes(known[0]) if len(values) == 1 else f"{sum(known)} of {len(values)}"
    show = percent if key.endswith("_rate") else number
    if len(values) == 1:
        return show(known[0])
    if len(known) == 1:
        text = show(known[0])
    else:
        mean, spread = float(np.mean(known)), float(np.std(known, ddof=1))
        text = f"{show(mean)} ± {show(spread)}" if show is percent else with_error(mean, spread)
    return text if len(known) == len(values) else f"{text} ({len(known)} of {len(values)})"
