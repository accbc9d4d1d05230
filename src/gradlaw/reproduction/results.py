"""Results as two files that are kept with the source: a table with one row a measurement, and the series of figures.

``measurements.csv``: a column is a path into what is known of a measurement, such as ``measurement.seed``,
``provenance.commit`` or ``spectra.covariance.fit.s``. A cell is JSON, but that texts stand bare where they cannot be
taken for it; an empty cell is a path that the measurement does not have. ``key`` is the digest of the columns
``measurement``; ``profile`` are the sizes of all; ``reason`` is why a measurement was not made.

``series.parquet``: ``key``, ``series``, ``rank`` (counted from 1) and ``value`` (float64), see
:func:`gradlaw.reproduction.series.thin`.
"""

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradlaw.errors import InputError
from gradlaw.output_files import Content, read_output, read_table, write_output
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.measurement import Measurement, content_key
from gradlaw.reproduction.profiles import Profile
from gradlaw.reproduction.store import Result

TABLE, SERIES = "measurements.csv", "series.parquet"
_KIND = "results"
_JSON = re.compile(r"[\"\[{\s].*|-?\d+(\.\d+)?([eE][+-]?\d+)?|-?Infinity|NaN|null|true|false", re.DOTALL)
_RANKS = "_ranks"


class ResultTable:
    """The results of a folder that :func:`write_results` wrote, by measurement.

    Args:
        folder: with both files.
        series: whether the series are wanted; without them the table alone is read.

    Attributes:
        profile: with which all of them were measured.
        seeds: of all of them, ascending.

    Raises:
        InputError: files that are missing, that were changed, or that contradict one another or themselves.
    """

    def __init__(self, folder: Path, series: bool = True):
        self.folder = folder
        for name in (TABLE, SERIES) if series else (TABLE,):
            if not (folder / name).is_file():
                raise InputError(f"no results at {folder}: there is no {name}")
        rows = _read_table(folder / TABLE)
        self.profile = _profile(rows, folder / TABLE)
        self.seeds = tuple(sorted({row["measurement"]["seed"] for row in rows}))
        self._reasons = {row["key"]: row["reason"] for row in rows if "reason" in row}
        self._records = {row["key"]: row for row in rows if "reason" not in row}
        self._arrays = _read_series(folder / SERIES) if series else {key: {} for key in self._records}
        if self._arrays.keys() != self._records.keys():
            differing = sorted(self._arrays.keys() ^ self._records.keys())
            raise InputError(f"{folder}: {TABLE} and {SERIES} do not have the same results, {differing[0]} for one")

    def __contains__(self, measurement: Measurement) -> bool:
        return measurement.key in self._records

    def load(self, measurement: Measurement) -> Result:
        """The thinned result of a measurement that is there."""
        row = self._records[measurement.key]
        record = {name: value for name, value in row.items() if name not in ("key", "profile")}
        return Result(record, self._arrays[measurement.key])

    def why_missing(self, measurements: Iterable[Measurement]) -> dict[Measurement, str]:
        """Why some of the measurements were not made."""
        return {m: self._reasons[m.key] for m in measurements if m.key in self._reasons}

    def unused(self, measurements: Iterable[Measurement]) -> list[str]:
        """The keys of results of none of the measurements."""
        return sorted(self._records.keys() - {m.key for m in measurements})

    def where(self, measurement: Measurement) -> str:
        """The files, and the key of its rows."""
        return f"{self.folder / TABLE} and {self.folder / SERIES}, key {measurement.key}"

    def __str__(self) -> str:
        return f"{self.folder / TABLE}, one row a measurement, and {SERIES} beside it"


