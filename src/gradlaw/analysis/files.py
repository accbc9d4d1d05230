"""A run directory: an analysis on disk.

    analysis.json           settings, versions, seed, machine, data, every scalar; the time stamps under "time"
    dimension_wise.parquet  one row an iteration: its loss and the tests of its n gradients
    iteration_wise.parquet  one row a parameter: its name and the tests of its T gradients
    eigenvalues.parquet     one row a rank: both spectra and the eigengaps of the covariance
    examples.parquet        the two series drawn in the figures
    noise.parquet           signal, noise and ranks of the model and each parameter tensor, one row each
    population.parquet      the laws of the population behind the covariance spectrum, one row a law
    over_iterations.parquet the covariance spectrum of fewer iterations, one row a number of them
    controls.parquet        one row a rank: the covariance spectra of controls, if they were asked for
    layers, tail_indices, gaussianity, exponents, comparisons.parquet   the extended statistics, if they were asked for
    figures/*.png, *.svg    and report.html, the page that shows it all: see :mod:`gradlaw.report.write`

What each section keeps, it says itself: see :mod:`gradlaw.analysis.sections`. Files are written one by one, each whole
or not at all.
"""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.sections import all_sections
from gradlaw.atomic import write_whole
from gradlaw.errors import InputError
from gradlaw.problem import ParameterSlice
from gradlaw.progress import Progress

FORMAT = 2
RECORD = "analysis.json"
# Of format 2, in the order in which it has them; entries of sections that are newer follow.
_KEYS = (
    *("format", "provenance", "notices", "loss", "tests", "spectra", "spectral_verdicts", "noise", "over_iterations"),
    *("controls", "control_verdicts", "examples", "layout", "depth"),
)
Files = dict[str, Callable[[Path], object]]
_BYTES_PER_SERIES, _BYTES_OF_FIGURES = 120, 3_000_000  # at most, seen in runs


def short_names(directories: Sequence[Path]) -> list[str]:
    """As many of the last folders of each path as tell all of them apart; no path may be there twice."""
    depth = 1
    while len({directory.parts[-depth:] for directory in directories}) < len(directories):
        depth += 1
    return ["/".join(directory.parts[-depth:]) for directory in directories]


def check_free(directory: Path, force: bool) -> None:
    """Refuse, before any work, a directory that holds a run or that cannot be written to."""
    try:
        if (directory / RECORD).exists() and not force:
            raise InputError(f"{directory} already holds a run; choose another directory, or overwrite it with --force")
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
    tables = [table for section in all_sections() for table in section.tables]
    for name in (RECORD, *(f"{table}.parquet" for table in tables)):
        (directory / name).unlink(missing_ok=True)


def data_files(result: AnalysisResult) -> Files:
    """What writes each file of data, by name, in the order of its worth should the disk be full."""
    metadata = json.dumps(result.provenance, sort_keys=True)
    record = json.dumps(_record(result), indent=1, allow_nan=False) + "\n"
    files: Files = {RECORD: lambda path: path.write_text(record, encoding="utf-8")}
    for section in all_sections():
        measured = result.sections.get(section.name)
        frames = {} if measured is None else section.frames(measured, result)
        files |= {f"{name}.parquet": partial(_write_parquet, frame, metadata) for name, frame in frames.items()}
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


def _record(result: AnalysisResult) -> dict[str, Any]:
    record = {
        "format": FORMAT,
        "provenance": result.provenance,
        "notices": result.notices,
        "loss": {"mean": float(result.losses.mean()), "std": float(result.losses.std())},
        "layout": [asdict(part) for part in result.layout],
    }
    for section in all_sections():
        record |= section.record(result.sections.get(section.name), result)
    places = {key: place for place, key in enumerate(_KEYS)}
    ordered = {key: record[key] for key in sorted(record, key=lambda key: places.get(key, len(places)))}
    return ordered | {"time": {"started": result.started, "finished": result.finished}}


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
    table = cache(lambda name: _read(directory / f"{name}.parquet"))
    sections = {section.name: section.read(record, table) for section in all_sections()}
    return AnalysisResult(
        provenance=record["provenance"],
        layout=[ParameterSlice(**{**part, "shape": tuple(part["shape"])}) for part in record["layout"]],
        losses=table("dimension_wise")["loss"].to_numpy(),
        sections=sections,
        notices=record["notices"],
        **record["time"],
    )


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path} is missing: the run is not whole (was the disk full?); run it again")
    return pq.read_table(path).to_pandas()
