"""Measure the design, what is missing of it: ``python -m studies.explanations.run --mnist DIR --cifar10 DIR``."""

import argparse
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import gradlaw as gl
from gradlaw.atomic import write_whole
from studies.explanations.design import measurements
from studies.explanations.measure import Row, measure

COMMITTED = Path("docs/explanations/results")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", required=True, help="the folder of MNIST")
    parser.add_argument("--cifar10", required=True, help="the folder of CIFAR-10")
    parser.add_argument("--out", type=Path, default=COMMITTED, help="where the tables are, and are continued")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data: dict[str, Any] = {}
    rows, layers = (_read(given.out / name) for name in ("spectra.csv", "layers.csv"))
    done = {tuple(str(row[name]) for name in ("network", "data", "variant", "seed")) for row in rows}
    for measurement in measurements():
        if tuple(map(str, measurement.key.values())) in done:
            continue
        if measurement.data not in data:
            data[measurement.data] = gl.load_data(getattr(given, measurement.data))
        started = time.perf_counter()
        row, of_layers = measure(measurement, data[measurement.data])
        rows.append(row | {"seconds": round(time.perf_counter() - started, 1)})
        layers += of_layers
        _write(given.out / "layers.csv", layers)
        _write(given.out / "spectra.csv", rows)
        print(f"{time.strftime('%H:%M:%S')} {measurement}: {rows[-1]['seconds']} s", flush=True)


def _read(path: Path) -> list[Row]:
    return pd.read_csv(path).to_dict("records") if path.exists() else []


def _write(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, pd.DataFrame(rows).to_csv(index=False, float_format="%.6g", lineterminator="\n"))


if __name__ == "__main__":
    main()
