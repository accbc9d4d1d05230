"""Results: one JSON a measurement while the study runs, a few CSV files in the repository."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradlaw.atomic import write_whole
from gradlaw.reproduction.measurement import content_key
from studies.transformers.design import Measurement, measurements
from studies.transformers.measure import Tables
from studies.transformers.noise import noise_rows

COMMITTED = Path("docs/transformers/results")
TABLES = ("networks", "rates", "spectra", "curvature")
NOISE_TABLE = "nanogpt"


def path_of(measurement: Measurement, runs: Path) -> Path:
    """Where its result is, or would be: other settings are another file."""
    return runs / "results" / f"{measurement.name}-{content_key(measurement.settings())}.json"


def save(measurement: Measurement, runs: Path, tables: Tables, seconds: float) -> None:
    """Write one result whole."""
    path = path_of(measurement, runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"settings": measurement.settings(), "seconds": round(seconds, 1), "tables": tables}
    write_whole(path, json.dumps(record, indent=1, default=_plain) + "\n")


def gather(runs: Path, folder: Path = COMMITTED) -> int:
    """Write what has been measured of the design as CSV files; returns how many measurements there are."""
    rows: Tables = {name: [] for name in TABLES}
    done = 0
    for measurement in measurements():
        path = path_of(measurement, runs)
        if path.is_file():
            done += 1
            record = json.loads(path.read_text(encoding="utf-8"))
            for name, table in record["tables"].items():
                rows[name] += [{"measurement": measurement.name, **row} for row in table]
            rows["networks"][-1]["seconds"] = record["seconds"]
    folder.mkdir(parents=True, exist_ok=True)
    rows[NOISE_TABLE] = noise_rows(runs)
    for name, table in rows.items():
        if table:
            text = pd.DataFrame(table).to_csv(index=False, float_format="%.6g", lineterminator="\n")
            write_whole(folder / f"{name}.csv", text)
    return done


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no plain data")
