"""nn.Linear."""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gradlaw.history.layers.base import ALL, BLOCK_BYTES, LayerRule, RowFactors, sum_of_rows


class LinearFactors(RowFactors):
    """A row is a sample, or a position of a sequence; x_r is its input as it is."""

    @property
    def rows(self) -> int:
        return prod(self.x.shape[1:-1])

    @property
    def outputs(self) -> int:
        return self.g.shape[-1]

    @property
    def channels(self) -> int:
        return self.x.shape[-1]

    def inputs(self, iterations: slice, group: int, channels: slice = ALL) -> Tensor:
        return self.x[iterations].flatten(1, -2)[..., channels]

    def output_gradients(self, iterations: slice, group: int, channels: slice = ALL) -> Tensor:
        return self.g[iterations].flatten(1, -2)[..., channels]


class LinearRule(LayerRule):
    """Of a weight (out, in) and a bias (out,)."""

    by_rows = True
    factors = LinearFactors

    def forward(
        self, layer: Any, x: Tensor, parameters: Mapping[str, Tensor], iterations: int
    ) -> tuple[Tensor, Tensor]:
        return F.linear(x, parameters[self.weight], parameters.get(self.bias)), x

    def write(self, layer: Any, name: str, saved: Tensor, g: Tensor, out: Tensor) -> None:
        if name == self.weight:
            _write_weight(saved, g, out)
        else:
            sum_of_rows(g, out)


def _write_weight(x: Tensor, g: Tensor, out: Tensor) -> None:
    iterations, rows, columns = out.shape
    x, g = x.reshape(iterations, -1, columns), g.reshape(iterations, -1, rows)
    if x.shape[1] == 1:
        torch.mul(g.transpose(1, 2), x, out=out)
        return
    # Straight into rows that are not contiguous bmm is five times slower; a block in the cache is copied for little.
    block = max(1, BLOCK_BYTES // (rows * columns * x.element_size()))
    for block_out, block_x, block_g in zip(out.split(block), x.split(block), g.split(block), strict=True):
        block_out.copy_(torch.bmm(block_g.transpose(1, 2), block_x))
