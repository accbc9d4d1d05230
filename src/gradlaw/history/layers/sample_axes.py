"""Where the samples are in the inputs of layers, seen in two forward passes of different sizes."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gradlaw.errors import InputError
from gradlaw.history.layers.base import SHARED, LayerRule


class Misplaced(InputError):
    """The samples are not in the input of a layer where they were before."""


@dataclass(frozen=True)
class SampleAxes:
    """For call i of the layer of some name, ``(name, i)``, what was seen of its input.

    Attributes:
        axes: the axis along which the samples lie: the one that grew from ``samples`` (times something) to twice that;
            SHARED where nothing did; None where several did, or where the calls of the two passes differ.
        shapes: of the input, of ``samples`` samples.
        plain: the calls of one tensor and nothing else, that returned a tensor.
        samples: in the smaller of the two passes.
    """

    axes: Mapping[tuple[str, int], int | None]
    shapes: Mapping[tuple[str, int], tuple[int, ...]]
    plain: Collection[tuple[str, int]]
    samples: int

    def check(self, call: tuple[str, int], shape: Sequence[int], samples: int) -> None:
        """See that an input of ``samples`` samples has the shape that it has to have.

        Raises:
            Misplaced: it has not: it depends on the data, or on the number of samples in a way of its own.
        """
        axis = self.axes.get(call)
        if axis is None and call in self.axes:
            return
        expected = list(self.shapes.get(call, ()))
        if axis is not None and axis != SHARED:
            expected[axis] = expected[axis] // self.samples * samples
        if list(shape) != expected:
            raise Misplaced(
                f"the input of {call[0]!r} (call {call[1] + 1}) has shape {tuple(shape)} where {tuple(expected)} "
                "follows from the first minibatches: it depends on the data"
            )

    def check_calls(self, calls: Mapping[str, int]) -> None:
        """See that layers were called as often as before.

        Raises:
            Misplaced: one was not.
        """
        before = Counter(name for name, _ in self.shapes)
        for name in {*before, *calls}:
            if before[name] != calls.get(name, 0):
                raise Misplaced(
                    f"layer {name!r} is called {calls.get(name, 0)} times, and {before[name]} times with the first "
                    "minibatches: which layers are used depends on the data"
                )


def sample_axes(
    layers: Iterable[tuple[str, nn.Module, LayerRule]], forward: Callable[[int], object], samples: int
) -> SampleAxes:
    """Look at the inputs of layers in two forward passes.

    Args:
        layers: by name, with their rules, which say what input is looked at.
        forward: runs the model on once or twice ``samples`` samples.
        samples: at least one.
    """
    layers = list(layers)
    (once, plain), (twice, _) = (_shapes(layers, partial(forward, times)) for times in (1, 2))
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
    return SampleAxes(axes, once, plain, samples)


def _shapes(
    layers: list[tuple[str, nn.Module, LayerRule]], forward: Callable[[], object]
) -> tuple[dict[tuple[str, int], tuple[int, ...]], set[tuple[str, int]]]:
    """Of the input of each call, and which calls are of a tensor alone and return one."""
    seen: defaultdict[str, list[tuple[int, ...]]] = defaultdict(list)
    plain: set[tuple[str, int]] = set()

    def watch(
        name: str, rule: LayerRule, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        given = (*args, *kwargs.values())
        if len(given) == 1 and isinstance(given[0], Tensor) and isinstance(output, Tensor):
            plain.add((name, len(seen[name])))
        x = rule.input(args, kwargs)
        seen[name].append(() if x is None else tuple(x.shape))

    with ExitStack() as hooks, torch.enable_grad():  # a model may differentiate in its forward pass
        for name, layer, rule in layers:
            hooks.callback(layer.register_forward_hook(partial(watch, name, rule), with_kwargs=True).remove)
        forward()
    return {(name, i): shape for name, shapes in seen.items() for i, shape in enumerate(shapes)}, plain
