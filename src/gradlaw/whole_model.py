"""The model as one process has it whole: out of its wrapper, or gathered from the ranks among which it is spread."""

import sys
from typing import Any

from torch import Tensor, nn

from gradlaw import _torch
from gradlaw.errors import InputError

_OF_FSDP = "torch.distributed.fsdp."
_OF_WRAPPERS = "torch.distributed."


def whole_model(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """A model whose parameters are whole here, and what is to be said of that, in words.

    Of a ``DistributedDataParallel`` it is the module inside. Of a model that ``fully_shard`` has spread over ranks it
    is a copy with the parameters gathered: every rank has to ask, and has them all, as the engines that take samples
    one by one need them. Any other model is returned as it is.

    Raises:
        InputError: a model spread in another way, or one that computes in another type than its parameters have.
    """
    if isinstance(model, nn.parallel.DistributedDataParallel):
        notice = "the model inside its DistributedDataParallel is analysed: a gradient is that of one minibatch alone"
        return model.module, [notice]
    fsdp = sys.modules.get("torch.distributed.fsdp")
    if fsdp is not None and any(isinstance(module, fsdp.FullyShardedDataParallel) for module in model.modules()):
        raise InputError(
            "the model is wrapped by FullyShardedDataParallel, which does not give its parameters whole; spread it by "
            "torch.distributed.fsdp.fully_shard instead, or pass a model that is not wrapped"
        )
    sharded = fsdp is not None and any(isinstance(module, fsdp.FSDPModule) for module in model.modules())
    if not sharded and not any(_is_spread(p) for p in model.parameters()):
        return model, []
    notice = "the model is spread over ranks by fully_shard: a copy is analysed whose parameters each rank has whole"
    return _Gathering().module("", model), [notice]


def _is_spread(parameter: Tensor) -> bool:
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(parameter, module.DTensor)


class _Gathering:
    """A copy of a module tree, what several modules share shared in it too."""

    def __init__(self) -> None:
        self._modules: dict[int, nn.Module] = {}
        self._tensors: dict[int, Any] = {}

    def module(self, name: str, module: nn.Module) -> nn.Module:
        """The copy of a module, of the class that it had before it was spread."""
        if id(module) in self._modules:
            return self._modules[id(module)]
        kind = _torch.unsharded_class(module)
        if _torch.mixed_precision(module):
            raise InputError(
                f"{name or kind.__name__} computes in another type than its parameters have (MixedPrecisionPolicy), "
                "which a copy in one process would not; spread it without, and convert the model itself"
            )
        copy = self._modules[id(module)] = kind.__new__(kind)
        attributes = {key: value for key, value in vars(module).items() if not _torch.is_sharding_attribute(key)}
        for key in attributes:
            if key.endswith(("_hooks", "_hooks_with_kwargs", "_hooks_always_called")):
                attributes[key] = _own_hooks(name or kind.__name__, vars(module), key)
        parameters, buffers = (attributes[key] for key in _torch.MODULE_TENSORS)
        attributes |= {
            _torch.MODULE_TENSORS[0]: {key: self._tensor(p, whole=True) for key, p in parameters.items()},
            _torch.MODULE_TENSORS[1]: {key: self._tensor(b, whole=False) for key, b in buffers.items()},
            "_modules": {key: child and self.module(f"{name}.{key}".lstrip("."), child)
                         for key, child in attributes["_modules"].items()},
        }  # fmt: skip
        vars(copy).update(attributes)
        return copy

    def _tensor(self, tensor: Any, whole: bool) -> Any:
        if tensor is None:
            return None
        if id(tensor) not in self._tensors:
            value = tensor.full_tensor() if _is_spread(tensor) else tensor.detach()
            value = value.detach().clone()
            self._tensors[id(tensor)] = nn.Parameter(value, tensor.requires_grad) if whole else value
        return self._tensors[id(tensor)]


def _own_hooks(name: str, attributes: dict[str, Any], key: str) -> Any:
    """The hooks of a module but for those that gather and spread its parameters.

    Raises:
        InputError: one of another way to spread a model.
    """
    own = type(attributes[key])()
    for number, hook in attributes[key].items():
        base = key.removesuffix("_with_kwargs").removesuffix("_always_called")
        origin = _origin(attributes[base].get(number, hook))
        if origin.startswith(_OF_FSDP):
            continue
        if origin.startswith(_OF_WRAPPERS):
            raise InputError(
                f"{name} is spread over ranks in a way that is not known here (a hook of {origin}); pass a model that "
                "is whole, or spread by fully_shard alone"
            )
        own[number] = hook
    return own


def _origin(hook: Any) -> str:
    """The module of Python that a hook is of, or the object that it is a method of."""
    owner = getattr(hook, "__self__", None)
    return str(getattr(hook, "__module__", "") if owner is None else type(owner).__module__)
