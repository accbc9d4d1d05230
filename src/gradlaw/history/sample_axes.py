"""Where the samples are in the inputs of layers, seen in two forward passes of different sizes."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

SHARED = -1  # the same input for all samples, as the positions of a sequence are


def sample_axes(
    layers: Iterable[tuple[str, nn.Module]], forward: Callable[[int], object], samples: int
) -> dict[tuple[str, int], int | None]:
    """For call i of the layer of some name: the axis of its input along which the samples lie.

    Args:
        layers: by name; the first tensor that each is given is looked at.
        forward: runs the model on once or twice ``samples`` samples.
        samples: at least one.

    Returns:
        (name, i) -> the one axis that grows from ``samples`` (times something) to twice that; SHARED where nothing
        does; None where several do, or where the calls of the two passes differ.
    """
    layers = list(layers)
    once, twice = (_shapes(layers, partial(forward, times)) for times in (1, 2))
    axes: dict[tuple[str, int], int | None] = {}
    for call, shape in once.items():
        other = twice.get(call, ())
        grown = [i for i, (a, b) in enumerate(zip(shape, other, strict=False)) if a != b]
        if len(shape) != len(other):
            axes[call] = None
        elif not grown:
            axes[call] = SHARED
        else:
            (axis, *more) = grown
            fits = not more and other[axis] == 2 * shape[axis] and shape[axis] % samples == 0
            axes[call] = axis if fits else None
    return axes


def _shapes(
    layers: list[tuple[str, nn.Module]], forward: Callable[[], object]
) -> dict[tuple[str, int], tuple[int, ...]]:
    seen: defaultdict[str, list[tuple[int, ...]]] = defaultdict(list)

    def watch(name: str, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = next(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor))
        seen[name].append(tuple(first.shape))

    with ExitStack() as hooks, torch.no_grad():
        for name, layer in layers:
            hooks.callback(layer.register_forward_pre_hook(partial(watch, name), with_kwargs=True).remove)
        forward()
    return {(name, i): shape for name, shapes in seen.items() for i, shape in enumerate(shapes)}
