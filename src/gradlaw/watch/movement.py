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
            "update_ratio": (self._now["update"], self._before),
            "update_cosine": (self._now["update"], self._last.get("update", [])),
            "gradient_cosine": (self._now["gradient"], self._last.get("gradient", [])),
            "watched_cosine": (self._now["gradient"], self._watched),
        }
        rows: list[Row] = [{} for _ in range(len(self._layers) + 1)]
        for name, (a, b) in pairs.items():
            if b:
                layers = [_products(x, y, layer.n) for x, y, layer in zip(a, b, self._layers, strict=True)]
                sums, covariances = zip(*((one.sums, one.covariance) for one in layers), strict=True)
                whole = _Products(np.sum(sums, axis=0), np.sum(covariances, axis=0))
                for row, products in zip(rows, [whole, *layers], strict=True):
                    _add(row, name, products)
        return rows


@dataclass(frozen=True, eq=False)
class _Products:
    """Of two vectors a and b over layers: estimates of the sums a a, b b and a b, and their covariance by sampling."""

    sums: np.ndarray
    covariance: np.ndarray


def _products(x: Tensor, y: Tensor, n: int) -> _Products:
    """From their values on the sample of a layer of n values, drawn without replacement."""
    a, b = x.double().numpy(), y.double().numpy()
    each = np.stack([a * a, b * b, a * b]) * (n / len(a))
    exact = len(a) >= n or len(a) < 2
    covariance = np.zeros((3, 3)) if exact else np.cov(each) * len(a) * (1 - len(a) / n)
    return _Products(each.sum(axis=1), covariance)


def _add(row: Row, name: str, products: _Products) -> None:
    aa, bb, ab = products.sums.tolist()
    if not math.isfinite(aa + bb + ab):
        return
    if name == "update_ratio":
        row["update_norm"], row["weight_norm"] = math.sqrt(aa), math.sqrt(bb)
        value, slopes = _ratio(aa, bb)
    else:
        value, slopes = _cosine(aa, bb, ab)
    if slopes is not None:
        slope = np.array(slopes)
        row[name], row[f"{name}_error"] = value, math.sqrt(max(0.0, float(slope @ products.covariance @ slope)))


Slopes = tuple[float, float, float] | None


def _ratio(aa: float, bb: float) -> tuple[float, Slopes]:
    """|a| / |b| and its derivatives by the three sums; None where it has no value."""
    if bb == 0:
        return math.nan, None
    value = math.sqrt(aa / bb)
    return value, (value / (2 * aa) if aa else 0.0, -value / (2 * bb), 0.0)


def _cosine(aa: float, bb: float, ab: float) -> tuple[float, Slopes]:
    if aa == 0 or bb == 0:
        return math.nan, None
    norms = math.sqrt(aa * bb)
    return ab / norms, (-ab / (2 * aa * norms), -ab / (2 * bb * norms), 1 / norms)


def _places(layer: Layer, sample: int, seed: int, number: int) -> Places:
    if layer.n <= sample:
        return Places(np.arange(layer.n), layer.parameters)
    drawn = draw_without_replacement(layer.n, sample, 1, [random_streams.WATCH_COORDINATES, seed, number])[0]
    return Places(np.sort(drawn), layer.parameters)
