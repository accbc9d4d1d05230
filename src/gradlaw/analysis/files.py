"""A run directory: an analysis on disk.

    analysis.json           settings, versions, seed, machine, data, every scalar; the time stamps under "time"
    dimension_wise.parquet  one row an iteration: its loss and the tests of its n gradients
    iteration_wise.parquet  one row a parameter: its name and the tests of its T gradients
    eigenvalues.parquet     one row a rank: both spectra and the eigengaps of the covariance
    examples.parquet        the two series drawn in the figures
    approximate.parquet     of sketches: s, d_KS and the leading eigenvalues with their intervals; then there are no
                            iteration_wise, examples, noise, population and over_iterations
    accuracy.parquet        how often a classifier is right, one row
    noise.parquet           signal, noise and ranks of the model and each parameter tensor, one row each
    population.parquet      the laws of the population behind the covariance spectrum, one row a law
    two_halves.parquet      variances of one half of the gradients along directions of the other, one row a rank
    over_iterations.parquet the covariance spectrum of fewer iterations, one row a number of them
    controls.parquet        one row a rank: the covariance spectra of controls, if they were asked for
    layers, tail_indices, gaussianity, exponents, comparisons.parquet   the extended statistics, if they were asked for
    figures/*.png, *.svg    and report.html, the page that shows it all: see :mod:`gradlaw.report.write`
    manifest.json           size and SHA-256 of each of these files, written last: what is read is checked against it

What each section keeps, it says itself: see :mod:`gradlaw.analysis.sections`. How a run takes its place, so that it is
there whole or not at all: see :mod:`gradlaw.analysis.run_directory`.
"""

import json
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
from gradlaw.analysis.run_directory import RECORD, WRITING, manifest_of_run
from gradlaw.analysis.sections import all_sections
from gradlaw.atomic import write_whole
from gradlaw.errors import InputError
from gradlaw.manifest import MANIFEST, Manifest
from gradlaw.problem import ParameterSlice
from gradlaw.progress import Progress
from gradlaw.sealed_json import as_text, parse

FORMAT = 3
_WITHOUT_MANIFEST = 2  # the format of versions that wrote none
# In the order in which records have them; entries of sections that are newer follow.
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


def check_space(directory: Path, iterations: int, dimensions: int) -> None:
    """Refuse, before any work, a disk on which the results would not fit."""
    needed = _BYTES_PER_SERIES * (iterations + dimensions) + _BYTES_OF_FIGURES
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise InputError(
            f"the disk of {directory} has {free / 1e6:.1f} MB left and a run takes up to {needed / 1e6:.1f} MB; free "
            "some space or choose another directory"
        )


def names_of_data() -> list[str]:
    """The files of data that a run may have, whatever was asked of it."""
    return [RECORD, *(f"{table}.parquet" for section in all_sections() for table in section.tables)]


def data_files(result: AnalysisResult) -> Files:
    """What writes each file of data, by name, in the order of its worth should the disk be full."""
    metadata = json.dumps(result.provenance, sort_keys=True)
    record = as_text(_record(result))
    files: Files = {RECORD: lambda path: path.write_text(record, encoding="utf-8")}
    for section in all_sections():
        measured = result.sections.get(section.name)
        frames = {} if measured is None else section.frames(measured, result)
        files |= {f"{name}.parquet": partial(_write_parquet, frame, metadata) for name, frame in frames.items()}
    return files


def write_files(directory: Path, files: Files, label: str, progress: Progress) -> None:
    """Write files one by one, each whole or not at all.

    Args:
        directory: with the folders that the names have.
        files: what writes each, by name.
        label: of the stage.
        progress: where to show it.

    Raises:
        InputError: the disk is full; what was finished stays.
    """
    with progress.stage(label, len(files)) as advance:
        for done, (name, write) in enumerate(files.items()):
            (directory / name).parent.mkdir(exist_ok=True)
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
    whole = table.replace_schema_metadata({**table.schema.metadata, b"gradlaw": metadata.encode()})
    with path.open("wb") as file:  # Arrow takes no path that is not UTF-8
        pq.write_table(whole, file)


def read_result(directory: Path) -> AnalysisResult:
    """Read a run directory; see :meth:`gradlaw.Analysis.load`."""
    manifest = manifest_of_run(directory)
    content = partial(_content, directory, manifest)
    record = parse(content(RECORD), directory / RECORD, _AGAIN)
    _check_format(record, directory, manifest)
    table = cache(lambda name: _table(content(f"{name}.parquet"), directory / f"{name}.parquet"))
    try:
        result = _result(record, table)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if manifest is not None:
            raise  # it is what we wrote
        raise InputError(f"{directory / RECORD} does not fit its tables ({error!r}); {_AGAIN}") from error
    if manifest is None:
        result.notices.append(f"Read from a run of a version of gradlaw that wrote no {MANIFEST}: damage of its files "
                              "would not be noticed.")  # fmt: skip
    return result


_AGAIN = "make the run again"


def _result(record: dict[str, Any], table: Callable[[str], pd.DataFrame]) -> AnalysisResult:
    return AnalysisResult(
        provenance=record["provenance"],
        layout=[ParameterSlice(**{**part, "shape": tuple(part["shape"])}) for part in record["layout"]],
        losses=table("dimension_wise")["loss"].to_numpy(),
        sections={section.name: section.read(record, table) for section in all_sections()},
        notices=record["notices"],
        **record["time"],
    )


def _check_format(record: dict[str, Any], directory: Path, manifest: Manifest | None) -> None:
    version, path = record.get("format"), directory / RECORD
    if version not in (FORMAT, _WITHOUT_MANIFEST):
        raise InputError(f"{path} has format {version}; this version of gradlaw reads {_WITHOUT_MANIFEST} and {FORMAT}")
    if version == FORMAT and manifest is None:
        raise InputError(f"{directory} holds no whole run: its {MANIFEST}, which is written last, is missing; {_AGAIN}")


def _content(directory: Path, manifest: Manifest | None, name: str) -> bytes:
    if manifest is not None:
        return manifest.read(name)
    path = directory / name
    if path.is_file():
        return path.read_bytes()
    if name != RECORD:
        raise InputError(f"{path} is missing: the run is not whole (was the disk full?); run it again")
    raise InputError(f"{directory} holds no run ({RECORD} is not there){_what_is_there(directory)}")


def _what_is_there(directory: Path) -> str:
    if (directory / WRITING).is_dir():
        return "; one was begun and not finished: repeat the command that began it"
    return "" if directory.is_dir() else "; there is no such directory"


def _table(content: bytes, path: Path) -> pd.DataFrame:
    try:
        return pq.read_table(pa.BufferReader(content)).to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} is no whole Parquet file ({error}); {_AGAIN}") from error
