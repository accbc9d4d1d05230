"""The numbers of a published row, and the same of a result, by quantity."""

from collections.abc import Mapping
from typing import Any

from gradlaw.reproduction.paper import SPECTRUM, Paper, Row

# The paper counts series that cannot be tested into its mean distances: with them counted they come out, without not.
_TESTS = {"mean_d_ks": "mean_d_ks_all", "power_law_rate": "power_law_rate", "mean_p_value": "mean_p_value",
          "gaussian_rate": "gaussian_rate"}  # fmt: skip


def published(paper: Paper, row: Row) -> dict[str, float]:
    """What was printed of a row: s and d_ks of a spectrum, means and rates of tests; empty cells left out."""
    line = paper.published[row.table][row.number - 1]
    names = ("s", "d_ks") if _is_spectrum(paper, row) else _TESTS
    return {name: float(line[name]) for name in names if line[name] is not None}


def measured(paper: Paper, row: Row, record: Mapping[str, Any]) -> dict[str, float]:
    """The same of a result's record; empty for a spectrum that could not be fitted."""
    if _is_spectrum(paper, row):
        fit = record["spectra"][row.quantity]["fit"]
        return {name: float(fit[name]) for name in ("s", "d_ks")} if fit else {}
    tests = record["tests"][row.quantity]
    return {name: float(tests[field]) for name, field in _TESTS.items() if tests[field] is not None}


def _is_spectrum(paper: Paper, row: Row) -> bool:
    return paper.tables[row.table].kind == SPECTRUM
