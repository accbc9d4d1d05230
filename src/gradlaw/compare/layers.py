"""Layer by layer: shares of the noise, noise scales with intervals, and rates across iterations."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlaw.analyze import Analysis
from gradlaw.compare.quantities import Quantity, Value, estimate_in, missing, noise_value
from gradlaw.compare.runs import Group
from gradlaw.compare.values import value_of

if TYPE_CHECKING:
    import pandas as pd


def layer_quantities(runs: Mapping[str, Analysis]) -> list[Quantity]:
    """The noise scale of each parameter tensor that two runs or more have, in the order of the first."""
    names = [part.name for run in runs.values() for part in run.layout]
    return [_noise_scale(name) for name in dict.fromkeys(names) if names.count(name) > 1]


def layers_of(runs: Mapping[str, Analysis], level: float) -> "pd.DataFrame":
    """One row a run and parameter tensor: dimensions, share of the noise, noise scale with interval, rates.

    The rates are over the dimensions of the tensor, across iterations; no interval can be given for them.
    """
    import pandas as pd  # loaded for those who ask for a table

    rows = []
    for name, run in runs.items():
        group, tests = Group(name, {name: run}), run.tests["iteration"]
        total = None if run.noise is None else float(run.noise["trace"].iloc[0])
        for part in run.layout:
            of_part = tests.part(np.arange(part.start, part.stop))
            scale, low, high = value_of(group, _noise_scale(part.name)).shown(level)
            noise = _row_of(run, part.name)
            rows.append({
                "run": name, "layer": part.name, "type": part.layer_type, "dimensions": part.stop - part.start,
                "share_of_noise": float(noise["trace"] / total) if noise is not None and total else None,
                "noise_scale": scale, "low": low, "high": high,
                "iteration_power_law_rate": None if tests.no_verdict_calibrated else of_part.power_law_rate_calibrated,
                "iteration_gaussian_rate": of_part.gaussian_rate,
            })  # fmt: skip
    frame = pd.DataFrame(rows)
    numbers = frame.columns[4:]
    return frame.astype(dict.fromkeys(numbers, float))


def _noise_scale(tensor: str) -> Quantity:
    return Quantity(tensor, tensor, _of(tensor), {}, inverse=True)


def _of(tensor: str) -> Callable[[Analysis], Value]:
    def of(run: Analysis) -> Value:
        row = _row_of(run, tensor)
        if row is None:
            return missing("gradient noise was not measured, or there is no such tensor")
        if row["degenerate"]:
            return missing("the gradients do not vary above rounding")
        return noise_value(estimate_in(row, "inverse"), run)

    return of


def _row_of(run: Analysis, tensor: str) -> Any:
    """The row of a tensor in the noise table; None if there is none."""
    if run.noise is None:
        return None
    found = run.noise[(run.noise["group"] == "tensor") & (run.noise["name"] == tensor)]
    return found.iloc[0] if len(found) else None