def write_results(folder: Path, profile: Profile, evidence: Evidence, with_series: bool = True) -> list[Path]:
    """Write all results of the evidence, and the reasons for those that could not be made; returns the files.

    Raises:
        InputError: there is no result, or the disk is full.
    """
    rows: dict[str, dict[str, Any]] = {}
    series: list[pd.DataFrame] = []
    measured = False
    for (experiment, seed), m in evidence.measurements.items():
        head = {"profile": asdict(profile), "measurement": m.settings()}
        result = evidence.result(experiment, seed)
        if m.key in rows or (result is None and m not in evidence.reasons):
            continue
        if result is None:
            rows[m.key] = head | {"reason": evidence.reasons[m]}
        else:
            rows[m.key] = head | result.record
            measured = True
            if with_series:
                series.append(_long(m.key, result.arrays))
    if not measured:
        raise InputError(f"nothing to write to {folder}: none of what was asked for was measured")
    table = pd.DataFrame(
        {"key": key} | {path: _cell(value) for path, value in _leaves(row).items()} for key, row in rows.items()
    )
    files: dict[str, Content] = {TABLE: table.to_csv(index=False, lineterminator="\n")}
    if with_series:
        files[SERIES] = partial(_write_series, pd.concat(series, ignore_index=True))
    return write_output(folder, _KIND, files)


def _leaves(record: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings by path."""
    leaves: dict[str, Any] = {}
    for name, value in record.items():
        assert "." not in name, f"a path cannot be made of {name!r}"
        inside = isinstance(value, Mapping) and value
        leaves |= _leaves(value, f"{prefix}{name}.") if inside else {f"{prefix}{name}": value}
    return leaves


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse."""
    record: dict[str, Any] = {}
    for path, value in leaves.items():
        *outer, last = path.split(".")
        inside = record
        for name in outer:
            inside = inside.setdefault(name, {})
        inside[last] = value
    return record


def _cell(value: Any) -> str:
    bare = isinstance(value, str) and value and not _JSON.fullmatch(value)
    return value if bare else json.dumps(value, allow_nan=False)


def _value(cell: str) -> Any:
    return json.loads(cell) if _JSON.fullmatch(cell) else cell


def _read_table(path: Path) -> list[dict[str, Any]]:
    table = read_table(path, _KIND, dtype=str, keep_default_na=False)
    rows = []
    for number, cells in enumerate(table.to_dict("records"), 1):
        key = cells.pop("key", None)
        try:
            row = _nested({str(column): _value(cell) for column, cell in cells.items() if cell != ""})
            own_key = content_key(row.get("measurement", {}))
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, row {number}: a cell is broken JSON: {error}") from None
        except (TypeError, ValueError) as error:  # a column within another; a number that is not finite
            raise InputError(f"{path}, row {number}: columns and cells are not those of a result: {error}") from None
        if key != own_key:
            raise InputError(f"{path}, row {number}: the key is not that of the settings: one of them was changed")
        rows.append({"key": key, **row})
    if not rows:
        raise InputError(f"{path} has no rows")
    return rows


def _profile(rows: list[dict[str, Any]], path: Path) -> Profile:
    profile = rows[0].get("profile")
    if not isinstance(profile, dict) or set(profile) != {field.name for field in fields(Profile)}:
        raise InputError(f"{path}: the columns 'profile' are not those of a profile")
    if any(row["profile"] != profile for row in rows):
        raise InputError(f"{path}: results of several profiles; keep each profile in a folder of its own")
    large = profile["large_batches"]
    return Profile(**profile | {"large_batches": large and tuple(large)})


def _long(key: str, arrays: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Series one below the other, each with its ranks."""
    names = [name for name in arrays if not name.endswith(_RANKS)]
    parts = [
        pd.DataFrame({"key": key, "series": name, "rank": _ranks(arrays, name), "value": arrays[name]})
        for name in names
    ]
    return pd.concat(parts, ignore_index=True)


def _ranks(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return arrays.get(name + _RANKS, np.arange(1, len(arrays[name]) + 1)).astype(np.int32)


def _write_series(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(
        path,
        index=False,
        compression="zstd",
        compression_level=19,
        use_dictionary=["key", "series"],
        column_encoding={"rank": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"},
    )


def _read_series(path: Path) -> dict[str, dict[str, np.ndarray]]:
    arrays: dict[str, dict[str, np.ndarray]] = {}
    frame = pd.read_parquet(io.BytesIO(read_output(path, _KIND)))
    for (key, name), rows in frame.groupby(["key", "series"], sort=False):
        ranks, values = rows["rank"].to_numpy(np.int64), rows["value"].to_numpy(np.float64)
        of_result = arrays.setdefault(key, {})
        of_result[name] = values
        if len(ranks) and ranks[-1] != len(ranks):
            of_result[name + _RANKS] = ranks
    return arrays
