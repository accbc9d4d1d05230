"""An analysis in the forms that other tools read: tables of pandas, a data set of xarray, LaTeX, trackers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradlaw.analysis.overview import overview
from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.sections import all_sections
from gradlaw.report.formatting import number, yes
from gradlaw.report.latex import latex
from gradlaw.report.title import title
from gradlaw.watch.loggers import check_loggers, send_scalars

if TYPE_CHECKING:
    import xarray as xr

# The dimension that the rows of a table are along, where it is one of the history or of a spectrum.
_DIMENSIONS = {"dimension_wise": "iteration", "iteration_wise": "parameter", "eigenvalues": "rank"}
_PREFIX = "gradlaw_analysis"


def overview_frame(analysis: AnalysisResult) -> pd.DataFrame:
    """One row, indexed by what was analysed; columns as :func:`gradlaw.analysis.overview.overview` has them."""
    return pd.DataFrame([overview(analysis)], index=pd.Index([title(analysis)], name="analysis"))


def tables_of(analysis: AnalysisResult) -> dict[str, pd.DataFrame]:
    """Every table of a run directory, by its name there."""
    measured = ((section, analysis.sections.get(section.name)) for section in all_sections())
    return {
        name: frame
        for section, result in measured
        if result is not None
        for name, frame in section.frames(result, analysis).items()
    }


def dataset_of(analysis: AnalysisResult) -> xr.Dataset:
    """The columns of all tables as variables ``table.column``, along iteration, parameter, rank or a table's rows.

    ``attrs`` have the provenance as JSON and the notices.
    """
    import xarray as xr

    variables: dict[str, Any] = {}
    for name, frame in tables_of(analysis).items():
        dimension = _DIMENSIONS.get(name, f"{name}_row")
        variables |= {f"{name}.{column}": (dimension, _array(frame[column])) for column in frame}
    provenance = json.dumps(analysis.provenance, sort_keys=True)
    return xr.Dataset(variables, attrs={"provenance": provenance, "notices": "\n".join(analysis.notices)})


def _array(values: pd.Series) -> np.ndarray:
    """As NumPy has it, texts as objects."""
    return values.to_numpy() if pd.api.types.is_numeric_dtype(values) else values.to_numpy(dtype=object)


def latex_of(analysis: AnalysisResult) -> str:
    """The row of :func:`overview_frame` as a table environment, a line a statistic; names are escaped."""
    rows = [(name.replace("_", " "), _cell(value)) for name, value in overview(analysis).items()]
    return latex(title(analysis), "tab:gradlaw", ("statistic", "value"), rows)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return yes(value) if isinstance(value, bool) else number(float(value))


def log_to(analysis: AnalysisResult, loggers: Sequence[Any], step: int) -> None:
    """Hand the numbers of the overview to trackers, as scalars ``gradlaw_analysis/NAME``.

    Raises:
        InputError: one of them has neither ``add_scalar`` nor ``log``.
    """
    check_loggers(loggers)
    scalars = {
        f"{_PREFIX}/{name}": float(value) for name, value in overview(analysis).items() if isinstance(value, Real)
    }
    send_scalars(scalars, step, loggers)
