"""nn.Conv1d, nn.Conv2d and nn.Conv3d."""

from collections.abc import Mapping
from functools import cached_property
from math import prod

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional as F
from torch.nn import grad

from gradlaw._torch import ConvNd as _ConvNd
from gradlaw.history.layers.base import ALL, BLOCK_BYTES, LayerRule, RowFactors, sum_of_channels

_WINDOWED_SAMPLES = 16  # an iteration with more samples is a good convolution of its own, measured on LeNet


class ConvolutionFactors(RowFactors):
    """A row is a place, x_r what the kernel sees there."""

    @property
    def groups(self) -> int:  # type: ignore[override]
        return self.layer.groups

    @property
    def rows(self) -> int:
        return self.g.shape[1] * prod(self.g.shape[3:])

    @property
    def outputs(self) -> int:
        return self.layer.out_channels // self.groups

    @property
    def channels(self) -> int:
        return self.layer.in_channels // self.groups

    @property
    def width(self) -> int:
        return prod(self.layer.kernel_size)

    def inputs(self, iterations: slice, group: int, channels: slice = ALL) -> Tensor:
        x = self.x[iterations]
        count, axes = len(x), x.dim() - 3
        x = x.flatten(0, 1)[:, group * self.channels : (group + 1) * self.channels][:, channels]
        seen = windows(self.layer, padded(self.layer, x))  # (C B, channels, *places, *kernel)
        seen = seen.permute(0, *range(2, 2 + axes), 1, *range(2 + axes, 2 + 2 * axes))
        return seen.reshape(count, self.rows, -1)

    def output_gradients(self, iterations: slice, group: int, channels: slice = ALL) -> Tensor:
        g = self.g[iterations].flatten(3)[:, :, group * self.outputs : (group + 1) * self.outputs][:, :, channels]
        return g.transpose(2, 3).flatten(1, 2)

    def places(self, iterations: slice, group: int) -> Tensor:
        """The inputs of some iterations place by place, (B places, C, channels)."""
        x = self.x[iterations].flatten(3)[:, :, group * self.channels : (group + 1) * self.channels]
        return x.permute(1, 3, 0, 2).flatten(0, 1)

    @cached_property
    def seen(self) -> list[Tensor]:
        """Which input place each element of the kernel sees from each output place of a sample, -1 for outside.

        Tensors of shape (elements, places). Elements that see none of the same places, as with a stride they may not,
        are in different tensors.
        """
        size, axes = self.x.shape[3:], self.x.dim() - 3
        numbers = torch.arange(prod(size), dtype=torch.float64, device=self.x.device).view(1, 1, *size)
        windowed = windows(self.layer, padded(self.layer, numbers + 1))
        elements = windowed.flatten(-axes).flatten(0, -2).T.long() - 1
        sees = torch.zeros(len(elements), prod(size) + 1, device=self.x.device)
        sees = sees.scatter_(1, elements + 1, 1.0)[:, 1:]
        count, labels = connected_components((sees @ sees.T).cpu().numpy(), directed=False)
        return [elements[torch.from_numpy(labels == label)] for label in range(count)]


class ConvolutionRule(LayerRule):
    """Of a weight (out, in / groups, *kernel) and a bias (out,)."""

    factors = ConvolutionFactors

    def forward(
        self, layer: _ConvNd, x: Tensor, parameters: Mapping[str, Tensor], iterations: int
    ) -> tuple[Tensor, Tensor]:
        return layer._conv_forward(x, parameters["weight"], parameters.get("bias")), x

    def write(self, layer: _ConvNd, name: str, saved: Tensor, g: Tensor, out: Tensor) -> None:
        if name == "weight":
            _write_weight(layer, saved, g, out)
        else:
            sum_of_channels(g, out)


def padded(layer: _ConvNd, x: Tensor) -> Tensor:
    """The input with the layer's own padding around it."""
    if not any(layer._reversed_padding_repeated_twice):
        return x
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)


def windows(layer: _ConvNd, x: Tensor) -> Tensor:
    """What the kernel sees of the padded input: a view (samples, channels, *places, *kernel)."""
    for axis, (size, stride, dilation) in enumerate(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)):
        x = x.unfold(2 + axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
    return x


def _write_weight(layer: _ConvNd, x: Tensor, g: Tensor, out: Tensor) -> None:
    """An iteration of few samples as one matrix product over its windows, one of many as a convolution."""
    samples = len(x) // len(out)
    x = padded(layer, x)
    if samples > _WINDOWED_SAMPLES:
        for row, row_x, row_g in zip(out, x.split(samples), g.split(samples), strict=True):
            row.copy_(_weight_of_one_iteration(layer, row_x, row_g))
        return
    window_bytes = prod(g.shape[2:]) * prod(layer.kernel_size) * layer.in_channels * samples * x.element_size()
    block = max(1, BLOCK_BYTES // window_bytes)
    blocks = zip(out.split(block), x.split(block * samples), g.split(block * samples), strict=True)
    for block_out, block_x, block_g in blocks:
        _write_windowed(layer, block_x, block_g, block_out)


def _weight_of_one_iteration(layer: _ConvNd, x: Tensor, g: Tensor) -> Tensor:
    function = {1: grad.conv1d_weight, 2: grad.conv2d_weight, 3: grad.conv3d_weight}
    settings = {"stride": layer.stride, "padding": 0, "dilation": layer.dilation, "groups": layer.groups}
    return function[x.dim() - 2](x, layer.weight.shape, g, **settings)


def _write_windowed(layer: _ConvNd, x: Tensor, g: Tensor, out: Tensor) -> None:
    """weight[o, i, k] = sum over samples and places p of g[o, p] x[i, stride p + dilation k]; x is padded."""
    iterations, groups, places = len(out), layer.groups, g.shape[2:]
    axes = len(places)
    x = windows(layer, x)
    # (C B, in, *places, *kernel) to (C groups, B places, in / groups kernel)
    x = x.reshape(iterations, -1, groups, layer.in_channels // groups, *x.shape[2:])
    place_axes, kernel_axes = range(4, 4 + axes), range(4 + axes, 4 + 2 * axes)
    x = x.permute(0, 2, 3, *kernel_axes, 1, *place_axes)
    x = x.reshape(iterations * groups, -1, g.shape[0] // iterations * prod(places))
    g = g.reshape(iterations, -1, groups, layer.out_channels // groups, prod(places))
    g = g.permute(0, 2, 3, 1, 4).reshape(iterations * groups, layer.out_channels // groups, -1)
    out.copy_(torch.bmm(g, x.transpose(1, 2)).view(out.shape))
