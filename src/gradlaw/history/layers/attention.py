"""nn.MultiheadAttention as two linear layers around an attention without weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gradlaw._torch import has_packed_projection
from gradlaw.history.layers.base import SHARED, LayerCall
from gradlaw.history.layers.linear import LinearRule


class AttentionRule(LinearRule):
    """Of the packed projection to queries, keys and values, one linear layer; the readout is a layer of its own.

    The attention between them is PyTorch's own, with identity matrices for weights: products with them are exact, and
    every kind of mask means what it means to the layer. Attention of other queries than keys stays as it is.
    """

    weight, bias = "in_proj_weight", "in_proj_bias"
    children = ("out_proj",)

    def applies_to(self, layer: nn.MultiheadAttention) -> bool:
        """One packed projection, of nothing but the inputs."""
        return type(layer) is nn.MultiheadAttention and has_packed_projection(layer) and layer.bias_k is None

    def input(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
        return args[0] if args else kwargs["query"]

    def run(self, call: LayerCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if call.axis == SHARED or not _is_self_attention(args, kwargs):
            return call.original(*args, **kwargs)
        settings = {name: value for name, value in kwargs.items() if name not in ("query", "key", "value")}
        x = args[0] if args else kwargs["query"]
        attended, weights = _without_weights(call.layer)(*call.detached(x).chunk(3, dim=-1), *args[3:], **settings)
        return call.detached(attended, child="out_proj"), weights


def _is_self_attention(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether query, key and value are one and the same batch of sequences."""
    given = [*args[:3], *(kwargs[name] for name in ("query", "key", "value") if name in kwargs)]
    return all(x is given[0] for x in given) and given[0].dim() == 3


def _without_weights(layer: nn.MultiheadAttention) -> nn.MultiheadAttention:
    plain = nn.MultiheadAttention(
        layer.embed_dim,
        layer.num_heads,
        layer.dropout,
        bias=False,
        add_zero_attn=layer.add_zero_attn,
        batch_first=layer.batch_first,
        device="meta",
    )
    readout = layer.out_proj.weight
    eye = torch.eye(layer.embed_dim, dtype=readout.dtype, device=readout.device)
    plain.in_proj_weight = nn.Parameter(eye.repeat(3, 1), requires_grad=False)
    plain.out_proj.weight = nn.Parameter(eye, requires_grad=False)
    return plain.train(layer.training)
