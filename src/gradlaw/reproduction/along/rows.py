"""Results along training as one table: a row for each network, optimiser, seed and epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gradlaw.analysis.verdicts import EIGENGAPS
from gradlaw.atomic import write_whole
from gradlaw.errors import InputError
from gradlaw.reproduction.along.study import Study, Subject
from gradlaw.reproduction.evidence import Results
from gradlaw.reproduction.measurement import Resolver
from gradlaw.reproduction.series import LEADING
from gradlaw.spectra.matrices import COVARIANCE

NETWORK, OPTIMISER, SEED, EPOCH = "network", "optimiser", "seed", "epoch"
SETTINGS = (NETWORK, OPTIMISER, SEED, EPOCH)
_DIGITS = 6  # significant, of the numbers in the file
_NOISE = ("noise_scale", "noise_scale_error", "sample_trace")
# By column, with what it is; the page explains them.
COLUMNS = (
    "loss", "accuracy", "s", "d_ks", "is_power_law", "is_power_law_calibrated", "gap_s", "gap_d_ks",
    "dimension_power_law_rate", "dimension_power_law_rate_calibrated", "iteration_gaussian_rate",
    "iteration_degenerate", "outliers", "rank", *_NOISE, "hessian_1", "hessian_5",
)  # fmt: skip


def gather_rows(study: Study, results: Results, seeds: Sequence[int], resolver: Resolver) -> pd.DataFrame:
    """All that was measured.

    Args:
        study: the design.
        results: where results are.
        seeds: which.
        resolver: with the study's profile.

    Returns:
        Columns ``SETTINGS``, ``COLUMNS``, then ``T``, ``K``, ``key`` and ``commit`` of the gradient history; nothing
        for what a row lacks: accuracy at random, a fit that was refused, a Hessian that was not measured.
    """
    rows = []
    for subject in study.subjects():
        for seed in seeds:
            row = _row(subject, seed, results, resolver)
            if row is not None:
                rows.append(row)
    return pd.DataFrame(rows, columns=[*SETTINGS, *COLUMNS, "T", "K", "key", "commit"])


def _row(subject: Subject, seed: int, results: Results, resolver: Resolver) -> dict[str, Any] | None:
    measurement = resolver.resolve(subject.history, seed)
    if measurement not in results:
        return None
    record = results.load(measurement).record
    covariance, gaps = record["spectra"][COVARIANCE], record["spectra"][EIGENGAPS]
    dimension, iteration = record["tests"]["dimension"], record["tests"]["iteration"]
    trained, fit, gap_fit = record["provenance"]["trained"], covariance["fit"] or {}, gaps["fit"] or {}
    return {
        NETWORK: subject.name,
        OPTIMISER: subject.optimiser,
        SEED: seed,
        EPOCH: subject.epoch,
        "loss": record["loss"]["mean"],
        "accuracy": trained and trained["training"]["accuracy"],
        **{name: fit.get(name) for name in ("s", "d_ks", "is_power_law", "is_power_law_calibrated")},
        "gap_s": gap_fit.get("s"),
        "gap_d_ks": gap_fit.get("d_ks"),
        "dimension_power_law_rate": dimension["power_law_rate"],
        "dimension_power_law_rate_calibrated": dimension["power_law_rate_calibrated"],
        "iteration_gaussian_rate": iteration["gaussian_rate"],
        "iteration_degenerate": iteration["degenerate"],
        "outliers": covariance["outliers"],
        "rank": covariance["rank"],
        **{name: (record["noise"] or {}).get(name) for name in _NOISE},
        **_hessian(subject, seed, results, resolver),
        "T": measurement.iterations,
        "K": measurement.k,
        "key": measurement.key,
        "commit": record["provenance"]["commit"],
    }


def _hessian(subject: Subject, seed: int, results: Results, resolver: Resolver) -> dict[str, float]:
    measurement = resolver.resolve(subject.hessian, seed)
    if measurement not in results:
        return {}
    leading = results.load(measurement).record["leading"][:LEADING]
    return {"hessian_1": leading[0], "hessian_5": leading[4]}


def write_rows(rows: pd.DataFrame, path: Path) -> None:
    """Write the table, its numbers to six significant digits.

    Raises:
        InputError: there are none, or the disk is full.
    """
    if not len(rows):
        raise InputError(f"nothing to write to {path}: none of the study was measured")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, rows.to_csv(index=False, float_format=f"%.{_DIGITS}g", lineterminator="\n"))


def read_rows(path: Path) -> pd.DataFrame:
    """Read what :func:`write_rows` wrote.

    Raises:
        InputError: no such file, or another table.
    """
    if not path.is_file():
        raise InputError(f"no results at {path}")
    rows = pd.read_csv(path)
    missing = [name for name in (*SETTINGS, *COLUMNS) if name not in rows]
    if missing:
        raise InputError(f"{path} is no table along training: it lacks the columns {', '.join(missing)}")
    return rows
