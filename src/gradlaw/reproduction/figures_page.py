"""The figures of a reproduction in Markdown: each beside what the paper says that it shows."""

from collections.abc import Sequence
from typing import Any

from gradlaw.analysis.verdicts import EIGENGAPS
from gradlaw.reproduction.formats import markdown
from gradlaw.reproduction.formatting import DASH, counts, spread, verdict
from gradlaw.reproduction.output import Report
from gradlaw.reproduction.paper import BOUND, FigureSpec, Series
from gradlaw.reproduction.series import AXES, GAPS_BY_EIGENVALUE, GAPS_SORTED
from gradlaw.reproduction.store import Result
from gradlaw.spectra.matrices import COVARIANCE, SECOND_MOMENT

_INTRODUCTION = (
    "Each beside what the paper says that it shows. Pictures of spectra and series are of the first seed that was "
    "measured; the tables below them have mean and standard deviation over all."
)
_SERIES = ("panel", "series", "seeds")
_RATES = ("power-law rate", "calibrated", "Gaussian rate")
_SPECTRA = ("s", "d_KS", "power law", "calibrated", "outliers")
_ANGLES = ("sines at or below the bound",)


def figures_in_words(found: Report, folder: str) -> str:
    """A part for each figure: what the paper describes, what was measured, the picture and its series.

    Args:
        found: what was measured.
        folder: of the pictures, as seen from the page.
    """
    return f"{_INTRODUCTION}\n\n" + "\n".join(_figure(found, spec, folder) for spec in found.selection.figures)


def _figure(found: Report, spec: FigureSpec, folder: str) -> str:
    series = [(panel.title, s) for panel in spec.panels for s in panel.series]
    measured = [(title, s, results) for title, s in series if (results := found.evidence.results(s.experiment))]
    head = f"### {_name(spec)}. {spec.title}\n\n- the paper: {spec.described}\n- measured: {_claims(found, spec)}\n"
    head += f"- {spec.note}\n" if spec.note else ""
    missing = [f"{title}, {s.label}" for title, s in series if not found.evidence.results(s.experiment)]
    head += f"- not measured: {'; '.join(missing)}\n" if missing else ""
    if not measured:
        return head
    rows = [(title, s.label, str(len(results)), *_cells(s, results)) for title, s, results in measured if not s.line]
    return f"{head}\n![{spec.title}]({folder}/{spec.name}.png)\n\n{markdown((*_SERIES, *_header(spec)), rows)}"


def _name(spec: FigureSpec) -> str:
    return f"Figure {spec.name.removeprefix('fig')}" if spec.name.startswith("fig") else "Theorem 1"


def _claims(found: Report, spec: FigureSpec) -> str:
    """The outcomes of the claims that are read from a figure."""
    read = [d for d in found.decisions if spec.name in d.claim.artefacts]
    outcomes = "; ".join(f'"{d.claim.sentence.rstrip(".")}" {d.published_in_words}' for d in read)
    return outcomes or "the series below; no claim is decided by them"


def _header(spec: FigureSpec) -> tuple[str, ...]:
    if spec.kind == BOUND:
        return _ANGLES
    return _RATES if spec.panels[0].series[0].quantity in (*AXES, *AXES.values()) else _SPECTRA


def _cells(series: Series, results: Sequence[Result]) -> tuple[str, ...]:
    if series.quantity == BOUND:
        return (_below(results),)
    axis = AXES.get(series.quantity, series.quantity)
    if axis in AXES.values():
        tests = [result.record["tests"][axis] for result in results]
        names = ("power_law_rate", "power_law_rate_calibrated", "gaussian_rate")
        return tuple(spread([test[name] for test in tests], percentage=True) for name in names)
    fits = [_fit(result.record, series.quantity) or {} for result in results]  # {}: refused
    numbers = (spread([fit.get(name) for fit in fits]) for name in ("s", "d_ks"))
    verdicts = (verdict([fit.get(name) for fit in fits]) for name in ("is_power_law", "is_power_law_calibrated"))
    return (*numbers, *verdicts, _outliers(results, series.quantity))


def _below(results: Sequence[Result]) -> str:
    """How many of the measured sines the bound holds for, over all seeds."""
    held = [(result.arrays["sine"] <= result.arrays["bound"]) for result in results]
    return f"{sum(int(h.sum()) for h in held)} of {sum(len(h) for h in held)}"


def _fit(record: dict[str, Any], quantity: str) -> dict[str, Any] | None:
    if quantity in (GAPS_BY_EIGENVALUE, GAPS_SORTED):
        quantity = EIGENGAPS
    fit: dict[str, Any] | None = record["spectra"][quantity]["fit"] if "spectra" in record else record["fit"]
    return fit


def _outliers(results: Sequence[Result], quantity: str) -> str:
    if quantity not in (SECOND_MOMENT, COVARIANCE):
        return DASH
    return counts([result.record["spectra"][quantity]["outliers"] for result in results])
