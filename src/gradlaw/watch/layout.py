"""Which parameters a watch looks at, and what it calls a layer."""

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.patterns import chosen

LayersBy: TypeAlias = Literal["module", "parameter"] | Callable[[str], str]

_MOST_LISTED = 20
_COMPILED = "_orig_mod."  # what torch.compile puts before the names of a module


@dataclass(frozen=True, eq=False)
class Layer(ByValue):
    """Parameters whose gradients are described together, as one vector in their order.

    Attributes:
        name: of the module that holds them, of the one parameter, or what the caller's function made of their names.
        names: of the parameters, in the model.
        parameters: the tensors.
    """

    name: str
    names: tuple[str, ...]
    parameters: tuple[Tensor, ...]

    @property
    def n(self) -> int:
        """How many numbers they hold."""
        return sum(p.numel() for p in self.parameters)

    def describe(self) -> dict[str, Any]:
        """Names and shapes, for the header of a log."""
        shapes = [list(p.shape) for p in self.parameters]
        return {"name": self.name, "n": self.n, "parameters": dict(zip(self.names, shapes, strict=True))}


def layers_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, by: LayersBy, patterns: str | Sequence[str] | None
) -> list[Layer]:
    """The layers of a model that an optimiser moves, in the order of the model's parameters.

    Raises:
        InputError: parameters of the optimiser that the model does not have, none in common, or of a kind whose
            gradients are not plain tensors of one process.
    """
    _refuse_sharded(model)
    module = getattr(model, "module", model) if isinstance(model, nn.parallel.DistributedDataParallel) else model
    named = {name.replace(_COMPILED, ""): p for name, p in module.named_parameters()}
    moved = {id(p) for p in parameters_of(optimizer)}
    strangers = len(moved - {id(p) for p in named.values()})
    if strangers:
        raise InputError(
            f"the optimiser moves {strangers} parameters that {type(module).__name__} does not have; give the module "
            "that holds all of them, or watch each optimiser with its own model"
        )
    found = [name for name, p in named.items() if id(p) in moved]
    if not found:
        raise InputError(f"the optimiser moves no parameter of {type(module).__name__}")
    names = chosen(patterns, found, "the optimiser moves no parameter that matches", _MOST_LISTED)
    for name in names:
        _check(name, named[name])
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_layer_name(name, by, type(module).__name__), []).append(name)
    _refuse_sparse(module, {id(named[name]) for name in names})
    return [Layer(layer, tuple(own), tuple(named[name] for name in own)) for layer, own in groups.items()]


def parameters_of(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    """All parameters of an optimiser, in order."""
    return (p for group in optimizer.param_groups for p in group["params"])


def digest(layers: Sequence[Layer]) -> str:
    """Of the names and shapes of layers: two logs with the same digest have the same rows."""
    return hashlib.sha256(repr([layer.describe() for layer in layers]).encode()).hexdigest()[:16]


def _layer_name(name: str, by: LayersBy, root: str) -> str:
    if by == "parameter":
        return name
    if by == "module":
        return name.rpartition(".")[0] or root
    if not callable(by):
        raise InputError(f'layers must be "module", "parameter" or a function of a parameter\'s name, got {by!r}')
    layer = by(name)
    if not isinstance(layer, str) or not layer:
        raise InputError(f"layers({name!r}) must return the name of a layer, got {layer!r}")
    return layer


def _check(name: str, parameter: Tensor) -> None:
    """Refuse a parameter whose gradient is no plain tensor of real numbers."""
    advice = "leave it out by the names in parameters"
    if isinstance(parameter, nn.parameter.UninitializedParameter):
        raise InputError(f"{name} has no shape yet (a lazy module); call the model on a minibatch first")
    if parameter.is_complex():
        raise InputError(f"{name} is complex, which the statistics are not made for; {advice}")
    if parameter.is_meta:
        raise InputError(f"{name} is on the meta device and holds no numbers; make the model before it is watched")
    if type(parameter) not in (Tensor, nn.Parameter) and _is_distributed(parameter):
        raise InputError(
            f"{name} is a {type(parameter).__name__}, of which this process holds a part: sharded parameters are not "
            f"watched; {advice}"
        )
    if not parameter.is_leaf:
        raise InputError(f"{name} is no leaf of the graph: the optimiser would not get its gradient; {advice}")


def _is_distributed(parameter: Tensor) -> bool:
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(parameter, module.DTensor)


def _refuse_sharded(model: nn.Module) -> None:
    module = sys.modules.get("torch.distributed.fsdp")
    if module is not None and any(isinstance(part, module.FullyShardedDataParallel) for part in model.modules()):
        raise InputError(
            "the model is sharded by FullyShardedDataParallel: no process holds a layer's gradient. Watch an unsharded "
            "run, or DistributedDataParallel"
        )


def _refuse_sparse(model: nn.Module, watched: set[int]) -> None:
    for name, part in model.named_modules():
        if getattr(part, "sparse", False) is True and any(id(p) in watched for p in part.parameters(recurse=False)):
            raise InputError(
                f"{name or type(part).__name__} makes sparse gradients, which are not watched; set sparse=False, or "
                "leave it out by the names in parameters"
            )
