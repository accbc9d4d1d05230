"""What a forward pass may change in a model besides its result, and how it is put back.

A gradient at fixed parameters is a function of its minibatch alone: every pass starts from the same parameters, buffers
and attributes, and leaves them as they were.
"""

import types
from collections.abc import Iterator, MutableMapping, MutableSequence, MutableSet
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradlaw import _torch

_DEPTH = 3  # attributes of attributes of modules: caches and counters lie no deeper
_OPAQUE = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.ModuleType, type, str, bytes, Tensor)


@dataclass(frozen=True)
class _Held:
    """A tensor and what it held."""

    name: str
    tensor: Tensor
    copy: Tensor


class ModelState:
    """Parameters, buffers and plain attributes of modules as they are now.

    Args:
        roots: modules, or other objects (a loss) whose attributes are looked at in the same way.
        parameters: whether to copy parameters too, so that they can be put back; otherwise a change of theirs is seen
            by :meth:`changed_parameters` alone.
    """

    def __init__(self, *roots: Any, parameters: bool = False):
        trees = [root for root in roots if isinstance(root, nn.Module)]
        modules = [pair for tree in trees for pair in tree.named_modules()]
        theta = {id(p): (name, p) for tree in trees for name, p in tree.named_parameters()}
        self._versions = [(name, p, _torch.version(p)) for name, p in theta.values() if not _is_lazy(p)]
        self._flags = [(p, p.requires_grad) for _, p in theta.values()]
        self._theta = [_Held(name, p, p.detach().clone()) for name, p, _ in self._versions] if parameters else []
        self._containers: list[tuple[Any, Any]] = []
        self._places: list[tuple[str, dict[str, Any], dict[str, Any]]] = []  # of parameters, by module
        self._tensors: dict[int, _Held] = {}
        seen: set[int] = set(theta)
        for name, module in modules:
            seen.add(id(module))
            self._hold_module(name, module, seen)
        for root in roots:
            if not isinstance(root, nn.Module):
                self._hold(type(root).__name__, root, seen, _DEPTH)

    def changed_parameters(self) -> list[str]:
        """Names of the parameters that have been written to; by value, where copies were asked for."""
        if self._theta:
            return [h.name for h in self._theta if not _same(h.tensor.detach(), h.copy)]
        return [name for name, p, version in self._versions if _torch.version(p) != version]

    def replaced_parameters(self) -> list[str]:
        """Names of the parameters in whose place modules have another one now, or none."""
        return [
            f"{name}.{key}".removeprefix(".")
            for name, now, saved in self._places
            for key, value in saved.items()
            if now.get(key) is not value
        ]

    def restore(self) -> None:
        """Put buffers, attributes and, where they were copied, parameters back."""
        for container, saved in self._containers:
            _put_back(container, saved)
        _torch.copy_all([h.tensor for h in self._tensors.values()], [h.copy for h in self._tensors.values()])
        for parameter, flag in self._flags:
            if parameter.requires_grad != flag:
                parameter.requires_grad_(flag)
        for held in self._theta:
            if not _same(held.tensor.detach(), held.copy):
                with torch.no_grad():
                    held.tensor.copy_(held.copy)

    def _hold_module(self, name: str, module: nn.Module, seen: set[int]) -> None:
        attributes = vars(module)
        self._containers.append((attributes, dict(attributes)))
        self._places.append((name, attributes["_parameters"], dict(attributes["_parameters"])))
        for own in _torch.MODULE_TENSORS:
            self._containers.append((attributes[own], dict(attributes[own])))
        for key, value in attributes["_buffers"].items():
            if value is not None:
                self._hold(f"{name}.{key}", value, seen, 0)
        for key, value in attributes.items():
            if not (key.startswith("_") and key.endswith("_hooks")) and key not in (*_torch.MODULE_TENSORS, "_modules"):
                self._hold(f"{name}.{key}", value, seen, _DEPTH)

    def _hold(self, name: str, value: Any, seen: set[int], depth: int) -> None:
        """Keep what a value holds, and look into it."""
        if isinstance(value, Tensor):
            if id(value) not in seen and not _is_lazy(value) and value.layout == torch.strided and not value.is_meta:
                self._tensors[id(value)] = _Held(name, value, value.detach().clone())
            seen.add(id(value))
            return
        if depth == 0 or id(value) in seen or isinstance(value, (nn.Module, *_OPAQUE)):
            return
        seen.add(id(value))
        for container in _containers_of(value):
            self._containers.append((container, _copy_of(container)))
            for item in container.values() if isinstance(container, MutableMapping) else container:
                self._hold(name, item, seen, depth - 1)


def _containers_of(value: Any) -> Iterator[Any]:
    """What of a value can be changed in place: itself, or its attributes."""
    if isinstance(value, dict | list | set):
        yield value
    elif isinstance(getattr(value, "__dict__", None), dict):
        yield vars(value)


def _copy_of(container: Any) -> Any:
    return dict(container) if isinstance(container, dict) else type(container)(container)


def _put_back(container: Any, saved: Any) -> None:
    if isinstance(container, MutableMapping):
        if len(container) != len(saved) or any(container.get(key, saved) is not value for key, value in saved.items()):
            container.clear()
            container.update(saved)
    elif isinstance(container, MutableSequence):
        if len(container) != len(saved) or any(a is not b for a, b in zip(container, saved, strict=True)):
            container[:] = saved
    elif isinstance(container, MutableSet) and container != saved:
        container.clear()
        container.update(saved)  # type: ignore[attr-defined]


def _is_lazy(tensor: Tensor) -> bool:
    return isinstance(tensor, nn.parameter.UninitializedParameter | nn.parameter.UninitializedBuffer)


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal to the bit, where NaN equals NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
