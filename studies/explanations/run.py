"""Measure the design, what is missing of it: ``python -m studies.explanations.run``."""

import argparse
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import gradlaw as gl
from gradlaw.atomic import write_whole
from studies.explanations.design import OTHERS, Measurement, measurements
from studies.explanations.measure import Row, measure

COMMITTED = Path("docs/explanations/results")
TABLES = ("spectra", "layers", "population")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", required=True, help="the folder of MNIST")
    parser.add_argument("--cifar10", required=True, help="the folder of CIFAR-10")
    parser.add_argument("--tinyshakespeare", required=True, help="the text, or its folder")
    parser.add_argument("--out", type=Path, default=COMMITTED, help="where the tables are, and are continued")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data: dict[str, Any] = {}
    tables = {name: _read(given.out / f"{name}.csv") for name in TABLES}
    for measurement in measurements():
        if _is_done(measurement, tables):
            continue
        if measurement.data not in data:
            load = gl.load_text if measurement.data == OTHERS["gpt"] else gl.load_data
            data[measurement.data] = load(getattr(given, measurement.data))
        started = time.perf_counter()
        found = measure(measurement, data[measurement.data])
        added = {"spectra": [found.spectrum], "layers": found.layers, "population": found.population}
        for name, rows in added.items():
            tables[name] = [row for row in tables[name] if not _is_of(row, measurement)] + rows
        tables["spectra"][-1]["seconds"] = round(time.perf_counter() - started, 1)
        for name, rows in tables.items():
            _write(given.out / f"{name}.csv", rows)
        print(f"{time.strftime('%H:%M:%S')} {measurement}: {tables['spectra'][-1]['seconds']} s", flush=True)


def _is_of(row: Row, measurement: Measurement) -> bool:
    return all(str(row[name]) == str(value) for name, value in measurement.key.items())


def _is_done(measurement: Measurement, tables: dict[str, list[Row]]) -> bool:
    needed = ("spectra", "population") if measurement.population else ("spectra",)
    return all(any(_is_of(row, measurement) for row in tables[name]) for name in needed)


def _read(path: Path) -> list[Row]:
    return pd.read_csv(path).to_dict("records") if path.exists() else []


def _write(path: Path, rows: list[Row]) -> None:
    if not rows:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, pd.DataFrame(rows).to_csv(index=False, float_format="%.6g", lineterminator="\n"))


if __name__ == "__main__":
    main()
