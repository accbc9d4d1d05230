"""What gradlaw takes from PyTorch beyond its public names; nothing else in the package names them."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import OptState
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.nn.modules.conv import _ConvNd as ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm as InstanceNorm
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = [
    "EFFICIENT_ZEROS",
    "INNER_MSE_LOSS",
    "MODULE_TENSORS",
    "SEQUENCE_PACKING",
    "WEIGHT_NORM",
    "BatchNorm",
    "ConvNd",
    "InstanceNorm",
    "OperationMode",
    "after_backward",
    "arguments_named",
    "backward_number",
    "convolve",
    "copy_all",
    "default_store",
    "gradient_hooks",
    "has_backward_hook",
    "has_packed_projection",
    "is_functional",
    "is_sharding_attribute",
    "is_unscaled",
    "mixed_precision",
    "overloads",
    "padding",
    "pytree",
    "strided_parts",
    "uncompiled",
    "unsharded_class",
    "version",
]

# Operations that have no public name.
INNER_MSE_LOSS, WEIGHT_NORM = torch._C._nn.mse_loss, torch._weight_norm
EFFICIENT_ZEROS = torch.ops.aten._efficientzerotensor.default
SEQUENCE_PACKING = (torch.ops.aten._pack_padded_sequence.default, torch.ops.aten._pad_packed_sequence.default)
# Entries of a module's ``__dict__`` that hold its parameters, buffers and submodules.
MODULE_TENSORS = ("_parameters", "_buffers")


class OperationMode(TorchDispatchMode):
    """Sees every operation below autograd. PyTorch wraps such modes against its compiler, which takes a second or more
    to import; nothing that they see here is compiled.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


def version(tensor: Tensor) -> int:
    """How often a tensor has been written to in place; -1 for tensors that do not count (inference mode)."""
    return -1 if tensor.is_inference() else tensor._version


def uncompiled(model: nn.Module) -> nn.Module:
    """The module that ``torch.compile`` put a compiled one around; any other as it is."""
    inner = getattr(model, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) and hasattr(model, "dynamo_ctx") else model


def gradient_hooks(parameter: Tensor) -> tuple[bool, bool]:
    """Whether there are hooks that get a parameter's gradient, and hooks that get it once it is in ``.grad``."""
    return bool(parameter._backward_hooks), bool(getattr(parameter, "_post_accumulate_grad_hooks", None))


def has_backward_hook(module: nn.Module) -> bool:
    """Whether the gradients of a module's inputs or outputs pass through a hook."""
    return bool(module._backward_hooks or module._backward_pre_hooks)


def strided_parts(tensor: Tensor) -> tuple[Tensor, ...]:
    """The plain tensors that a sparse or nested one is made of; a plain one by itself."""
    if tensor.is_nested:
        return tuple(tensor.unbind())
    if tensor.layout == torch.sparse_coo:
        merged = tensor.detach().coalesce()
        return merged.indices(), merged.values()
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    return (tensor,)


def convolve(layer: ConvNd, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The layer's convolution, its own padding included, with other parameters."""
    return layer._conv_forward(x, weight, bias)


def padding(layer: ConvNd) -> list[int]:
    """What a convolution pads its input with, in the order that ``torch.nn.functional.pad`` takes."""
    return layer._reversed_padding_repeated_twice


def has_packed_projection(layer: nn.MultiheadAttention) -> bool:
    """Whether queries, keys and values are made by one matrix."""
    return layer._qkv_same_embed_dim


def overloads(operation: Any) -> Any:
    """The operation of which an aten overload, as modes see it, is one."""
    return operation._overloadpacket


def arguments_named(names: Sequence[str], operation: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    """What an aten operation is given, or takes by default, for those of the names that it has an argument of."""
    return [
        args[place] if place < len(args) else kwargs.get(argument.name, argument.default_value)
        for place, argument in enumerate(operation._schema.arguments)
        if argument.name in names
    ]


def is_functional(operation: Any) -> bool:
    """Whether it is an aten operation that writes to none of its arguments."""
    return isinstance(operation, torch._ops.OpOverload) and not operation._schema.is_mutable


def copy_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy tensors into others of the same shapes and types, in one call."""
    if targets:
        with torch.no_grad():
            torch._foreach_copy_(list(targets), list(sources))


def backward_number() -> int:
    """A number of the backward pass that is under way, which no other has; -1 outside of one."""
    return torch._C._current_graph_task_id()


def after_backward(call: Callable[[], None]) -> None:
    """Have ``call`` made when the backward pass under way has ended, after what is asked for until then.

    A callback that asks for another comes after all of the first ones, those of DistributedDataParallel among them,
    which ask during the pass.
    """
    queue = torch.autograd.Variable._execution_engine.queue_callback
    queue(lambda: queue(call))


def is_unscaled(scaler: Any, optimizer: torch.optim.Optimizer) -> bool:
    """Whether a gradient scaler has divided the gradients of an optimiser by its scale since its last update."""
    state = scaler._per_optimizer_states.get(id(optimizer))
    return state is not None and state["stage"] is OptState.UNSCALED


def default_store() -> Any:
    """The store of the process group that has been initialised: keys and values that all ranks see."""
    return torch.distributed.distributed_c10d._get_default_store()


def unsharded_class(module: nn.Module) -> type[nn.Module]:
    """The class of a module before ``fully_shard`` put one of its own, of two bases, in its place."""
    return type(module).__bases__[1] if _is_fsdp(module) else type(module)


def is_sharding_attribute(name: str) -> bool:
    """Whether ``fully_shard`` has set an attribute of a module."""
    return name.startswith("__composable_api_state_key") or name in ("_is_fsdp_managed_module", "_fsdp_use_orig_params")


def mixed_precision(module: nn.Module) -> bool:
    """Whether ``fully_shard`` has a module compute, or return, in a type of its policy."""
    if not _is_fsdp(module):
        return False
    policy = module._get_fsdp_state()._mp_policy  # type: ignore[operator]
    return policy.param_dtype is not None or policy.output_dtype is not None


def _is_fsdp(module: nn.Module) -> bool:
    fsdp = sys.modules.get("torch.distributed.fsdp")
    return fsdp is not None and isinstance(module, fsdp.FSDPModule)
