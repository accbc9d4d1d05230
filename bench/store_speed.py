"""What checksums and flushing cost a gradient history on disk: LeNet, n = 44,426, T = 3,000, 0.53 GB in float32.

The same matrix, band by band of rows as `gl.collect` writes it, then read by bands of rows and by bands of columns, as
the tests read it: by zarr alone (no checksums, no flushing), as a temporary store (checksums), and as one that is kept
(checksums, every band on the disk before the next). Processor seconds, and wall seconds in brackets, which waiting for
the disk and other users of the machine are part of; medians of five in turns.

python bench/store_speed.py     # prints the table
"""

import shutil
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from gradlaw.history.stores.zarr_store import BAND_BYTES, chunk_shape, create

SHAPE, REPEATS = (3000, 44_426), 5


def zarr_alone(folder: Path) -> Any:
    """An array with the same chunks."""
    import zarr

    chunks = chunk_shape(SHAPE, torch.float32, BAND_BYTES)
    return zarr.create_array(folder, shape=SHAPE, chunks=chunks, dtype="float32", compressors=None)


def measure(kind: str, folder: Path, band: torch.Tensor) -> tuple[float, ...]:
    """Processor and wall seconds to write, and to read in both directions."""
    plain = kind == "zarr alone"
    matrix = zarr_alone(folder) if plain else create(folder, SHAPE, torch.float32, durable=kind == "kept")
    height, width = matrix.chunks
    start = now()
    for top in range(0, SHAPE[0], height):
        rows = band[: min(height, SHAPE[0] - top)]
        if plain:
            matrix[top : top + len(rows)] = rows.numpy()
        else:
            matrix.write(top, rows)
    written = now()
    for top in range(0, SHAPE[0], height):
        matrix[top : top + height]
    for left in range(0, SHAPE[1], width):
        matrix[:, left : left + width]
    return (*(written - start), *(now() - written))


def now() -> np.ndarray:
    """Processor and wall seconds."""
    return np.array([time.process_time(), time.perf_counter()])


def table() -> str:
    """The measurement in Markdown."""
    torch.set_num_threads(1)
    height = chunk_shape(SHAPE, torch.float32, BAND_BYTES)[0]
    band = torch.from_numpy(np.random.default_rng(0).standard_normal((height, SHAPE[1]), dtype=np.float32))
    found: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in ("zarr alone", "temporary", "kept")}
    for _ in range(REPEATS):
        for kind, times in found.items():
            with tempfile.TemporaryDirectory() as folder:
                times.append(measure(kind, Path(folder) / "store", band))
                shutil.rmtree(Path(folder) / "store")
    lines = ["| store | write | read both ways |", "|---|---:|---:|"]
    for kind, times in found.items():
        write, write_wall, read, read_wall = (median(one) for one in zip(*times, strict=True))
        lines.append(f"| {kind} | {write:.2f} s ({write_wall:.2f}) | {read:.2f} s ({read_wall:.2f}) |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
