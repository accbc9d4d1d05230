"""The rule of a layer of which nothing is known but that it takes one tensor and returns one."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from gradlaw.history.layers.base import LayerCall, LayerRule


class AnyLayer(LayerRule):
    """Differentiates the layer itself, iteration by iteration with vmap, given its input and its output's gradient.

    For layers without a rule of their own (a norm, an affine map or a transposed convolution of the user's): their
    forward pass is computed once more, the rest of the model is not.
    """

    def run(self, call: LayerCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if not call.one_tensor:
            return call.original(*args, **kwargs)
        return super().run(call, args, kwargs)

    def forward(
        self, layer: nn.Module, x: Tensor, parameters: Mapping[str, Tensor], iterations: int
    ) -> tuple[Tensor, Tensor]:
        return _call(layer, parameters, x), x

    def write(self, layer: nn.Module, name: str, saved: Tensor, g: Tensor, out: Tensor) -> None:
        theta = {own_name: p.detach() for own_name, p in layer.named_parameters(recurse=False)}

        def gradient(x: Tensor, g_one: Tensor) -> Tensor:
            pull_back = torch.func.vjp(lambda p: _call(layer, {**theta, name: p}, x), theta[name])[1]
            return pull_back(g_one)[0]

        iterations = len(out)
        out.copy_(vmap(gradient)(saved.unflatten(0, (iterations, -1)), g.unflatten(0, (iterations, -1))))


class _Original(nn.Module):
    """A layer by the forward of its class, whatever its own ``forward`` has been replaced by."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return type(self.layer).forward(self.layer, x)


def _call(layer: nn.Module, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
    return functional_call(_Original(layer), {f"layer.{name}": p for name, p in parameters.items()}, (x,))


def is_plain_layer(module: nn.Module) -> bool:
    """Whether a module's own parameters are used by nothing but its own forward pass."""
    has_parameters = any(True for _ in module.parameters(recurse=False))
    return (
        has_parameters
        and "forward" not in vars(module)
        and not any(True for child in module.children() for _ in child.parameters())
    )
