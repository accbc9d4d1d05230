"""nn.Embedding."""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradlaw.history.layers.base import ALL, LayerRule, RowFactors


class EmbeddingFactors(RowFactors):
    """A row is an index; x_r is one at it and zero elsewhere, and given as the index."""

    @property
    def rows(self) -> int:
        return prod(self.x.shape[1:])

    @property
    def outputs(self) -> int:
        return self.layer.embedding_dim

    @property
    def channels(self) -> int:
        return self.layer.num_embeddings

    def inputs(self, iterations: slice, group: int, channels: slice = ALL) -> Tensor:
        """Indices of some iterations, (C, R)."""
        return self.x[iterations].flatten(1)

    def output_gradients(self, iterations: slice, group: int, channels: slice = ALL) -> Tensor:
        x, g = self.x[iterations], self.g[iterations]
        return _rows(self.layer, x, g, len(x))[1][..., channels]


class EmbeddingRule(LayerRule):
    """Of a weight (indices, width); one that writes to its weight, with a largest norm, is left to autograd."""

    by_rows = True
    factors = EmbeddingFactors

    def applies_to(self, layer: nn.Embedding) -> bool:
        return layer.max_norm is None

    def forward(
        self, layer: nn.Embedding, x: Tensor, parameters: Mapping[str, Tensor], iterations: int
    ) -> tuple[Tensor, Tensor]:
        return F.embedding(x, parameters["weight"], layer.padding_idx), x

    def write(self, layer: nn.Embedding, name: str, saved: Tensor, g: Tensor, out: Tensor) -> None:
        x, g = _rows(layer, saved, g, len(out))
        out.zero_()
        out.scatter_add_(1, x.unsqueeze(-1).expand_as(g), g)


def _rows(layer: Any, x: Tensor, g: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Indices (C, R), and what each adds to its row of the gradient, (C, R, width)."""
    x, g = x.reshape(iterations, -1), g.reshape(iterations, -1, layer.embedding_dim)
    if layer.padding_idx is not None:
        g = g * (x != layer.padding_idx).unsqueeze(-1)
    if layer.scale_grad_by_freq:
        counts = torch.zeros(iterations, layer.num_embeddings, dtype=g.dtype, device=g.device)
        counts.scatter_add_(1, x, torch.ones_like(x, dtype=g.dtype))
        g = g / counts.gather(1, x).unsqueeze(-1)
    return x, g
