"""Squared norms of each sample's part of a layer's gradient, from what the layer read and the gradient of its output.

A layer's gradient is a sum over samples, and for a layer that sees sequences over positions too:

    linear       dW = sum_bl g_bl x_bl^T    db = sum_bl g_bl
    layer norm   dw = sum_bl g_bl * z_bl    db = sum_bl g_bl    with z the normalised input (root mean square alike)
    embedding    dE = sum_bl e(t_bl) g_bl^T                     with e the unit vector of a token

The square of the part of sample b is taken without it where that costs less: |dW_b|^2 = sum_lm (x_l x_m)(g_l g_m),
for every sample two Gram matrices of its positions (Goodfellow 2015; Li et al. 2022).

Beside the squares, a probe of the sum over all samples, u^T dW v with random u and v, is to be equal to that of the
parameter's gradient: if the two differ anywhere, so do the probes, with certainty but for rounding (Freivalds 1977).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_BYTES = 2**24  # of the gradients of single samples that are held at once

Probes = Mapping[str, tuple[Tensor, Tensor]]  # by parameter: u of its first dimension, v of the others


class Parts(NamedTuple):
    """Of a batch of b samples.

    Attributes:
        squares: by parameter, the squared norms of the samples' parts of its gradient, shape (b,), float64.
        probes: by parameter, the probe of their sum, float64.
    """

    squares: dict[str, Tensor]
    probes: dict[str, Tensor]


def draw_probes(module: nn.Module, generator: torch.Generator) -> Probes:
    """Normal vectors for every parameter of a layer itself."""
    found = {}
    for name, p in module.named_parameters(recurse=False):
        rows = p.shape[0] if isinstance(module, nn.Linear | nn.Embedding) else p.numel()
        u, v = (torch.randn(size, generator=generator) for size in (rows, p.numel() // rows))
        found[name] = u.to(p.device), v.to(p.device)
    return found


def probe(gradient: Tensor, vectors: tuple[Tensor, Tensor]) -> Tensor:
    """u^T G v of a gradient as a matrix."""
    u, v = (vector.to(_wide(gradient.dtype)) for vector in vectors)
    return (u @ (gradient.detach().to(u.dtype).reshape(len(u), len(v)) @ v)).double()


def linear(module: nn.Linear, x: Tensor, g: Tensor, probes: Probes) -> Parts:
    """Of an input (b, positions, in) and the gradient of the output (b, positions, out)."""
    found = Parts({}, {})
    if module.weight.requires_grad:
        u, v = (vector.to(g.dtype) for vector in probes["weight"])
        found.squares["weight"] = products_squared(x, g)
        found.probes["weight"] = ((g @ u) * (x @ v)).sum(dtype=torch.float64)
    if module.bias is not None and module.bias.requires_grad:
        _add(found, "bias", g.sum(dim=1), probes)
    return found


def products_squared(x: Tensor, g: Tensor) -> Tensor:
    """|sum_l g_bl x_bl^T|_F^2 for every b: of (b, l, m) and (b, l, n) the shape (b,)."""
    positions, m, n = x.shape[1], x.shape[2], g.shape[2]
    if positions == 1:
        return (_squares(x) * _squares(g)).double()
    size = max(1, _BYTES // (x.element_size() * min(m * n, 2 * positions**2)))
    pairs = zip(x.split(size), g.split(size), strict=True)
    if positions * (m + n) < m * n:
        return torch.cat([((a @ a.mT) * (b @ b.mT)).sum(dim=(1, 2), dtype=torch.float64) for a, b in pairs])
    return torch.cat([_squares(b.mT @ a) for a, b in pairs])


def normalisation(module: Any, x: Tensor, g: Tensor, probes: Probes) -> Parts:
    """Of a layer norm or root mean square norm: input and gradient of the output (b, positions, n)."""
    found = Parts({}, {})
    shape = module.normalized_shape
    if module.weight is not None and module.weight.requires_grad:
        y = x.unflatten(-1, shape)
        normalise = F.rms_norm if isinstance(module, nn.RMSNorm) else F.layer_norm
        z = normalise(y, shape, eps=module.eps)
        _add(found, "weight", (g * z.flatten(2)).sum(dim=1), probes)
    bias = getattr(module, "bias", None)
    if bias is not None and bias.requires_grad:
        _add(found, "bias", g.sum(dim=1), probes)
    return found


def embedding(module: nn.Embedding, x: Tensor, g: Tensor, probes: Probes) -> Parts:
    """Of tokens (b, positions) and the gradient of the output (b, positions, n)."""
    tokens, rows = x, g
    if module.padding_idx is not None:
        rows = rows * (tokens != module.padding_idx).unsqueeze(-1)
    samples = torch.arange(len(tokens), device=tokens.device).unsqueeze(1)
    pairs, which = (samples * module.num_embeddings + tokens).flatten().unique(return_inverse=True)
    sums = rows.new_zeros(len(pairs), rows.shape[2]).index_add_(0, which, rows.flatten(0, 1))
    squares = torch.zeros(len(tokens), dtype=torch.float64, device=rows.device)
    squares.index_add_(0, pairs // module.num_embeddings, sums.square().sum(dim=1, dtype=torch.float64))
    u, v = (vector.to(rows.dtype) for vector in probes["weight"])
    return Parts({"weight": squares}, {"weight": ((rows @ v) * u[tokens]).sum(dtype=torch.float64)})


RULES: dict[type[nn.Module], Callable[[Any, Tensor, Tensor, Probes], Parts]] = {
    nn.Linear: linear,
    nn.LayerNorm: normalisation,
    nn.RMSNorm: normalisation,
    nn.Embedding: embedding,
}


def as_rows(module: nn.Module, x: Tensor, g: Tensor, batch_axis: int) -> tuple[Tensor, Tensor]:
    """Both with samples first, positions second and, but for tokens, channels last, in the type to compute in.

    Under autocast a linear layer multiplies in the type of its output, whatever that of its input.
    """
    channels = len(module.normalized_shape) if isinstance(module, nn.LayerNorm | nn.RMSNorm) else 1
    wide = _wide(g.dtype)
    rows = g.movedim(batch_axis, 0).flatten(g.dim() - channels).to(wide)
    rows = rows.reshape(len(rows), -1, rows.shape[-1])
    if isinstance(module, nn.Embedding):
        return x.movedim(batch_axis, 0).reshape(len(rows), -1), rows
    inputs = x.to(g.dtype) if isinstance(module, nn.Linear) else x
    inputs = inputs.movedim(batch_axis, 0).flatten(x.dim() - channels).to(wide)
    return inputs.reshape(len(rows), -1, inputs.shape[-1]), rows


def _add(found: Parts, name: str, gradients: Tensor, probes: Probes) -> None:
    """Of the gradients of the samples themselves, (b, n)."""
    u = probes[name][0].to(gradients.dtype)
    found.squares[name] = _squares(gradients)
    found.probes[name] = (gradients @ u).sum(dtype=torch.float64) * probes[name][1][0]


def _squares(rows: Tensor) -> Tensor:
    return rows.flatten(1).square().sum(dim=1, dtype=torch.float64)


def _wide(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32
