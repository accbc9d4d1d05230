"""The store: one folder a result, named by the key of its measurement, whole or not there."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from gradlaw.atomic import PARTIAL, full_disk_explained, new_folder
from gradlaw.by_value import ByValue
from gradlaw.reproduction.measurement import Measurement

RECORD, ARRAYS = "result.json", "arrays.npz"


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
        """The result of a finished measurement."""
        folder = self.path(measurement)
        with np.load(folder / ARRAYS) as arrays:
            return Result(json.loads((folder / RECORD).read_text(encoding="utf-8")), dict(arrays))

    def save(self, measurement: Measurement, result: Result) -> None:
        """Write a result whole or not at all; one that another process wrote meanwhile stays."""
        target = self.path(measurement)
        record = {"measurement": measurement.settings(), **result.record}
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
        kept = "results written before are whole"
        with full_disk_explained(target, kept, "run again"), new_folder(target, RECORD, str(os.getpid())) as new:
            np.savez_compressed(new / ARRAYS, allow_pickle=False, **result.arrays)
            (new / RECORD).write_text(text, encoding="utf-8")

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
