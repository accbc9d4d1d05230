"""How the parameters of each known layer get their gradients from the layer's input and its output's gradient.

Every rule writes the gradients of C iterations at once. ``kept`` is what the forward pass kept (the input; for a
normalisation the normalised input), ``g`` the gradient of the output; samples of one iteration lie side by side in
their first dimension, C times as many samples as an iteration has. ``out`` is (C, *shape of the parameter).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn import grad

from gradlaw._torch import BatchNorm as _BatchNorm
from gradlaw._torch import ConvNd as _ConvNd
from gradlaw._torch import InstanceNorm as _InstanceNorm

Forward = Callable[..., tuple[Tensor, Tensor]]  # (layer, x, weight, bias, C); a layer without a weight has None there
Rule = Callable[[Any, Tensor, Tensor, Tensor], object]

_BLOCK_BYTES = 2**20  # of gradients, or of the windows of a convolution, at once: what a cache holds
_WINDOWED_SAMPLES = 16  # an iteration with more samples is a good convolution of its own, measured on LeNet


class LayerRule(Protocol):
    """How the gradients of a layer's parameters are computed."""

    @property
    def by_rows(self) -> bool:
        """Whether dimensions before the features are all alike."""

    def forward(
        self, layer: Any, x: Tensor, parameters: Mapping[str, Tensor], iterations: int
    ) -> tuple[Tensor, Tensor]:
        """The output with the parameters given by name, and what :meth:`write` will want to see again."""

    def write(self, layer: Any, name: str, kept: Tensor, g: Tensor, out: Tensor) -> None:
        """Write the gradients of a parameter, (C, *shape)."""


@dataclass(frozen=True)
class WeightAndBias:
    """The rule of a layer that has a weight, or a bias, or both."""

    compute: Forward
    weight: Rule
    bias: Rule
    by_rows: bool = False

    def forward(
        self, layer: Any, x: Tensor, parameters: Mapping[str, Tensor], iterations: int
    ) -> tuple[Tensor, Tensor]:
        """See :class:`LayerRule`."""
        return self.compute(layer, x, parameters.get("weight"), parameters.get("bias"), iterations)

    def write(self, layer: Any, name: str, kept: Tensor, g: Tensor, out: Tensor) -> None:
        """See :class:`LayerRule`."""
        (self.weight if name == "weight" else self.bias)(layer, kept, g, out)


def rule_of(module: nn.Module) -> LayerRule | None:
    """The rule of a module that is a known layer, None for all others.

    A subclass counts if it does no more than construct itself: one that overrides ``forward`` or makes ``weight`` a
    computed property (:mod:`torch.nn.utils.parametrize`) is another layer.
    """
    if "forward" in vars(module) or (isinstance(module, nn.Embedding) and module.max_norm is not None):
        return None
    for cls in type(module).__mro__:
        if cls in RULES:
            return RULES[cls]
        if any(not name.startswith("__") for name in vars(cls)):
            return None
    return None


def takes_batch_statistics(module: nn.Module) -> bool:
    """Whether a module is a batch normalisation that mixes the samples of its input."""
    return isinstance(module, _BatchNorm) and (module.training or module.running_mean is None)


def _linear(layer: nn.Linear, x: Tensor, weight: Tensor, bias: Tensor | None, iterations: int) -> tuple[Tensor, Tensor]:
    return F.linear(x, weight, bias), x


