"""What a forward pass may leave in a model besides its result is put back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def at_rest(roots: Sequence[nn.Module]) -> Iterator[None]:
    """Attributes of modules, flags among them, and what tensors and containers in attributes hold, are restored."""
    modules = list({id(m): m for root in roots for m in root.modules()}.values())
    attributes = [(m, dict(vars(m))) for m in modules]
    containers = [(c, c.copy()) for m in modules for c in vars(m).values() if isinstance(c, dict | list | set)]
    tensors = [(t, t.detach().clone()) for m in modules for t in _tensors_of(m)]
    flags = [(p, p.requires_grad) for root in roots for p in root.parameters()]
    try:
        yield
    finally:
        for module, saved in attributes:
            vars(module).clear()
            vars(module).update(saved)
        for container, saved_items in containers:
            _refill(container, saved_items)
        for tensor, value in tensors:
            tensor.detach().copy_(value)
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def _tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """Plain attributes that are tensors, alone or in a list or dict, and buffers."""
    for name, value in vars(module).items():
        if name == "_parameters":
            continue
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
        yield from (item for item in items if isinstance(item, Tensor) and not isinstance(item, nn.Parameter))


def _refill(container: Any, saved: Any) -> None:
    if isinstance(container, list):
        container[:] = saved
    else:
        container.clear()
        container.update(saved)
