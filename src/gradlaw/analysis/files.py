"""A run directory: an analysis on disk.

    analysis.json           settings, versions, seed, machine, data, every scalar; the time stamps under "time"
    dimension_wise.parquet  one row an iteration: its loss and the tests of its n gradients
    iteration_wise.parquet  one row a parameter: its name and the tests of its T gradients
    eigenvalues.parquet     one row a rank: both spectra and the eigengaps of the covariance
    examples.parquet        the two series drawn in the figures
    noise.parquet           signal, noise and ranks of the model and each parameter tensor, one row each
    over_iterations.parquet the covariance spectrum of fewer iterations, one row a number of them
    controls.parquet        one row a rank: the covariance spectra of controls, if they were asked for
    layers, tail_indices, gaussianity, exponents, comparisons.parquet   of extended statistics
    figures/*.png, *.svg    and report.html, the page that shows it all: see :mod:`gradlaw.report.write`

Files are written one by one, each whole or not at all.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gradlaw.analysis.extended import ExtendedStatistics
from gradlaw.analysis.result import AnalysisResult, RankedSeries
from gradlaw.analysis.verdicts import COVARIANCE, SECOND_MOMENT
from gradlaw.atomic import write_whole
from gradlaw.errors import InputError
from gradlaw.problem import ParameterSlice
from gradlaw.progress import Progress
from gradlaw.spectra import Spectrum
from gradlaw.stats.rates import SERIES_COLUMNS, GradientTests
from gradlaw.stats.series import AXES

FORMAT = 2
EXTENDED_TABLES = tuple(field.name for field in fields(ExtendedStatistics))
RECORD = "analysis.json"
TABLES = (
    *("eigenvalues", "dimension_wise", "iteration_wise", "examples"),
    *("noise", "over_iterations", "controls"),
    *EXTENDED_TABLES,
)  # of any run
Files = dict[str, Callable[[Path], object]]
_BYTES_PER_SERIES, _BYTES_OF_FIGURES = 120, 3_000_000  # at most, seen in runs


def check_free(directory: Path, force: bool) -> None:
    """Refuse, before any work, a directory that holds a run or that cannot be written to."""
    if (directory / RECORD).exists() and not force:
        raise InputError(f"{directory} already holds a run; choose another directory, or overwrite it with --force")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the run directory {directory} cannot be made: {error.strerror}") from error
    if not os.access(directory, os.W_OK):
        raise InputError(f"the run directory {directory} cannot be written to")


def check_space(directory: Path, iterations: int, dimensions: int) -> None:
    """Refuse, before any work, a disk on which the results would not fit."""
    needed = _BYTES_PER_SERIES * (iterations + dimensions) + _BYTES_OF_FIGURES
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise InputError(
            f"the disk of {directory} has {free / 1e6:.1f} MB left and a run takes up to {needed / 1e6:.1f} MB; free "
            "some space or choose another directory"
        )


def forget_run(directory: Path) -> None:
    """Remove the data that a run may have left, whatever was asked of it."""
    for name in (RECORD, *(f"{table}.parquet" for table in TABLES)):
        (directory / name).unlink(missing_ok=True)


def data_files(result: AnalysisResult) -> Files:
    """What writes each file of data, by name, in the order of its worth should the disk be full."""
    metadata = json.dumps(result.provenance, sort_keys=True)
    record = json.dumps(_record(result), indent=1, allow_nan=False) + "\n"
    files: Files = {RECORD: lambda path: path.write_text(record, encoding="utf-8")}
    for name, frame in _tables(result).items():
        files[f"{name}.parquet"] = partial(_write_parquet, frame, metadata)
    return files


def write_files(directory: Path, files: Files, progress: Progress) -> None:
    """Write files one by one, each whole or not at all.

    Raises:
        InputError: the disk is full; what was finished stays.
    """
    with progress.stage("write files and figures", len(files)) as advance:
        for done, (name, write) in enumerate(files.items()):
            kept = ", ".join(list(files)[:done]) or "nothing"
            write_whole(directory / name, write, f"written and kept: {kept}")
            advance(1)


def _tables(result: AnalysisResult) -> dict[str, pd.DataFrame]:
    tables = {
        "eigenvalues": _eigenvalues(result),
        "dimension_wise": _dimension_wise(result),
        "iteration_wise": _iteration_wise(result),
        "examples": _examples(result),
    }
    optional = {"noise": result.noise, "over_iterations": result.over_iterations, "controls": _controls(result)}
    tables |= {name: frame for name, frame in optional.items() if frame is not None}
    if result.extended is not None:
        tables |= {name: getattr(result.extended, name) for name in EXTENDED_TABLES}
    return tables


def _record(result: AnalysisResult) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "provenance": result.provenance,
        "notices": result.notices,
        "loss": {"mean": float(result.losses.mean()), "std": float(result.losses.std())},
        "tests": {axis: tests.scalars() for axis, tests in result.tests.items()},
        "spectra": {name: _scalars(s) for name, s in result.spectra.items()},
        "spectral_verdicts": [asdict(verdict) for verdict in result.spectral_verdicts()],
        "noise": result.noise is not None,
        "over_iterations": result.over_iterations is not None,
        "controls": {name: _scalars(s) for name, s in result.controls.items()},
        "control_verdicts": [asdict(verdict) for verdict in result.control_verdicts()],
        "examples": {axis: example.index for axis, example in result.examples.items()},
        "layout": [asdict(part) for part in result.layout],
        "depth": result.extended is not None,  # the name that format 2 has for it
        "time": {"started": result.started, "finished": result.finished},
    }


def _scalars(spectrum: Spectrum) -> dict[str, Any]:
    return {key: value for key, value in asdict(spectrum).items() if key != "eigenvalues"} | {"rank": spectrum.rank}


def _controls(result: AnalysisResult) -> pd.DataFrame | None:
    if not result.controls:
        return None
    columns = {name: spectrum.eigenvalues for name, spectrum in result.controls.items()}
    return pd.DataFrame({"rank": np.arange(1, len(next(iter(columns.values()))) + 1), **columns})


def _eigenvalues(result: AnalysisResult) -> pd.DataFrame:
    second, covariance = result.spectra[SECOND_MOMENT], result.spectra[COVARIANCE]
    frame = pd.DataFrame({"rank": np.arange(1, len(second.eigenvalues) + 1)})
    frame["second_moment"], frame["covariance"] = second.eigenvalues, covariance.eigenvalues
    frame["covariance_eigengap"] = pd.Series(result.eigengaps.values)  # one fewer: the last is missing
    return frame


def _dimension_wise(result: AnalysisResult) -> pd.DataFrame:
    frame = result.tests["dimension"].to_frame()
    frame.insert(0, "iteration", np.arange(len(frame)))
    frame.insert(1, "loss", result.losses)
    return frame


def _iteration_wise(result: AnalysisResult) -> pd.DataFrame:
    frame = result.tests["iteration"].to_frame()
    names, sizes = [p.name for p in result.layout], [p.stop - p.start for p in result.layout]
    frame.insert(0, "parameter", pd.Categorical.from_codes(np.repeat(np.arange(len(names)), sizes), pd.Index(names)))
    frame.insert(1, "element", np.concatenate([np.arange(size) for size in sizes]))
    return frame


def _examples(result: AnalysisResult) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"axis": axis, "rank": np.arange(1, len(e.magnitudes) + 1), "magnitude": e.magnitudes})
        for axis, e in result.examples.items()
    ]
    return pd.concat(parts, ignore_index=True).astype({"axis": "category"})


def _write_parquet(frame: pd.DataFrame, metadata: str, path: Path) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"gradlaw": metadata.encode()}), path)


def read_result(directory: Path) -> AnalysisResult:
    """Read a run directory; see :meth:`gradlaw.Analysis.load`."""
    if not (directory / RECORD).is_file():
        raise InputError(f"{directory} holds no run ({RECORD} is not there)")
    record = json.loads((directory / RECORD).read_text())
    if record["format"] != FORMAT:
        raise InputError(f"{directory / RECORD} has format {record['format']}; this version of gradlaw reads {FORMAT}")
    tables = {name: _read(directory / f"{name}.parquet") for name in
              ("eigenvalues", "dimension_wise", "iteration_wise", "examples")}  # fmt: skip
    return AnalysisResult(
        provenance=record["provenance"],
        layout=[ParameterSlice(**{**part, "shape": tuple(part["shape"])}) for part in record["layout"]],
        losses=tables["dimension_wise"]["loss"].to_numpy(),
        tests={axis: _tests(record["tests"][axis], tables[f"{axis}_wise"]) for axis in AXES},
        spectra={name: _spectrum(record["spectra"][name], tables["eigenvalues"][name.replace(" ", "_")])
                 for name in (SECOND_MOMENT, COVARIANCE)},
        examples={axis: _example(axis, record["examples"][axis], tables["examples"]) for axis in AXES},
        noise=_read(directory / "noise.parquet") if record["noise"] else None,
        over_iterations=_read(directory / "over_iterations.parquet") if record["over_iterations"] else None,
        controls=_read_controls(directory, record["controls"]),
        notices=record["notices"],
        extended=_extended(directory) if record["depth"] else None,
        **record["time"],
    )  # fmt: skip


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path} is missing: the run is not whole (was the disk full?); run it again")
    return pq.read_table(path).to_pandas()


def _extended(directory: Path) -> ExtendedStatistics:
    return ExtendedStatistics(**{name: _read(directory / f"{name}.parquet") for name in EXTENDED_TABLES})


def _read_controls(directory: Path, controls: dict[str, Any]) -> dict[str, Spectrum]:
    if not controls:
        return {}
    table = _read(directory / "controls.parquet")
    return {name: _spectrum(scalars, table[name]) for name, scalars in controls.items()}


def _tests(scalars: dict[str, Any], frame: pd.DataFrame) -> GradientTests:
    names = GradientTests.__dataclass_fields__
    values: dict[str, Any] = {name: scalars[name] for name in names if name not in SERIES_COLUMNS}
    values |= {name: frame[name].to_numpy() if name in frame else None for name in SERIES_COLUMNS}
    return GradientTests(**values)


def _spectrum(scalars: dict[str, Any], eigenvalues: pd.Series) -> Spectrum:
    return Spectrum(eigenvalues.to_numpy(), **{name: value for name, value in scalars.items() if name != "rank"})


def _example(axis: str, index: int, frame: pd.DataFrame) -> RankedSeries:
    return RankedSeries(axis, index, frame.loc[frame["axis"] == axis, "magnitude"].to_numpy())
