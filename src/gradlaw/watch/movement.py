"""What moved: updates against weights, and the directions of successive gradients and updates.

A copy of the weights, which exact numbers would take, is as large as the model. Instead each layer has a seeded sample
of its coordinates, fixed for the run, of which 32 bytes each are kept; a layer with no more values than the sample is
exact. Sums over a layer are estimated by those over its sample times n / m, and every ratio carries the standard error
that the sample causes (linearised, with the correction for a finite population).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw import random_streams
from gradlaw.stats.gaussian import draw_without_replacement
from gradlaw.watch.flat import Places
from gradlaw.watch.layer_statistics import Row
from gradlaw.watch.layout import Layer


class Movement:
    """Follows the sampled coordinates of all layers.

    Args:
        layers: that are watched.
        sample: coordinates of a layer at most.
        seed: of the sample.
    """

    def __init__(self, layers: Sequence[Layer], sample: int, seed: int):
        self._layers = layers
        self._places = [_places(layer, sample, seed, number) for number, layer in enumerate(layers)]
        self._before: list[Tensor] = []
        self._now: dict[str, list[Tensor]] = {}
        self._last: dict[str, list[Tensor]] = {}
        self._watched: list[Tensor] = []

    def before_step(self, gradients: Sequence[Sequence[Tensor | None]], scale: float) -> None:
        """Take the weights and gradients that a step starts from."""
        sampled = [places.take(layer) / scale for places, layer in zip(self._places, gradients, strict=True)]
        self._now = {"gradient": sampled}
        self._before = self._weights()

    def after_step(self, watched: bool) -> list[Row]:
        """What the step did, in a row of the whole model and one a layer; empty unless the step is watched."""
        self._now["update"] = [after - before for after, before in zip(self._weights(), self._before, strict=True)]
        rows = self._rows() if watched else []
        self._last = {name: [values.float() for values in layers] for name, layers in self._now.items()}
        if watched:
            self._watched = self._last["gradient"]
        self._before, self._now = [], {}
        return rows

    def skip_step(self) -> None:
        """A step of which nothing is taken comes between: what is remembered is not of the step before any more."""
        self._last = {}

    def state_dict(self) -> dict[str, Any]:
        """What is remembered, as tensors."""
        return {"last": dict(self._last), "watched": list(self._watched)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember what another run of the same layers and seed did."""
        self._last, self._watched = dict(state["last"]), list(state["watched"])

    def _weights(self) -> list[Tensor]:
        return [places.take(layer.parameters) for places, layer in zip(self._places, self._layers, strict=True)]

    def _rows(self) -> list[Row]:
        pairs = {
            "update_ratio": ("ratio", self._now["update"], self._before),
            "update_cosine": ("cosine", self._now["update"], self._last.get("update", [])),
            "gradient_cosine": ("cosine", self._now["gradient"], self._last.get("gradient", [])),
            "watched_cosine": ("cosine", self._now["gradient"], self._watched),
        }
        rows: list[Row] = [{} for _ in range(len(self._layers) + 1)]
        for name, (kind, a, b) in pairs.items():
            if not b:
                continue
            strata = [_Stratum(x, y, layer.n) for x, y, layer in zip(a, b, self._layers, strict=True)]
            for row, some in zip(rows, [strata, *([one] for one in strata)], strict=True):
                _add(row, name, kind, some)
        return rows


@dataclass(frozen=True)
class _Stratum:
    """Two vectors on the sample of one layer of n values."""

    a: Tensor
    b: Tensor
    n: int

    def moments(self) -> Tensor:
        """Of each coordinate a a, b b and a b, scaled so that sums estimate those over the layer; (3, m)."""
        a, b = self.a.double(), self.b.double()
        return torch.stack([a * a, b * b, a * b]) * (self.n / max(1, len(a)))

    def variance(self, linear: Tensor) -> float:
        """Of the sum of a statistic over the sample, drawn without replacement."""
        m = len(linear)
        return 0.0 if m >= self.n or m < 2 else float(linear.var()) * m * (1 - m / self.n)


def _add(row: Row, name: str, kind: str, strata: Sequence[_Stratum]) -> None:
    moments = [stratum.moments() for stratum in strata]
    aa, bb, ab = torch.stack([part.sum(dim=1) for part in moments]).sum(dim=0).tolist()
    if not math.isfinite(aa + bb + ab):
        return
    if name == "update_ratio":
        row["update_norm"], row["weight_norm"] = math.sqrt(aa), math.sqrt(bb)
    if bb == 0 or (aa == 0 and kind == "cosine"):
        return
    if kind == "ratio":
        value = math.sqrt(aa / bb)
        slopes = (value / (2 * aa) if aa else 0.0, -value / (2 * bb), 0.0)
    else:
        value = ab / math.sqrt(aa * bb)
        slopes = (-value / (2 * aa), -value / (2 * bb), 1 / math.sqrt(aa * bb))
    slope = torch.tensor(slopes, dtype=torch.float64)
    variance = sum(stratum.variance(slope @ part) for stratum, part in zip(strata, moments, strict=True))
    row |= {name: value, f"{name}_error": math.sqrt(variance)}


def _places(layer: Layer, sample: int, seed: int, number: int) -> Places:
    if layer.n <= sample:
        return Places(np.arange(layer.n), layer.parameters)
    drawn = draw_without_replacement(layer.n, sample, 1, [random_streams.WATCH_COORDINATES, seed, number])[0]
    return Places(np.sort(drawn), layer.parameters)
