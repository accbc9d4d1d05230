"""The sketches of a gradient history, and the tests of each whole gradient that was sketched."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.history.record import Recorded, fields_of
from gradlaw.history.settings import SketchSettings
from gradlaw.history.stores.zarr_store import DiskGradients, open_store
from gradlaw.stats.calibration import calibrated_critical_distance, critical_distance, gaussian_pass_rate
from gradlaw.stats.rates import SERIES_COLUMNS, GradientTests, SeriesTester
from gradlaw.stats.series import series_blocks

_FLAGS = ("is_power_law", "is_power_law_calibrated", "degenerate_series")


class RowSketch(Protocol):
    """Sketches one gradient, shape (n,), to m numbers."""

    def __call__(self, gradient: Tensor) -> Tensor: ...


class RowReducer:
    """What is kept of each gradient: m numbers of its sketch, and the tests across its n values.

    Args:
        sketch: of a gradient.
        settings: of sketch and tests.
        dimensions: n.
    """

    def __init__(self, sketch: RowSketch, settings: SketchSettings, dimensions: int):
        self._sketch, self._settings, self._dimensions = sketch, settings, dimensions
        self.columns = settings.size + len(_columns(settings))

    def reduce(self, first: int, rows: Tensor, out: Tensor) -> None:
        """Gradients (C, n) of the iterations ``first`` onwards to rows (C, columns)."""
        s = self._settings
        tester = SeriesTester("dimension", self._dimensions, s.k, s.gaussian_k, s.alpha, s.seed)
        tester.add(first, rows)
        tests = tester.result()
        for row, kept in zip(rows, out, strict=True):
            kept[: s.size] = self._sketch(row)
        for place, name in enumerate(_columns(s), start=s.size):
            out[:, place] = torch.as_tensor(getattr(tests, name)).to(out)


@dataclass(frozen=True, eq=False)
class SketchedHistory(Recorded):
    """What is left of T gradients of n dimensions that were sketched while they were collected.

    It is no :class:`GradientHistory`: no parameter can be asked what it saw, and what needs gradients refuses it.
    :func:`~gradlaw.spectra.approximate.approximate_spectrum` has their leading spectrum, with its error.

    Attributes:
        kept: (T, m and a few), float32: the sketch of each gradient, then the tests across its values.

    The others are those of :class:`~gradlaw.history.record.Recorded`; ``settings.sketch`` is set.
    """

    kept: Tensor | DiskGradients

    @property
    def shape(self) -> tuple[int, int]:
        """(T, n), of the gradients that were sketched."""
        return self.kept.shape[0], self.layout[-1].stop

    @property
    def sketch(self) -> SketchSettings:
        """Size, seed and blocks, and what the tests used."""
        assert self.settings.sketch is not None
        return self.settings.sketch

    def __repr__(self) -> str:
        iterations, dimensions = self.shape
        s = self.settings
        return (
            f"SketchedHistory(T={iterations:,}, n={dimensions:,}, m={self.sketch.size:,}, B={s.batch_size:,}, "
            f"seed={s.seed}, {s.engine})"
        )

    def sketches(self) -> Iterator[tuple[int, Tensor]]:
        """Yield (first, sketches (C, m) of the iterations ``first`` onwards)."""
        for first, block in series_blocks(self.kept, "dimension"):
            yield first, block[:, : self.sketch.size]

    @property
    def tests(self) -> GradientTests:
        """The tests across the n values of each gradient, made before it was sketched: exact, kept in float32."""
        s, (_, dimensions) = self.sketch, self.shape
        blocks = [block[:, s.size :] for _, block in series_blocks(self.kept, "dimension")]
        values = torch.cat(blocks).double().cpu().numpy()
        columns: dict[str, Any] = {name: values[:, i] for i, name in enumerate(_columns(s))}
        columns |= {name: columns[name] != 0 for name in _FLAGS}
        return GradientTests(
            axis="dimension",
            length=dimensions,
            k=s.k,
            gaussian_k=s.gaussian_k,
            alpha=s.alpha,
            seed=s.seed,
            d_critical=critical_distance(s.k, s.alpha),
            d_critical_calibrated=calibrated_critical_distance(s.k, s.alpha),
            gaussian_ceiling=None if s.gaussian_k is None else gaussian_pass_rate(s.gaussian_k, s.alpha),
            **({"gaussian_p_value": None} | columns),
        )

    @staticmethod
    def open(folder: str | Path) -> "SketchedHistory":
        """What :func:`~gradlaw.spectra.collect_sketched.collect_sketched` left in a folder.

        Raises:
            InputError: no such history there, one whose collection did not finish, or a damaged one.
        """
        kept, losses, record = open_store(Path(folder))
        found = SketchedHistory(kept, losses=losses, **fields_of(record))
        if found.settings.sketch is None:
            raise InputError(f"{folder} holds whole gradients, not sketches of them; open it with GradientHistory.open")
        return found


def _columns(settings: SketchSettings) -> tuple[str, ...]:
    """Of the tests that are kept."""
    return tuple(name for name in SERIES_COLUMNS if name != "gaussian_p_value" or settings.gaussian_k is not None)
