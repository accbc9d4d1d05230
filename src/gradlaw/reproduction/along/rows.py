"""Results along training as one table: a row for each network, optimiser, seed and epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gradlaw.analysis.verdicts import EIGENGAPS
from gradlaw.errors import InputError
from gradlaw.output_files import read_table, write_output
from gradlaw.reproduction.along.study import Study
from gradlaw.reproduction.evidence import Results, parameters_of
from gradlaw.reproduction.measurement import Measurement, Resolver
from gradlaw.reproduction.series import LEADING
from gradlaw.spectra.matrices import COVARIANCE

NETWORK, OPTIMISER, SEED, EPOCH = "network", "optimiser", "seed", "epoch"
REASON, PARAMETERS = "reason", "parameters"
SETTINGS = (NETWORK, OPTIMISER, SEED, EPOCH)
_DIGITS = 6  # significant, of the numbers in the file
_DIGEST = 12  # hexadecimal digits of that of the parameters
_NOISE = ("noise_scale", "noise_scale_error", "sample_trace")
# By column, with what it is; the page explains them.
COLUMNS = (
    "loss", "accuracy", "s", "d_ks", "is_power_law", "is_power_law_calibrated", "gap_s", "gap_d_ks",
    "dimension_power_law_rate", "dimension_power_law_rate_calibrated", "iteration_gaussian_rate",
    "iteration_degenerate", "outliers", "rank", *_NOISE, "hessian_1", "hessian_5",
)  # fmt: skip


def gather_rows(
    study: Study,
    results: Results,
    seeds: Sequence[int],
    resolver: Resolver,
    reasons: Mapping[Measurement, str] | None = None,
) -> pd.DataFrame:
    """All that was measured, and what was refused.

    Args:
        study: the design.
        results: where results are.
        seeds: which.
        resolver: with the study's profile.
        reasons: why gradient histories were not measured, a training that diverged for one.

    Returns:
        Columns ``SETTINGS``, ``COLUMNS``, then ``T``, ``K``, ``key`` and ``commit`` of the gradient history,
        ``REASON``, and ``PARAMETERS``, a digest of those at which all of the row was measured; nothing for what a row
        lacks: accuracy at random, a fit that was refused, a Hessian that was not measured, or at other parameters.
    """
    reasons = reasons or {}
    rows = []
    for subject in study.subjects():
        for seed in seeds:
            measurement = resolver.resolve(subject.history, seed)
            where = {NETWORK: subject.name, OPTIMISER: subject.optimiser, SEED: seed, EPOCH: subject.epoch}
            sizes = {"T": measurement.iterations, "K": measurement.k, "key": measurement.key}
            hessian = _hessian(resolver.resolve(subject.hessian, seed), results)
            if measurement in results:
                history = _statistics(results.load(measurement).record)
                same = hessian if hessian.get(PARAMETERS) == history[PARAMETERS] else {}
                rows.append(where | history | same | sizes)
            elif hessian:
                rows.append(where | hessian | sizes)
            elif measurement in reasons:
                rows.append(where | sizes | {REASON: reasons[measurement]})
    return pd.DataFrame(rows, columns=[*SETTINGS, *COLUMNS, "T", "K", "key", "commit", REASON, PARAMETERS])


def _statistics(record: dict[str, Any]) -> dict[str, Any]:
    """Of a gradient history."""
    covariance, gaps = record["spectra"][COVARIANCE], record["spectra"][EIGENGAPS]
    dimension, iteration = record["tests"]["dimension"], record["tests"]["iteration"]
    trained, fit, gap_fit = record["provenance"]["trained"], covariance["fit"] or {}, gaps["fit"] or {}
    return {
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
        "commit": record["provenance"]["commit"],
        PARAMETERS: _digest(record),
    }


def _hessian(measurement: Measurement, results: Results) -> dict[str, Any]:
    if measurement not in results:
        return {}
    record = results.load(measurement).record
    leading = record["leading"][:LEADING]
    return {"hessian_1": leading[0], "hessian_5": leading[4], PARAMETERS: _digest(record)}


def _digest(record: dict[str, Any]) -> str:
    return parameters_of(record)[:_DIGEST]


def with_kept(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The rows together with those that a file holds, if it is there.

    Of a point that both have, the file's values stay, and what it lacks, a Hessian, is filled in if it was measured at
    the same parameters. At others, of a training on another machine, nothing is mixed: the row that has more stands,
    the file's if both have as much. Of a point that the file has a reason for, a measurement takes the place.

    Raises:
        InputError: another table, or one that was measured with other settings.
    """
    if not path.is_file():
        return rows
    kept = read_rows(path)
    rows = rows.assign(**{EPOCH: [float(f"{epoch:.{_DIGITS}g}") for epoch in rows[EPOCH]]})  # as the file has them
    wanted, there = rows.set_index(list(SETTINGS)), kept.set_index(list(SETTINGS))
    keys = wanted["key"].to_frame("new").join(there["key"].to_frame("kept"), how="inner")
    if (keys["new"] != keys["kept"]).any():
        raise InputError(f"{path} holds results of other settings for {keys.index[keys['new'] != keys['kept']][0]}")
    measured_since = there[REASON].notna() & there.index.isin(wanted.index[wanted[REASON].isna()])
    there = there[~measured_since]
    both = there.index.intersection(wanted.index)
    apart = both[(there.loc[both, PARAMETERS] != wanted.loc[both, PARAMETERS]).to_numpy()]
    here, before = (table.loc[apart, list(COLUMNS)].notna().sum(axis=1) for table in (wanted, there))
    more = apart[(here > before).to_numpy()]
    there, wanted = there.drop(more), wanted.drop(apart.difference(more))
    joined = there.combine_first(wanted).reset_index()
    order = {name: i for i, name in enumerate(dict.fromkeys([*kept[NETWORK], *rows[NETWORK]]))}
    by = {name: i for i, name in enumerate(dict.fromkeys([*kept[OPTIMISER], *rows[OPTIMISER]]))}
    place = joined[NETWORK].map(order) * len(by) + joined[OPTIMISER].map(by)
    sort = pd.DataFrame({"place": place, EPOCH: joined[EPOCH], SEED: joined[SEED]})
    return joined.loc[sort.sort_values(["place", EPOCH, SEED]).index, kept.columns].reset_index(drop=True)


def write_rows(rows: pd.DataFrame, path: Path) -> None:
    """Write the table, its numbers to six significant digits.

    Raises:
        InputError: there are none, or the disk is full.
    """
    if not len(rows):
        raise InputError(f"nothing to write to {path}: none of the study was measured")
    text = rows.to_csv(index=False, float_format=f"%.{_DIGITS}g", lineterminator="\n")
    write_output(path.parent, path.stem, {path.name: text})


def read_rows(path: Path) -> pd.DataFrame:
    """Read what :func:`write_rows` wrote.

    Raises:
        InputError: no such file, one that was changed, or another table.
    """
    if not path.is_file():
        raise InputError(f"no results at {path}")
    rows = read_table(path, path.stem)
    missing = [name for name in (*SETTINGS, *COLUMNS, REASON, PARAMETERS) if name not in rows]
    if missing:
        raise InputError(f"{path} is no table along training: it lacks the columns {', '.join(missing)}")
    return rows
