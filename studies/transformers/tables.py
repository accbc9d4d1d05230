"""The committed results, read."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from studies.transformers.design import Measurement, measurements
from studies.transformers.results import COMMITTED, NOISE_TABLE, TABLES


@dataclass(frozen=True)
class Results:
    """The tables of the study, and which measurements they hold.

    Attributes:
        networks: one row a measurement.
        rates: one row a measurement, direction, group of dimensions and batch size.
        spectra: one row an eigenvalue that was kept.
        curvature: one row a rank: eigenvalues of Hessian and covariance.
        noise: one row for every few steps of a run of nanoGPT.
    """

    networks: pd.DataFrame
    rates: pd.DataFrame
    spectra: pd.DataFrame
    curvature: pd.DataFrame
    noise: pd.DataFrame

    @staticmethod
    def read(folder: Path = COMMITTED) -> "Results":
        """From CSV files; a table that is not there is empty."""
        tables = [
            pd.read_csv(path) if (path := folder / f"{name}.csv").is_file() else pd.DataFrame({"measurement": []})
            for name in (*TABLES, NOISE_TABLE)
        ]
        return Results(*tables)

    def of(self, kind: str, **values: Any) -> list[Measurement]:
        """What was measured of one kind, in the order of the design, with these values."""
        there = set(self.networks.measurement)
        return [m for m in measurements() if m.kind == kind and m.name in there
                and all(getattr(m, name) == value for name, value in values.items())]  # fmt: skip

    def networks_of(self, kind: str, **values: Any) -> Iterator[tuple[Measurement, pd.Series]]:
        """The same with their rows of ``networks``."""
        rows = self.networks.set_index("measurement")
        for measurement in self.of(kind, **values):
            yield measurement, rows.loc[measurement.name]
