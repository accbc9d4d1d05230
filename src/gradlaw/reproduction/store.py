"""The store: one folder a result, named by the key of its measurement, whole or not there."""

import io
import os
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from gradlaw.atomic import PARTIAL, full_disk_explained, new_folder
from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.manifest import MANIFEST, read_manifest, write_manifest
from gradlaw.reproduction.measurement import Measurement
from gradlaw.sealed_json import as_text, parse

RECORD, ARRAYS = "result.json", "arrays.npz"
_LISTED = "manifest"  # in the record of a result that has a manifest beside it; those of earlier versions have none


@dataclass(frozen=True, eq=False)
class Result(ByValue):
    """What a measurement found: scalars as plain data, and arrays by name."""

    record: dict[str, Any]
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Store:
    """Results under ``folder/KEY/result.json`` and ``arrays.npz``; trainings under ``folder/checkpoints``."""

    folder: Path

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def path(self, measurement: Measurement) -> Path:
        """Where its result is, or would be."""
        return self.folder / measurement.key

    def __contains__(self, measurement: Measurement) -> bool:
        return (self.path(measurement) / RECORD).is_file()

    def load(self, measurement: Measurement) -> Result:
        """The result of a finished measurement.

        Raises:
            InputError: a file of it is missing or was changed.
        """
        return load_result(self.path(measurement))

    def check(self, measurement: Measurement) -> None:
        """Refuse a result that is damaged, before any work is done for others.

        Raises:
            InputError: a file of it is missing or was changed.
        """
        manifest = read_manifest(self.path(measurement), remedy(self.path(measurement)))
        if manifest is not None:
            for name in manifest.files:
                manifest.read(name)

    def save(self, measurement: Measurement, result: Result) -> None:
        """Write a result whole or not at all; one that another process wrote meanwhile stays."""
        target = self.path(measurement)
        text = as_text({_LISTED: MANIFEST, "measurement": measurement.settings(), **result.record})
        kept = "results written before are whole"
        with full_disk_explained(target, kept, "run again"), new_folder(target, RECORD, str(os.getpid())) as new:
            np.savez_compressed(new / ARRAYS, allow_pickle=False, **result.arrays)
            (new / RECORD).write_text(text, encoding="utf-8")
            write_manifest(new, (RECORD, ARRAYS))

    def where(self, measurement: Measurement) -> str:
        """The files of its result, there or not."""
        folder = self.path(measurement)
        return f"{folder / RECORD}, {folder / ARRAYS}"

    def __str__(self) -> str:
        return f"{self.folder}, one folder a measurement"

    def remove_unfinished(self) -> None:
        """Remove what processes left that are no more."""
        for folder in self.folder.glob(f"*{PARTIAL}"):
            if not psutil.pid_exists(int(folder.name.split(".")[1])):
                shutil.rmtree(folder)


def load_result(folder: Path) -> Result:
    """The result in a folder of the store.

    Raises:
        InputError: a file of it is missing or was changed.
    """
    manifest = read_manifest(folder, remedy(folder))
    content = {name: _read(folder / name) if manifest is None else manifest.read(name) for name in (RECORD, ARRAYS)}
    record = parse(content[RECORD], folder / RECORD, remedy(folder))
    if record.pop(_LISTED, None) is not None and manifest is None:
        raise InputError(f"{folder / MANIFEST} is missing; {remedy(folder)}")
    try:
        with np.load(io.BytesIO(content[ARRAYS]), allow_pickle=False) as arrays:
            return Result(record, dict(arrays))
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{folder / ARRAYS} is damaged ({error}); {remedy(folder)}") from error


def remedy(folder: Path) -> str:
    """What to do about a damaged result."""
    return f"remove the folder {folder} and run again: it alone is measured anew"


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path} is missing; {remedy(path.parent)}")
    return path.read_bytes()
