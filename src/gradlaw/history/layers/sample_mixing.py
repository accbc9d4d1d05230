"""Operations of a forward pass through which the samples of a minibatch may see one another.

Seen from shapes alone, in passes over numbers of samples that hardly any other dimension is a multiple of: what
operations a model calls does not depend on data, or :mod:`~gradlaw.history.layers.data_reads` has seen that it does.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from gradlaw._torch import OperationMode, arguments_named, pytree
from gradlaw.history.layers.base import LayerRule

# Primes, of which sizes of layers are hardly ever multiples, and of both together never; few, as each takes memory.
SAMPLES = (23, 29)
# With a dimension to name, but without anything that goes from one sample to another.
_HARMLESS = frozenset({"unsqueeze", "squeeze", "permute", "stack", "slice", "_linalg_check_errors"})
_VIEWS = frozenset({"view", "_unsafe_view", "_reshape_alias"})  # what others, such as flatten, are made of
# Without a dimension to name, or with another one than that along which they run.
_ALWAYS = frozenset({"take", "put", "masked_scatter", "renorm", "as_strided", "_pdist_forward", "_cdist_forward"})
_MATRICES = ("linalg_", "_linalg_", "cholesky", "triangular_solve")  # the last two dimensions are one
_SPATIAL = ("conv", "pool", "upsample", "_pad", "im2col", "col2im", "grid_sampler", "attention")


def mixing_operations(
    layers: Iterable[tuple[nn.Module, LayerRule]], forward: Callable[[int], object]
) -> frozenset[str]:
    """The operations through which samples may see one another, by name; none if nothing can.

    Args:
        layers: whose own operations do not count where their rule knows the samples, and the rules.
        forward: runs the model on so many samples.
    """
    layers, found = list(layers), set()
    for samples in SAMPLES:
        mode = _Mixing(samples)
        with ExitStack() as hooks, torch.enable_grad():  # a model may differentiate in its forward pass
            for layer, rule in layers:
                enter = partial(mode.enter, rule)
                hooks.callback(layer.register_forward_pre_hook(enter, with_kwargs=True).remove)
                hooks.callback(layer.register_forward_hook(mode.leave, always_call=True).remove)
            with mode:
                forward(samples)
        found |= mode.operations
    return frozenset(found)


class _Mixing(OperationMode):
    def __init__(self, samples: int) -> None:
        super().__init__()
        self.operations: set[str] = set()
        self._samples = samples
        self._known: list[bool] = []  # whether the rules of the layers around know where the samples are

    def enter(self, rule: LayerRule, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        x = rule.input(args, kwargs)
        axes = [] if x is None else self._axes(x.shape)
        self._known.append(axes == [0] or (rule.by_rows and x is not None and x.dim() - 1 not in axes))

    def leave(self, *_: Any) -> None:
        self._known.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [tensor for tensor in pytree.tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)]
        shapes = [tuple(tensor.shape) for tensor in given]  # as they are before an operation in place
        result = func(*args, **(kwargs or {}))
        if not any(self._known) and any(map(self._axes, shapes)):
            name = str(func).removeprefix("aten.").partition(".")[0].rstrip("_")
            made = [tuple(leaf.shape) for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]
            if "attention" in name or "rnn" in name:
                made = made[:1]  # the others are for backward
            if self._mixes(name, func, args, kwargs or {}, shapes, made):
                self.operations.add(name.strip("_"))
        return result

    def _axes(self, shape: Sequence[int]) -> list[int]:
        """Those that the samples may lie along."""
        return [axis for axis, size in enumerate(shape) if size and size % self._samples == 0]

    def _mixes(
        self,
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
        if name in _ALWAYS or any(not self._axes(shape) and prod(shape) for shape in made):
            return True  # a sum over samples, one of them, some of them
        if max((len(self._axes(shape)) for shape in made), default=0) > max(len(self._axes(s)) for s in shapes):
            return True  # all pairs
        first = shapes[0]
        if name in _VIEWS:
            return not self._stay_in_place(first, made[0])
        if name == "constant_pad_nd":
            return any(any(args[1][2 * (len(first) - 1 - axis) :][:2]) for axis in self._axes(first))
        if any(part in name for part in _SPATIAL):
            return self._axes(first) != [0]
        if "rnn" in name:
            return self._axes(first) != ([0] if any(arguments_named(["batch_first"], func, args, kwargs)) else [1])
        if name.startswith(_MATRICES) and "norm" not in name and name not in _HARMLESS:
            return any(axis >= len(first) - 2 for axis in self._axes(first))
        if name in ("index", "index_put"):
            return any(args[1][axis] is not None for axis in self._axes(args[0].shape) if axis < len(args[1]))
        return name not in _HARMLESS and self._runs_along(func, args, kwargs, first)

    def _stay_in_place(self, before: Sequence[int], after: Sequence[int]) -> bool:
        """Whether the samples are what they were: alone, in one dimension with those next to theirs, or out of one."""
        old, new = (
            [(prod(shape[:axis]), prod(shape[: axis + 1])) for axis in self._axes(shape)] for shape in (before, after)
        )
        return all(any((a <= c and d <= b) or (c <= a and b <= d) for c, d in new) for a, b in old)

    def _runs_along(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], shape: Sequence[int]) -> bool:
        """Whether a dimension that the operation is told to run along is that of the samples."""
        for told in arguments_named(["dim", "dims", "dimension"], func, args, kwargs):
            dims = list(told) if isinstance(told, list | tuple) else [told]
            if not dims or None in dims:
                return True  # along all of them
            if any(dim % max(len(shape), 1) in self._axes(shape) for dim in dims):
                return True
        return False
