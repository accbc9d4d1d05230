"""The gradient of a layer's weight as a sum over rows: outputs' gradients times inputs.

A row is one use of a weight in an iteration: a sample, a position of a sequence, a place of a convolution's kernel, an
index of an embedding. With x_r what comes in and d_r the gradient of what goes out, the gradient of the weight is
sum_r d_r x_r^T, and that of the bias the same with x_r = 1.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from gradlaw._torch import ConvNd as _ConvNd
from gradlaw.history.layers.rules import embedding_rows, padded, windows

ALL = slice(None)


@dataclass(frozen=True)
class Call(ABC):
    """One call of a layer in T iterations.

    Attributes:
        layer: the module.
        x: its inputs, (T, B, ...).
        g: the gradients of its outputs, (T, B, ...).
    """

    layer: Any
    x: Tensor
    g: Tensor

    groups = 1  # of a convolution

    @property
    @abstractmethod
    def rows(self) -> int:
        """R, the rows of an iteration."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many numbers d_r has, in one group."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """How many channels x_r has, in one group."""

    @property
    def width(self) -> int:
        """How many numbers of x_r belong to a channel."""
        return 1

    @abstractmethod
    def inputs(self, some: slice, group: int, channels: slice = ALL) -> Tensor:
        """x_r of some iterations, (C, R, channels width)."""

    @abstractmethod
    def output_gradients(self, some: slice, group: int, channels: slice = ALL) -> Tensor:
        """d_r of some iterations, (C, R, outputs)."""


class LinearCall(Call):
    """Of ``nn.Linear``."""

    @property
    def rows(self) -> int:
        return math.prod(self.x.shape[1:-1])

    @property
    def outputs(self) -> int:
        return self.layer.out_features

    @property
    def channels(self) -> int:
        return self.layer.in_features

    def inputs(self, some: slice, group: int, channels: slice = ALL) -> Tensor:
        return self.x[some].flatten(1, -2)[..., channels]

    def output_gradients(self, some: slice, group: int, channels: slice = ALL) -> Tensor:
        return self.g[some].flatten(1, -2)[..., channels]


class ConvolutionCall(Call):
    """Of ``nn.Conv1d`` to ``nn.Conv3d``: a row is a place, x_r what the kernel sees there."""

    @property
    def groups(self) -> int:  # type: ignore[override]
        return self.layer.groups

    @property
    def rows(self) -> int:
        return self.g.shape[1] * math.prod(self.g.shape[3:])

    @property
    def outputs(self) -> int:
        return self.layer.out_channels // self.groups

    @property
    def channels(self) -> int:
        return self.layer.in_channels // self.groups

    @property
    def width(self) -> int:
        return math.prod(self.layer.kernel_size)

    def inputs(self, some: slice, group: int, channels: slice = ALL) -> Tensor:
        x = self.x[some]
        iterations, axes = len(x), x.dim() - 3
        x = x.flatten(0, 1)[:, group * self.channels : (group + 1) * self.channels][:, channels]
        seen = windows(self.layer, padded(self.layer, x))  # (C B, channels, *places, *kernel)
        seen = seen.permute(0, *range(2, 2 + axes), 1, *range(2 + axes, 2 + 2 * axes))
        return seen.reshape(iterations, self.rows, -1)

    def output_gradients(self, some: slice, group: int, channels: slice = ALL) -> Tensor:
        g = self.g[some].flatten(3)[:, :, group * self.outputs : (group + 1) * self.outputs][:, :, channels]
        return g.transpose(2, 3).flatten(1, 2)

    def places(self, some: slice, group: int) -> Tensor:
        """The inputs of some iterations place by place, (B places, C, channels)."""
        x = self.x[some].flatten(3)[:, :, group * self.channels : (group + 1) * self.channels]
        return x.permute(1, 3, 0, 2).flatten(0, 1)

    @cached_property
    def seen(self) -> list[Tensor]:
        """Which input place each element of the kernel sees from each output place of a sample, -1 for outside.

        Tensors of shape (elements, places). Elements that see none of the same places, as with a stride they may not,
        are in different tensors.
        """
        size, axes = self.x.shape[3:], self.x.dim() - 3
        numbers = torch.arange(math.prod(size), dtype=torch.float64, device=self.x.device).view(1, 1, *size)
        windowed = windows(self.layer, padded(self.layer, numbers + 1))
        elements = windowed.flatten(-axes).flatten(0, -2).T.long() - 1
        sees = torch.zeros(len(elements), math.prod(size) + 1, device=self.x.device)
        sees = sees.scatter_(1, elements + 1, 1.0)[:, 1:]
        count, labels = connected_components((sees @ sees.T).cpu().numpy(), directed=False)
        return [elements[torch.from_numpy(labels == label)] for label in range(count)]


class EmbeddingCall(Call):
    """Of ``nn.Embedding``: x_r is one at an index and zero elsewhere, and given as the index."""

    @property
    def rows(self) -> int:
        return math.prod(self.x.shape[1:])

    @property
    def outputs(self) -> int:
        return self.layer.embedding_dim

    @property
    def channels(self) -> int:
        return self.layer.num_embeddings

    def inputs(self, some: slice, group: int, channels: slice = ALL) -> Tensor:
        """Indices of some iterations, (C, R)."""
        return self.x[some].flatten(1)

    def output_gradients(self, some: slice, group: int, channels: slice = ALL) -> Tensor:
        x, g = self.x[some], self.g[some]
        return embedding_rows(self.layer, x, g, len(x))[1][..., channels]


_CALLS: dict[type[nn.Module], type[Call]] = {
    nn.Linear: LinearCall,
    _ConvNd: ConvolutionCall,
    nn.Embedding: EmbeddingCall,
}


def call_type(layer: nn.Module) -> type[Call] | None:
    """The kind of call whose gradient is a sum over rows, None for layers of which it is not."""
    return next((call for kind, call in _CALLS.items() if isinstance(layer, kind)), None)


def empty_call(layer: nn.Module, x: Tensor, g: Tensor, iterations: int, chunk: int) -> Call:
    """Room for a call in ``iterations`` iterations, like one of which ``chunk`` iterations are x and g."""
    kind = call_type(layer)
    assert kind is not None
    x, g = (a.unflatten(0, (chunk, -1)) for a in (x, g))
    return kind(layer, *(torch.zeros(iterations, *a.shape[1:], dtype=a.dtype, device=a.device) for a in (x, g)))
