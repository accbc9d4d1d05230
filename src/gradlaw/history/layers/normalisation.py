"""Normalisations: batch, instance, group, layer and root mean square.

Their output is the normalised input times a weight plus a bias; the normalised input is what is saved. None has row
factors: the gradient of the weight is as small as a row.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradlaw._torch import BatchNorm as _BatchNorm
from gradlaw._torch import InstanceNorm as _InstanceNorm
from gradlaw.history.layers.base import LayerRule, sum_of_channels, sum_of_rows


class _ScaledChannels(LayerRule):
    """One weight and one bias a channel, which is the dimension after the samples."""

    def forward(
        self, layer: Any, x: Tensor, parameters: Mapping[str, Tensor], iterations: int
    ) -> tuple[Tensor, Tensor]:
        normalised = self.normalise(layer, x, iterations)
        shape = (-1, *(1,) * (normalised.dim() - 2))
        return _scaled(normalised, {name: p.view(shape) for name, p in parameters.items()}), normalised

    def write(self, layer: Any, name: str, saved: Tensor, g: Tensor, out: Tensor) -> None:
        sum_of_channels(g * saved if name == "weight" else g, out)

    def normalise(self, layer: Any, x: Tensor, iterations: int) -> Tensor:
        """The input less its mean over its standard deviation."""
        raise NotImplementedError


class _ScaledElements(LayerRule):
    """One weight and one bias an element of the dimensions at the end."""

    by_rows = True

    def forward(
        self, layer: Any, x: Tensor, parameters: Mapping[str, Tensor], iterations: int
    ) -> tuple[Tensor, Tensor]:
        normalised = self.normalise(layer, x)
        return _scaled(normalised, parameters), normalised

    def write(self, layer: Any, name: str, saved: Tensor, g: Tensor, out: Tensor) -> None:
        sum_of_rows(g * saved if name == "weight" else g, out)

    def normalise(self, layer: Any, x: Tensor) -> Tensor:
        """The input over its standard deviation, less its mean or not."""
        raise NotImplementedError


class BatchNormRule(_ScaledChannels):
    """By the statistics of each iteration's own minibatch, or by the running ones; these stay as they are."""

    def normalise(self, layer: _BatchNorm, x: Tensor, iterations: int) -> Tensor:
        if not takes_batch_statistics(layer):
            return F.batch_norm(x, layer.running_mean, layer.running_var, None, None, False, 0.0, layer.eps)
        groups = x.reshape(iterations, -1, x.shape[1], prod(x.shape[2:])).transpose(1, 2)  # (C, channels, B, places)
        return F.layer_norm(groups, groups.shape[2:], eps=layer.eps).transpose(1, 2).reshape(x.shape)


class InstanceNormRule(_ScaledChannels):
    """Each sample by its own statistics, or by the running ones; these stay as they are."""

    def normalise(self, layer: _InstanceNorm, x: Tensor, iterations: int) -> Tensor:
        by_sample = layer.training or not layer.track_running_stats
        mean, variance = (None, None) if by_sample else (layer.running_mean, layer.running_var)
        return F.instance_norm(x, mean, variance, None, None, by_sample, 0.0, layer.eps)


class GroupNormRule(_ScaledChannels):
    """Of nn.GroupNorm."""

    def normalise(self, layer: nn.GroupNorm, x: Tensor, iterations: int) -> Tensor:
        return F.group_norm(x, layer.num_groups, eps=layer.eps)


class LayerNormRule(_ScaledElements):
    """Of nn.LayerNorm."""

    def normalise(self, layer: nn.LayerNorm, x: Tensor) -> Tensor:
        return F.layer_norm(x, layer.normalized_shape, eps=layer.eps)


class RMSNormRule(_ScaledElements):
    """Of nn.RMSNorm."""

    def normalise(self, layer: nn.RMSNorm, x: Tensor) -> Tensor:
        return F.rms_norm(x, layer.normalized_shape, eps=layer.eps)


def takes_batch_statistics(module: nn.Module) -> bool:
    """Whether a module is a batch normalisation that mixes the samples of its input."""
    return isinstance(module, _BatchNorm) and (module.training or module.running_mean is None)


def _scaled(normalised: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    weight, bias = parameters.get("weight"), parameters.get("bias")
    if weight is None:
        return normalised if bias is None else normalised + bias
    return normalised * weight if bias is None else torch.addcmul(bias, normalised, weight)
