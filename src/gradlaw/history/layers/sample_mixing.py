"""Operations of a forward pass through which the samples of a minibatch may see one another.

Seen from shapes alone, in a pass over a number of samples that hardly any other dimension is a multiple of: what
operations a model calls does not depend on data, or :mod:`~gradlaw.history.layers.data_reads` has seen that it does.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from gradlaw._torch import OperationMode, pytree

SAMPLES = 23  # a prime of which sizes of layers are hardly ever multiples; few, as each takes memory
# With a dimension to name, but without anything that goes from one sample to another.
_HARMLESS = frozenset(
    {"unsqueeze", "squeeze", "transpose", "permute", "movedim", "stack", "unbind", "expand", "slice", "size", "detach"}
)
_VIEWS = frozenset({"view", "_unsafe_view", "reshape", "_reshape_alias", "unflatten", "flatten"})
# Along all dimensions behind the first or the first two.
_SPATIAL = ("conv", "pool", "upsample", "pad", "im2col", "col2im", "grid_sampler")


def mixing_operations(layers: Iterable[nn.Module], forward: Callable[[], object]) -> frozenset[str]:
    """The operations through which samples may see one another, by name; none if nothing can.

    Args:
        layers: whose own operations do not count.
        forward: runs the model on :data:`SAMPLES` samples.
    """
    mode = _Mixing()
    with ExitStack() as hooks, torch.enable_grad():  # a model may differentiate in its forward pass
        for layer in layers:
            hooks.callback(layer.register_forward_pre_hook(mode.enter).remove)
            hooks.callback(layer.register_forward_hook(mode.leave, always_call=True).remove)
        with mode:
            forward()
    return frozenset(mode.operations)


class _Mixing(OperationMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: set[str] = set()
        self._inside = 0

    def enter(self, *_: Any) -> None:
        self._inside += 1

    def leave(self, *_: Any) -> None:
        self._inside -= 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [tensor for tensor in pytree.tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)]
        shapes = [tuple(tensor.shape) for tensor in given]  # as they are before an operation in place
        result = func(*args, **(kwargs or {}))
        if not self._inside and any(map(_axes, shapes)):
            name = str(func).removeprefix("aten.").partition(".")[0].rstrip("_")
            made = [tuple(leaf.shape) for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
            if name.startswith("_scaled_dot_product"):
                made = made[:1]  # the others are states of random numbers
            if _mixes(name, func, args, kwargs or {}, shapes, made):
                self.operations.add(name.strip("_"))
        return result


def _axes(shape: Sequence[int]) -> list[int]:
    """Those that the samples may lie along."""
    return [axis for axis, size in enumerate(shape) if size and size % SAMPLES == 0]


def _mixes(
    name: str,
    func: Any,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    shapes: Sequence[tuple[int, ...]],
    made: Sequence[tuple[int, ...]],
) -> bool:
    """Whether an operation may carry something from one sample to another.

    Args:
        name: of the operation.
        func: the operation.
        args: its arguments; this and the next.
        kwargs: by name.
        shapes: of all tensors among them.
        made: of its results.
    """
    if any(not _axes(shape) and prod(shape) for shape in made):
        return True  # a sum over samples, one of them, some of them
    if max((len(_axes(shape)) for shape in made), default=0) > max(len(_axes(shape)) for shape in shapes):
        return True  # all pairs
    if name in _VIEWS:
        return not _stay_in_place(shapes[0], made[0])
    if any(part in name for part in _SPATIAL):
        return _axes(shapes[0]) != [0]
    if name in ("index", "index_put"):
        return any(args[1][axis] is not None for axis in _axes(args[0].shape) if axis < len(args[1]))
    return name not in _HARMLESS and _runs_along(func, args, kwargs, shapes[0])


def _stay_in_place(before: Sequence[int], after: Sequence[int]) -> bool:
    """Whether all samples have as much in front of them as before."""
    fronts = {prod(after[:axis]) for axis in _axes(after)}
    return all(prod(before[:axis]) in fronts for axis in _axes(before))


def _runs_along(func: Any, args: Sequence[Any], kwargs: dict[str, Any], shape: Sequence[int]) -> bool:
    """Whether a dimension that the operation is told to run along is that of the samples."""
    for place, argument in enumerate(func._schema.arguments):
        if argument.name not in ("dim", "dims"):
            continue
        told = args[place] if place < len(args) else kwargs.get(argument.name, argument.default_value)
        dims = list(told) if isinstance(told, list | tuple) else [told]
        if not dims or None in dims:
            return True  # along all of them
        return any(dim % max(len(shape), 1) in _axes(shape) for dim in dims)
    return False
