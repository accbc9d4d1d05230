"""nn.MultiheadAttention as two linear layers around an attention without weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def is_attention(module: nn.Module) -> bool:
    """Whether a module is PyTorch's attention with one packed projection, of nothing but its inputs."""
    return (
        type(module) is nn.MultiheadAttention
        and "forward" not in vars(module)
        and module._qkv_same_embed_dim
        and module.bias_k is None
    )


def is_self_attention(inputs: tuple, settings: dict[str, Any]) -> bool:
    """Whether query, key and value are one and the same batch of sequences."""
    given = [*inputs[:3], *(settings[name] for name in ("query", "key", "value") if name in settings)]
    return all(x is given[0] for x in given) and given[0].dim() == 3


def packed_projection(layer: nn.MultiheadAttention) -> nn.Linear:
    """A linear layer of the size of the one that makes queries, keys and values, without weights."""
    return nn.Linear(layer.embed_dim, 3 * layer.embed_dim, bias=layer.in_proj_bias is not None, device="meta")


def attend(
    layer: nn.MultiheadAttention, project: Callable[[Tensor], Tensor], inputs: tuple, settings: dict[str, Any]
) -> Any:
    """``layer(*inputs, **settings)`` of a self-attention, by way of ``project`` and of ``layer.out_proj``.

    The attention between them is PyTorch's own, with identity matrices for weights: products with them are exact, and
    every kind of mask means what it means to the layer.
    """
    settings = dict(settings)
    x = inputs[0] if inputs else settings["query"]
    for name in ("query", "key", "value"):
        settings.pop(name, None)
    attended, weights = _without_weights(layer)(*project(x).chunk(3, dim=-1), *inputs[3:], **settings)
    return layer.out_proj(attended), weights


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
    like = layer.out_proj.weight
    eye = torch.eye(layer.embed_dim, dtype=like.dtype, device=like.device)
    plain.in_proj_weight = nn.Parameter(eye.repeat(3, 1), requires_grad=False)
    plain.out_proj.weight = nn.Parameter(eye, requires_grad=False)
    return plain.train(layer.training)
