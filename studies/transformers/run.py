"""Measure the design, what is missing of it: ``python -m studies.transformers.run --until 11:50``."""

import argparse
import time
from datetime import datetime
from pathlib import Path

import torch

from studies.transformers.design import measurements
from studies.transformers.measure import measure
from studies.transformers.networks import Folders, NotThere
from studies.transformers.results import gather, path_of, save


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", default="data/tinyshakespeare", help="the folder of the text")
    parser.add_argument("--mnist", help="the folder of MNIST, for the control")
    parser.add_argument("--runs", type=Path, default=Path("runs/transformers"), help="where runs are kept")
    parser.add_argument("--only", default="", help="names that hold this text")
    parser.add_argument("--until", default="23:59", help="HH:MM, after which no measurement is begun")
    given = parser.parse_args()
    torch.set_num_threads(1)
    folders = Folders(given.text, given.mnist, given.runs)
    hours, minutes = map(int, given.until.split(":"))
    deadline = datetime.now().replace(hour=hours, minute=minutes, second=0).timestamp()
    for measurement in measurements():
        if given.only not in measurement.name or path_of(measurement, given.runs).is_file():
            continue
        started = time.time()
        if started > deadline:
            break
        try:
            tables = measure(measurement, folders)
        except NotThere as reason:
            print(f"{measurement.name}: {reason}", flush=True)
            continue
        save(measurement, given.runs, tables, time.time() - started)
        print(f"{time.strftime('%H:%M:%S')} {measurement.name}: {time.time() - started:.0f} s", flush=True)
    print(f"{gather(given.runs)} of {len(measurements())} measurements", flush=True)


if __name__ == "__main__":
    main()
