"""Measure the design, what is missing of it, one experiment at a time.

python -m studies.consequences.run edge --cifar10 DIR --checkpoints DIR
python -m studies.consequences.run subspaces --mnist DIR
python -m studies.consequences.run blocks --mnist DIR --text FILE
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import gradlaw as gl
from gradlaw.atomic import write_whole
from gradlaw.training.points import point_file
from studies.consequences.blocks import measure_blocks
from studies.consequences.design import (
    BLOCK_SEEDS,
    EDGE_POINTS,
    EDGE_SEEDS,
    GPT,
    GPT_CONTEXT,
    NETWORKS,
    SUBSPACE_SEEDS,
)
from studies.consequences.edge import edge_row
from studies.consequences.subspaces import measure_subspaces
from studies.consequences.train import train_edge

COMMITTED = Path("docs/consequences/results")
TABLES = ("edge", "losses", "shares", "rotation", "blocks", "eigenvectors", "matrices")
Row = dict[str, Any]


class Results:
    """Tables of rows in a folder, continued where they were left.

    Args:
        folder: of the CSV files.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.rows = {name: self._read(name) for name in TABLES}

    def has(self, table: str, **key: Any) -> bool:
        """Whether a row with these values is there."""
        return any(all(str(row[name]) == str(value) for name, value in key.items()) for row in self.rows[table])

    def add(self, **tables: Sequence[Row]) -> None:
        """Add rows to tables, and write them."""
        for name, rows in tables.items():
            self.rows[name] += rows
            text = pd.DataFrame(self.rows[name]).to_csv(index=False, float_format="%.6g", lineterminator="\n")
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / f"{name}.csv", text)

    def _read(self, name: str) -> list[Row]:
        path = self.folder / f"{name}.csv"
        return pd.read_csv(path, keep_default_na=False).to_dict("records") if path.exists() else []


def edge(given: argparse.Namespace, results: Results) -> None:
    """Train, then measure the points; with ``--points`` only measure those that are there."""
    data = gl.load_data(given.cifar10)
    for seed in EDGE_SEEDS:
        folder = given.checkpoints / f"edge-{seed}"
        if not given.points:
            train_edge(data, seed, folder)
        for epoch in EDGE_POINTS:
            if point_file(folder, epoch).exists() and not results.has("edge", seed=seed, epoch=epoch):
                row = _timed(edge_row, data, seed, epoch, folder)
                results.add(edge=[row])


def subspaces(given: argparse.Namespace, results: Results) -> None:
    """A seed after the other."""
    data = gl.load_data(given.mnist)
    for seed in SUBSPACE_SEEDS:
        if not results.has("losses", seed=seed):
            losses, shares, rotation = _timed(measure_subspaces, data, seed)
            results.add(shares=shares, rotation=rotation, losses=losses)


def blocks(given: argparse.Namespace, results: Results) -> None:
    """A network after the other, seed by seed."""
    images, text = gl.load_data(given.mnist), gl.load_text(given.text, GPT_CONTEXT)
    for seed in BLOCK_SEEDS:
        for network in NETWORKS:
            if not results.has("blocks", network=network, seed=seed):
                data = text if network == GPT else images
                row, vectors, matrices = _timed(measure_blocks, network, data, seed)
                results.add(eigenvectors=vectors, matrices=matrices, blocks=[row])


def _timed(measure: Callable[..., Any], *given: Any) -> Any:
    started = time.perf_counter()
    found = measure(*given)
    what = " ".join(str(value) for value in given if isinstance(value, str | int))
    print(f"{time.strftime('%H:%M:%S')} {measure.__name__} {what}: {time.perf_counter() - started:.1f} s", flush=True)
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=("edge", "subspaces", "blocks"))
    parser.add_argument("--mnist", help="the folder of MNIST")
    parser.add_argument("--cifar10", help="the folder of CIFAR-10")
    parser.add_argument("--text", help="a plain text for the GPT: tiny Shakespeare")
    parser.add_argument("--checkpoints", type=Path, help="of the training of the edge, which goes on from them")
    parser.add_argument("--points", action="store_true", help="measure the points that are there, and train nothing")
    parser.add_argument("--out", type=Path, default=COMMITTED, help="where the tables are, and are continued")
    given = parser.parse_args()
    torch.set_num_threads(1)
    {"edge": edge, "subspaces": subspaces, "blocks": blocks}[given.experiment](given, Results(given.out))


if __name__ == "__main__":
    main()
