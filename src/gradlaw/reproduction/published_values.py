"""The quantities of a published row: as they were printed, and as they are measured."""

from collections.abc import Mapping
from typing import Any

from gradlaw.reproduction.paper import SPECTRUM, TESTS

# By kind of table, as printed and as measured. A published mean distance counts the series that have no fit.
QUANTITIES: Mapping[str, Mapping[str, str]] = {
    SPECTRUM: {"d_ks": "d_ks", "s": "s"},
    TESTS: {"mean_d_ks": "mean_d_ks_all", "power_law_rate": "power_law_rate", "mean_p_value": "mean_p_value",
            "gaussian_rate": "gaussian_rate"},
}  # fmt: skip


def printed(kind: str, line: Mapping[str, Any]) -> dict[str, float]:
    """The quantities that a published row has; empty cells are left out."""
    return {quantity: line[quantity] for quantity in QUANTITIES[kind] if line.get(quantity) is not None}


def measured(record: Mapping[str, Any], kind: str, what: str, quantity: str) -> float | None:
    """A quantity of a result's record, of the direction or matrix ``what``; None where the fit was refused."""
    name = QUANTITIES[kind][quantity]
    if kind == TESTS:
        value: float | None = record["tests"][what][name]
        return value
    fit = record["spectra"][what]["fit"]
    return fit and fit[name]