def _linear_weight(layer: nn.Linear, x: Tensor, g: Tensor, out: Tensor) -> None:
    iterations, rows, columns = out.shape
    x, g = x.reshape(iterations, -1, columns), g.reshape(iterations, -1, rows)
    if x.shape[1] == 1:
        torch.mul(g.transpose(1, 2), x, out=out)
        return
    # Straight into rows that are not contiguous bmm is five times slower; a block in the cache is copied for little.
    block = max(1, _BLOCK_BYTES // (rows * columns * x.element_size()))
    for some, x_some, g_some in zip(out.split(block), x.split(block), g.split(block), strict=True):
        some.copy_(torch.bmm(g_some.transpose(1, 2), x_some))


def _sum_of_rows(layer: nn.Module, kept: Tensor, g: Tensor, out: Tensor) -> None:
    torch.sum(g.reshape(out.shape[0], -1, *out.shape[1:]), dim=1, out=out)


def _sum_of_channels(layer: nn.Module, kept: Tensor, g: Tensor, out: Tensor) -> None:
    torch.sum(g.reshape(out.shape[0], -1, out.shape[1], math.prod(g.shape[2:])), dim=(1, 3), out=out)


def _embedding(
    layer: nn.Embedding, x: Tensor, weight: Tensor, bias: Tensor | None, iterations: int
) -> tuple[Tensor, Tensor]:
    return F.embedding(x, weight, layer.padding_idx), x


def _embedding_weight(layer: nn.Embedding, x: Tensor, g: Tensor, out: Tensor) -> None:
    x, g = embedding_rows(layer, x, g, len(out))
    out.zero_()
    out.scatter_add_(1, x.unsqueeze(-1).expand_as(g), g)


def embedding_rows(layer: nn.Embedding, x: Tensor, g: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Indices (C, R), and what each adds to its row of the gradient, (C, R, width)."""
    x, g = x.reshape(iterations, -1), g.reshape(iterations, -1, layer.embedding_dim)
    if layer.padding_idx is not None:
        g = g * (x != layer.padding_idx).unsqueeze(-1)
    if layer.scale_grad_by_freq:
        counts = torch.zeros(iterations, layer.num_embeddings, dtype=g.dtype, device=g.device)
        counts.scatter_add_(1, x, torch.ones_like(x, dtype=g.dtype))
        g = g / counts.gather(1, x).unsqueeze(-1)
    return x, g


def _convolution(
    layer: _ConvNd, x: Tensor, weight: Tensor, bias: Tensor | None, iterations: int
) -> tuple[Tensor, Tensor]:
    return layer._conv_forward(x, weight, bias), x


def _convolution_weight(layer: _ConvNd, x: Tensor, g: Tensor, out: Tensor) -> None:
    """An iteration of few samples as one matrix product over its windows, one of many as a convolution."""
    samples = len(x) // len(out)
    x = padded(layer, x)
    if samples > _WINDOWED_SAMPLES:
        for row, one, g_one in zip(out, x.split(samples), g.split(samples), strict=True):
            row.copy_(_weight_of_one_iteration(layer, one, g_one))
        return
    windows = math.prod(g.shape[2:]) * math.prod(layer.kernel_size) * layer.in_channels * samples * x.element_size()
    block = max(1, _BLOCK_BYTES // windows)
    pieces = zip(out.split(block), x.split(block * samples), g.split(block * samples), strict=True)
    for some, x_some, g_some in pieces:
        _windowed_weight(layer, x_some, g_some, some)


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


def _weight_of_one_iteration(layer: _ConvNd, x: Tensor, g: Tensor) -> Tensor:
    function = {1: grad.conv1d_weight, 2: grad.conv2d_weight, 3: grad.conv3d_weight}
    settings = {"stride": layer.stride, "padding": 0, "dilation": layer.dilation, "groups": layer.groups}
    return function[x.dim() - 2](x, layer.weight.shape, g, **settings)


def _windowed_weight(layer: _ConvNd, x: Tensor, g: Tensor, out: Tensor) -> None:
    """weight[o, i, k] = sum over samples and places p of g[o, p] x[i, stride p + dilation k]; x is padded."""
    iterations, groups, places = len(out), layer.groups, g.shape[2:]
    axes = len(places)
    x = windows(layer, x)
    # (C B, in, *places, *kernel) to (C groups, B places, in / groups kernel)
    x = x.reshape(iterations, -1, groups, layer.in_channels // groups, *x.shape[2:])
    place_axes, kernel_axes = range(4, 4 + axes), range(4 + axes, 4 + 2 * axes)
    x = x.permute(0, 2, 3, *kernel_axes, 1, *place_axes)
    x = x.reshape(iterations * groups, -1, g.shape[0] // iterations * math.prod(places))
    g = g.reshape(iterations, -1, groups, layer.out_channels // groups, math.prod(places))
    g = g.permute(0, 2, 3, 1, 4).reshape(iterations * groups, layer.out_channels // groups, -1)
    out.copy_(torch.bmm(g, x.transpose(1, 2)).view(out.shape))


def _scaled(normalised: Tensor, weight: Tensor | None, bias: Tensor | None, channels: bool) -> tuple[Tensor, Tensor]:
    """Normalised values times weight plus bias; one weight a channel (dimension 1), or one an element at the end."""
    shape = (-1, *(1,) * (normalised.dim() - 2)) if channels else None
    weight, bias = (p if p is None or shape is None else p.view(shape) for p in (weight, bias))
    if weight is None:
        return (normalised if bias is None else normalised + bias), normalised
    output = normalised * weight if bias is None else torch.addcmul(bias, normalised, weight)
    return output, normalised


def _scale_of_rows(layer: nn.Module, normalised: Tensor, g: Tensor, out: Tensor) -> None:
    _sum_of_rows(layer, normalised, g * normalised, out)


def _scale_of_channels(layer: nn.Module, normalised: Tensor, g: Tensor, out: Tensor) -> None:
    _sum_of_channels(layer, normalised, g * normalised, out)


def _batch_norm(
    layer: _BatchNorm, x: Tensor, weight: Tensor | None, bias: Tensor | None, iterations: int
) -> tuple[Tensor, Tensor]:
    if takes_batch_statistics(layer):
        normalised = _by_iteration(layer, x, iterations)
    else:
        normalised = F.batch_norm(x, layer.running_mean, layer.running_var, None, None, False, 0.0, layer.eps)
    return _scaled(normalised, weight, bias, channels=True)


def _by_iteration(layer: _BatchNorm, x: Tensor, iterations: int) -> Tensor:
    """Each iteration and channel by its own mean and variance; running statistics stay as they are."""
    groups = x.reshape(iterations, -1, x.shape[1], math.prod(x.shape[2:])).transpose(1, 2)  # (C, channels, B, places)
    return F.layer_norm(groups, groups.shape[2:], eps=layer.eps).transpose(1, 2).reshape(x.shape)


def _instance_norm(
    layer: _InstanceNorm, x: Tensor, weight: Tensor | None, bias: Tensor | None, iterations: int
) -> tuple[Tensor, Tensor]:
    own = layer.training or not layer.track_running_stats
    mean, variance = (None, None) if own else (layer.running_mean, layer.running_var)
    return _scaled(F.instance_norm(x, mean, variance, None, None, own, 0.0, layer.eps), weight, bias, channels=True)


def _group_norm(
    layer: nn.GroupNorm, x: Tensor, weight: Tensor | None, bias: Tensor | None, iterations: int
) -> tuple[Tensor, Tensor]:
    return _scaled(F.group_norm(x, layer.num_groups, eps=layer.eps), weight, bias, channels=True)


def _layer_norm(
    layer: nn.LayerNorm, x: Tensor, weight: Tensor | None, bias: Tensor | None, iterations: int
) -> tuple[Tensor, Tensor]:
    return _scaled(F.layer_norm(x, layer.normalized_shape, eps=layer.eps), weight, bias, channels=False)


def _rms_norm(
    layer: nn.RMSNorm, x: Tensor, weight: Tensor | None, bias: Tensor | None, iterations: int
) -> tuple[Tensor, Tensor]:
    return _scaled(F.rms_norm(x, layer.normalized_shape, eps=layer.eps), weight, bias, channels=False)


_CONVOLUTION = WeightAndBias(_convolution, _convolution_weight, _sum_of_channels)
_BATCH_NORM = WeightAndBias(_batch_norm, _scale_of_channels, _sum_of_channels)
_INSTANCE_NORM = WeightAndBias(_instance_norm, _scale_of_channels, _sum_of_channels)

RULES: Mapping[type[nn.Module], LayerRule] = {
    nn.Linear: WeightAndBias(_linear, _linear_weight, _sum_of_rows, by_rows=True),
    nn.Embedding: WeightAndBias(_embedding, _embedding_weight, _sum_of_rows, by_rows=True),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _CONVOLUTION),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _BATCH_NORM),
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _INSTANCE_NORM),
    nn.GroupNorm: WeightAndBias(_group_norm, _scale_of_channels, _sum_of_channels),
    nn.LayerNorm: WeightAndBias(_layer_norm, _scale_of_rows, _sum_of_rows, by_rows=True),
    nn.RMSNorm: WeightAndBias(_rms_norm, _scale_of_rows, _sum_of_rows, by_rows=True),
}
