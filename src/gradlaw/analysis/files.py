"""A run directory: an analysis on disk.

    analysis.json           settings, versions, seed, machine, data, every scalar; the time stamps under "time"
    dimension_wise.parquet  one row an iteration: its loss and the tests of its n gradients
    iteration_wise.parquet  one row a parameter: its name and the tests of its T gradients
    eigenvalues.parquet     one row a rank: both spectra and the eigengaps of the covariance
    examples.parquet        the two series drawn in the figures
    noise.parquet           signal, noise and ranks of the model and each parameter tensor, one row each
    over_iterations.parquet the covariance spectrum of fewer iterations, one row a number of them
    controls.parquet        one row a rank: the covariance spectra of controls, if they were asked for
    layers, tail_indices, gaussianity, exponents, comparisons.parquet   of an analysis in depth
    figures/*.png, *.svg    and report.html, the page that shows it all, the same figures among it

Files are written one by one, each whole or not at all.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gradlaw.analysis.extended import Depth
from gradlaw.analysis.result import Analysis, RankedSeries
from gradlaw.analysis.verdicts import COVARIANCE, SECOND_MOMENT
from gradlaw.atomic import write_whole
from gradlaw.errors import InputError
from gradlaw.problem import ParameterSlice
from gradlaw.progress import Progress
from gradlaw.spectra import Spectrum
from gradlaw.stats.rates import SERIES_COLUMNS, GradientTests
from gradlaw.stats.series import AXES

if TYPE_CHECKING:
    from gradlaw.report.render import Renderer

FORMAT = 2
DEPTH_TABLES = tuple(field.name for field in fields(Depth))
RECORD = "analysis.json"
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


def save(analysis: Analysis, directory: Path, force: bool, progress: Progress) -> None:
    """Write everything; see :meth:`Analysis.save`."""
    check_free(directory, force)
    (directory / "figures").mkdir(exist_ok=True)
    files = _writers(analysis)
    for name in {*files, *_names_of_any_run()}:
        (directory / name).unlink(missing_ok=True)
    with progress.stage("write files and figures", len(files)) as advance:
        for done, (name, write) in enumerate(files.items()):
            kept = ", ".join(list(files)[:done]) or "nothing"
            write_whole(directory / name, write, f"written and kept: {kept}")
            advance(1)


def _names_of_any_run() -> list[str]:
    """What a run may leave, whatever was asked of it."""
    from gradlaw.report.figures import KINDS, NAMES

    tables = [f"{name}.parquet" for name in ("noise", "over_iterations", "controls", *DEPTH_TABLES)]
    return tables + [f"figures/{name}.{kind}" for name in NAMES for kind in KINDS]


def _writers(analysis: Analysis) -> dict[str, Callable[[Path], object]]:
    """What to write, in the order of its worth should the disk be full."""
    from gradlaw.report.render import Renderer

    metadata = json.dumps(analysis.provenance, sort_keys=True)
    record = json.dumps(_record(analysis), indent=1, allow_nan=False) + "\n"
    files: dict[str, Callable[[Path], object]] = {RECORD: lambda path: path.write_text(record, encoding="utf-8")}
    for name, frame in _tables(analysis).items():
        files[f"{name}.parquet"] = partial(_write_parquet, frame, metadata)
    renderer = Renderer(analysis)
    for name, kind in renderer.images:
        files[f"figures/{name}.{kind}"] = partial(_write_image, renderer, name, kind)
    files["report.html"] = lambda path: path.write_text(renderer.page(), encoding="utf-8")
    return files


def _write_image(renderer: "Renderer", name: str, kind: str, path: Path) -> None:
    path.write_bytes(renderer.image(name, kind))


def _tables(analysis: Analysis) -> dict[str, pd.DataFrame]:
    tables = {
        "eigenvalues": _eigenvalues(analysis),
        "dimension_wise": _dimension_wise(analysis),
        "iteration_wise": _iteration_wise(analysis),
        "examples": _examples(analysis),
    }
    optional = {"noise": analysis.noise, "over_iterations": analysis.over_iterations, "controls": _controls(analysis)}
    tables |= {name: frame for name, frame in optional.items() if frame is not None}
    if analysis.depth is not None:
        tables |= {name: getattr(analysis.depth, name) for name in DEPTH_TABLES}
    return tables


def _record(analysis: Analysis) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "provenance": analysis.provenance,
        "notices": analysis.notices,
        "loss": {"mean": float(analysis.losses.mean()), "std": float(analysis.losses.std())},
        "tests": {axis: tests.scalars() for axis, tests in analysis.tests.items()},
        "spectra": {name: _scalars(s) for name, s in analysis.spectra.items()},
        "spectral_verdicts": [asdict(verdict) for verdict in analysis.spectral_verdicts()],
        "noise": analysis.noise is not None,
        "over_iterations": analysis.over_iterations is not None,
        "controls": {name: _scalars(s) for name, s in analysis.controls.items()},
        "control_verdicts": [asdict(verdict) for verdict in analysis.control_verdicts()],
        "examples": {axis: example.index for axis, example in analysis.examples.items()},
        "layout": [asdict(part) for part in analysis.layout],
        "depth": analysis.depth is not None,
        "time": {"started": analysis.started, "finished": analysis.finished},
    }


def _scalars(spectrum: Spectrum) -> dict[str, Any]:
    return {key: value for key, value in asdict(spectrum).items() if key != "eigenvalues"} | {"rank": spectrum.rank}


def _controls(analysis: Analysis) -> pd.DataFrame | None:
    if not analysis.controls:
        return None
    columns = {name: spectrum.eigenvalues for name, spectrum in analysis.controls.items()}
    return pd.DataFrame({"rank": np.arange(1, len(next(iter(columns.values()))) + 1), **columns})


def _eigenvalues(analysis: Analysis) -> pd.DataFrame:
    second, covariance = analysis.spectra[SECOND_MOMENT], analysis.spectra[COVARIANCE]
    frame = pd.DataFrame({"rank": np.arange(1, len(second.eigenvalues) + 1)})
    frame["second_moment"], frame["covariance"] = second.eigenvalues, covariance.eigenvalues
    frame["covariance_eigengap"] = pd.Series(analysis.eigengaps.values)  # one fewer: the last is missing
    return frame


def _dimension_wise(analysis: Analysis) -> pd.DataFrame:
    frame = analysis.tests["dimension"].to_frame()
    frame.insert(0, "iteration", np.arange(len(frame)))
    frame.insert(1, "loss", analysis.losses)
    return frame


def _iteration_wise(analysis: Analysis) -> pd.DataFrame:
    frame = analysis.tests["iteration"].to_frame()
    names, sizes = [p.name for p in analysis.layout], [p.stop - p.start for p in analysis.layout]
    frame.insert(0, "parameter", pd.Categorical.from_codes(np.repeat(np.arange(len(names)), sizes), pd.Index(names)))
    frame.insert(1, "element", np.concatenate([np.arange(size) for size in sizes]))
    return frame


def _examples(analysis: Analysis) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"axis": axis, "rank": np.arange(1, len(e.magnitudes) + 1), "magnitude": e.magnitudes})
        for axis, e in analysis.examples.items()
    ]
    return pd.concat(parts, ignore_index=True).astype({"axis": "category"})


def _write_parquet(frame: pd.DataFrame, metadata: str, path: Path) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"gradlaw": metadata.encode()}), path)


def load(directory: Path) -> Analysis:
    """Read a run directory; see :meth:`Analysis.load`."""
    if not (directory / RECORD).is_file():
        raise InputError(f"{directory} holds no run ({RECORD} is not there)")
    record = json.loads((directory / RECORD).read_text())
    if record["format"] != FORMAT:
        raise InputError(f"{directory / RECORD} has format {record['format']}; this version of gradlaw reads {FORMAT}")
    tables = {name: _read(directory / f"{name}.parquet") for name in
              ("eigenvalues", "dimension_wise", "iteration_wise", "examples")}  # fmt: skip
    return Analysis(
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
        depth=_depth(directory) if record["depth"] else None,
        **record["time"],
    )  # fmt: skip


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(f"{path} is missing: the run is not whole (was the disk full?); run it again")
    return pq.read_table(path).to_pandas()


def _depth(directory: Path) -> Depth:
    return Depth(**{name: _read(directory / f"{name}.parquet") for name in DEPTH_TABLES})


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
