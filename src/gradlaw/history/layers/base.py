"""What is to be known of a type of layer, so that the gradients of its parameters follow from what it sees in a pass.

A pass is over the samples of C iterations at once, which lie side by side in the first dimension of what goes in and
comes out: C times as many samples as an iteration has.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

BLOCK_BYTES = 2**20  # of gradients, or of the windows of a convolution, at once: what a cache holds
SHARED = -1  # in place of the axis of the samples: the same input for all, as the positions of a sequence are
ALL = slice(None)


class LayerCall(Protocol):
    """One call of a layer during a recorded pass, as :meth:`LayerRule.run` sees it."""

    @property
    def layer(self) -> Any:
        """The module."""

    @property
    def axis(self) -> int:
        """Along which the samples lie in its input, ``SHARED`` if all have the same."""

    @property
    def one_tensor(self) -> bool:
        """Whether the layer was called with one tensor and nothing else, and returned one."""

    def detached(self, x: Tensor, child: str | None = None) -> Tensor:
        """The output for an input, by :meth:`LayerRule.forward` of parameters that autograd does not see; recorded.

        With ``child``, that of the module of this name in the layer, by its own rule.
        """

    def original(self, *args: Any, **kwargs: Any) -> Any:
        """The layer as it is; its parameters get their gradients from autograd in another pass."""


class LayerRule(ABC):
    """All that is known of a type of layer.

    A rule is written for a type of layer and given to :func:`gradlaw.history.layers.register`. It holds no state of any
    layer. A layer needs none to be differentiated: without a rule vmap does it, which costs the forward pass of
    the layer once more. Whatever a rule gives is compared with plain autograd on minibatches of every run.

    Attributes:
        by_rows: whether all dimensions of the input but the features, at the end, are alike, so that samples may lie
            along any of them; otherwise along the first one only.
        factors: the gradient of ``weight`` as a sum over rows, for Gram matrices without gradients; None if it is none.
        weight: name of the parameter whose gradient that sum is; flattened in any order, since only products count.
        bias: name of the parameter whose gradient is the sum of the same rows' output gradients, if the layer has it.
        children: names of modules in the layer that :meth:`run` runs itself, by ``call.detached(x, child)``.
    """

    by_rows: ClassVar[bool] = False
    factors: ClassVar["type[RowFactors] | None"] = None
    weight: ClassVar[str] = "weight"
    bias: ClassVar[str] = "bias"
    children: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(
        self, layer: Any, x: Tensor, parameters: Mapping[str, Tensor], iterations: int
    ) -> tuple[Tensor, Tensor]:
        """The output with the layer's own parameters given by name, and what :meth:`write` will want to see again.

        Args:
            layer: the module.
            x: its input, samples first.
            parameters: by their names in the layer; none has a gradient.
            iterations: C; the samples of each lie next to one another.
        """

    @abstractmethod
    def write(self, layer: Any, name: str, saved: Tensor, g: Tensor, out: Tensor) -> None:
        """Write the gradients of a parameter.

        Args:
            layer: the module.
            name: of the parameter in the layer.
            saved: what :meth:`forward` saved, samples first.
            g: gradient of the output, samples first.
            out: where to, (C, *shape of the parameter), a view of the gradients that is written in place; what is there
                before means nothing.
        """

    def applies_to(self, layer: Any) -> bool:
        """Whether this layer, whose type is the one registered, is one that the rule is right for."""
        return True

    def input(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
        """The input in which to look for the axis of the samples: the first tensor that the layer is called with."""
        return next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)), None)

    def run(self, call: LayerCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """What a call of the layer returns in a recorded pass: here of a layer of one input and one output.

        A layer of several inputs joins them into one, of several outputs takes them apart again.
        """
        (x,) = (*args, *kwargs.values())
        return call.detached(x)


@dataclass(frozen=True)
class RowFactors(ABC):
    """The gradient of a weight in one call of a layer in T iterations, as a sum over rows: output gradients by inputs.

    A row is one use of a weight in an iteration: a sample, a position of a sequence, a place of a convolution's kernel,
    an index of an embedding. With x_r what comes in and d_r the gradient of what goes out, the gradient of the weight
    is sum_r d_r x_r^T, and that of the bias the same with x_r = 1.

    Attributes:
        layer: the module.
        x: what its rule saved, (T, B, ...).
        g: the gradients of its outputs, (T, B, ...).
    """

    layer: Any
    x: Tensor
    g: Tensor

    groups = 1  # of a convolution

    @classmethod
    def empty(cls, layer: nn.Module, x: Tensor, g: Tensor, iterations: int, chunk: int) -> Self:
        """Room for a call in ``iterations`` iterations, like one of which ``chunk`` iterations are x and g."""
        x, g = (a.unflatten(0, (chunk, -1)) for a in (x, g))
        return cls(layer, *(torch.zeros(iterations, *a.shape[1:], dtype=a.dtype, device=a.device) for a in (x, g)))

    @property
    @abstractmethod
    def rows(self) -> int:
        """R, the rows of an iteration."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many numbers d_r has, in one group."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """How many channels x_r has, in one group."""

    @property
    def width(self) -> int:
        """How many numbers of x_r belong to a channel."""
        return 1

    @abstractmethod
    def inputs(self, iterations: slice, group: int, channels: slice = ALL) -> Tensor:
        """x_r of some iterations, (C, R, channels width)."""

    @abstractmethod
    def output_gradients(self, iterations: slice, group: int, channels: slice = ALL) -> Tensor:
        """d_r of some iterations, (C, R, outputs)."""


def sum_of_rows(g: Tensor, out: Tensor) -> None:
    """Sums over all dimensions but the features, at the end, of each iteration."""
    torch.sum(g.reshape(out.shape[0], -1, *out.shape[1:]), dim=1, out=out)


def sum_of_channels(g: Tensor, out: Tensor) -> None:
    """Sums over all dimensions but the channels, after the samples, of each iteration."""
    torch.sum(g.reshape(out.shape[0], -1, out.shape[1], prod(g.shape[2:])), dim=(1, 3), out=out)
