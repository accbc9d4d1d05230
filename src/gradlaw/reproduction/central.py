"""The central studies of a paper in one table: mean and spread over seeds of what a gradient history shows."""

from collections.abc import Mapping

from gradlaw.analysis.verdicts import EIGENGAPS
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.experiment import Experiment
from gradlaw.reproduction.formats import markdown
from gradlaw.reproduction.formatting import counts, spread, verdict
from gradlaw.reproduction.store import Result
from gradlaw.spectra.matrices import COVARIANCE

_HEADER = ("gradients of", "seeds", "covariance s", "d_KS", "power law, calibrated", "outliers", "eigengaps s",
           "dimension-wise power-law rate", "iteration-wise Gaussian rate")  # fmt: skip


def central_table(studies: Mapping[str, Experiment], evidence: Evidence) -> str:
    """In Markdown, a row for each study that was measured, by name.

    Args:
        studies: gradient histories by what they are called.
        evidence: the results.
    """
    rows = [(name, *_cells(found)) for name, experiment in studies.items() if (found := evidence.results(experiment))]
    return markdown(_HEADER, rows) if rows else "None of them was measured.\n"


def _cells(results: list[Result]) -> tuple[str, ...]:
    covariances = [result.record["spectra"][COVARIANCE] for result in results]
    fits = [covariance["fit"] for covariance in covariances]
    gaps = [result.record["spectra"][EIGENGAPS]["fit"] for result in results]
    tests = [result.record["tests"] for result in results]
    return (
        str(len(results)),
        spread([fit and fit["s"] for fit in fits]),
        spread([fit and fit["d_ks"] for fit in fits]),
        verdict([fit and fit["is_power_law_calibrated"] for fit in fits]),
        counts([covariance["outliers"] for covariance in covariances]),
        spread([fit and fit["s"] for fit in gaps]),
        spread([test["dimension"]["power_law_rate"] for test in tests], percentage=True),
        spread([test["iteration"]["gaussian_rate"] for test in tests], percentage=True),
    )
