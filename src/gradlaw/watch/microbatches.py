"""Squared norms of each microbatch's gradient while gradients accumulate, from hooks of the parameters alone.

A hook on a leaf tensor sees the gradient of one backward pass as a whole, however often the parameter is used, just
before it is added to ``.grad``. So the k-th call for a parameter is the k-th microbatch, if every pass reaches every
parameter once. What that takes is proved at every watched step:

- the backward passes fall into as many equal groups as there are microbatches (a group is one pass, or one with those
  that reentrant checkpoints make inside of it), and in each group every parameter that gets a gradient gets one: two
  losses of one microbatch, and parameters that some microbatches do not use, are found;
- the microbatches' gradients h_i add up to ``.grad``: with s their sum so far, |s + h|^2 = |s|^2 + 2 s h + |h|^2, and
  what that comes to is the squared norm of ``.grad`` after the last one (a gradient that was not zero before, hooks
  that change gradients, clipping or unscaling between microbatches are found).

A loop divides its losses so that G = sum h_i is the mean over the batch, or not at all. Either way h_i = w_i g_i, with
w_i the weight of a microbatch in it, gives the g_i of which G is the mean, in the unit of the gradient that the
optimiser sees: no divisor has to be known.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import InputError, count

Weights = Literal["samples", "equal"]

_CHUNK = 2**17  # values that are squared and summed at once in single precision
_ROUNDING = 1e-5  # relative error of a sum of squares in single precision


class StepNorms(NamedTuple):
    """The arguments of :meth:`~gradlaw.watch.noise_scale.NoiseScaleAccumulator.add` for one step.

    Attributes:
        small_squared_norms: |g_i|^2, shape (microbatches, layers).
        small_batch: samples of each microbatch, shape (microbatches,).
        big_squared_norm: |G|^2, shape (layers,).
        big_batch: samples of the batch.
        weights: of the microbatches in G, shape (microbatches,).
    """

    small_squared_norms: np.ndarray
    small_batch: np.ndarray
    big_squared_norm: np.ndarray
    big_batch: float
    weights: np.ndarray


class MicrobatchNorms:
    """Watches one step's accumulation of gradients: :meth:`start`, the loop's backward passes, :meth:`finish`.

    Hooks are there from ``start`` to ``finish`` only. They never raise, so that a training run goes on; what is wrong
    is said by ``finish``. Beside the model they keep three numbers a parameter and microbatch, on its device. Norms are
    of this process's gradients: under ``DistributedDataParallel`` before they are reduced.

    Args:
        layers: by name, the parameters whose gradients are taken together.
        microbatches: how many backward passes the loop makes before it steps, at least 2.

    Raises:
        InputError: no layer, a tensor that is no leaf or needs no gradient, or fewer than two microbatches.

    Example:
        >>> model = torch.nn.Linear(3, 1)
        >>> norms = MicrobatchNorms({"weight": [model.weight]}, microbatches=2)
        >>> norms.start()
        >>> for rows in torch.ones(4, 3).split(2):
        ...     (model(rows).mean() / 2).backward()
        >>> norms.finish(sizes=2).small_squared_norms
        array([[3.],
               [3.]])
    """

    def __init__(self, layers: Mapping[str, Sequence[Tensor]], microbatches: int):
        self.microbatches = count(microbatches, "microbatches", minimum=2)
        self.layers = list(layers)
        self._parameters = [p for parameters in layers.values() for p in parameters]
        self._owner = [i for i, parameters in enumerate(layers.values()) for _ in parameters]
        if not self._parameters:
            raise InputError("there is no layer with a parameter to watch")
        for name, parameters in layers.items():
            if not all(p.is_leaf and p.requires_grad and p.is_floating_point() for p in parameters):
                raise InputError(
                    f"layer {name!r} has a tensor that is no leaf, needs no gradient or is not real; leave it out"
                )
        self._handles: list[Any] = []

    def start(self) -> None:
        """Watch the backward passes from here on, the first of a step; what was watched before is forgotten."""
        self.stop()
        number = len(self._parameters)
        self._squares: list[list[Tensor]] = [[] for _ in range(number)]
        self._crosses: list[list[Tensor]] = [[] for _ in range(number)]
        self._sums: list[Tensor | None] = [None] * number
        self._during: list[list[int]] = [[] for _ in range(number)]  # which backward pass each gradient came in
        self._passes = 0
        self._sparse: int | None = None
        self._handles.append(torch.autograd.graph.register_multi_grad_hook(self._parameters, self._begin, mode="any"))
        for i, p in enumerate(self._parameters):
            self._handles.append(p.register_hook(partial(self._before, i)))
            self._handles.append(p.register_post_accumulate_grad_hook(partial(self._after, i)))

    def stop(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def finish(
        self, sizes: float | Sequence[float], weights: Weights | None = None, unscaled_by: float = 1.0
    ) -> StepNorms:
        """The norms of the step, after its last backward pass.

        Args:
            sizes: samples of a microbatch: one number, or one for each.
            weights: how microbatches of different sizes count in the sum: "samples", by their sizes (losses are sums
                over samples, or means that were multiplied by the size), or "equal" (means, each divided by the same
                number, or by none). None where all sizes are equal.
            unscaled_by: the loss scale, by whose square all norms are divided.

        Raises:
            InputError: :meth:`start` was not called, sizes that do not fit, or what the module says is found.
        """
        if not self._handles:
            raise InputError("nothing was watched: call start() before the first backward pass of a step")
        self.stop()
        b = np.broadcast_to(np.asarray(sizes, dtype=np.float64), self.microbatches) if np.ndim(sizes) == 0 else sizes
        b = np.asarray(b, dtype=np.float64)
        if b.shape != (self.microbatches,) or not (b > 0).all():
            raise InputError(f"sizes must be positive, one or {self.microbatches} of them, got {sizes}")
        self._refuse_uneven()
        parts, whole = self._by_layer()
        w = part_weights(b, weights)
        return StepNorms(parts / (w**2)[:, None] / unscaled_by**2, b, whole / unscaled_by**2, float(b.sum()), w)

    def _begin(self, _: Tensor) -> None:
        """The first gradient of a backward pass."""
        self._passes += 1

    def _before(self, i: int, gradient: Tensor) -> None:
        """A gradient on its way to ``.grad``; ``.grad`` is the sum of those before."""
        if gradient.layout != torch.strided:
            self._sparse = i
            return
        h, before = gradient.detach(), self._parameters[i].grad
        self._during[i].append(self._passes)
        self._squares[i].append(inner(h, h))
        self._crosses[i].append(h.new_zeros((), dtype=torch.float64) if before is None else inner(before, h))

    def _after(self, i: int, parameter: Tensor) -> None:
        if len(self._squares[i]) == self.microbatches and parameter.grad is not None:
            self._sums[i] = inner(parameter.grad, parameter.grad)

    def _refuse_uneven(self) -> None:
        """Every parameter had a gradient in each microbatch, or in none."""
        problem = self._what_is_uneven()
        if problem:
            raise InputError(
                f"the backward passes of this step are not those of {self.microbatches} microbatches: {problem}. "
                "Several losses of one microbatch, parameters that some microbatches do not use and reentrant "
                "checkpoints of shared parameters leave it unknown which gradients are whose: leave such parameters "
                "out, or make one backward pass a microbatch"
            )

    def _what_is_uneven(self) -> str | None:
        if self._sparse is not None:
            return f"parameter {self._name(self._sparse)} has a sparse gradient, of which no norm is taken"
        if not any(self._during):
            return "no parameter got a gradient"
        for i, during in enumerate(self._during):
            if len(during) not in (0, self.microbatches):
                return f"parameter {self._name(i)} got {len(during)} gradients"
        group, rest = divmod(self._passes, self.microbatches)
        if rest:
            return f"there were {self._passes} passes"
        for i, during in enumerate(self._during):
            if during and [(number - 1) // group for number in during] != list(range(self.microbatches)):
                return f"parameter {self._name(i)} got its gradients in passes {during} of {self._passes}"
        return None

    def _by_layer(self) -> tuple[np.ndarray, np.ndarray]:
        """|h_i|^2, shape (microbatches, layers), and |sum h|^2, shape (layers,)."""
        parts = np.zeros((self.microbatches, len(self.layers)))
        whole = np.zeros(len(self.layers))
        for i, layer in enumerate(self._owner):
            total = self._sums[i]
            if not self._squares[i]:
                continue
            squares = torch.stack(self._squares[i]).cpu().numpy()
            crosses = torch.stack(self._crosses[i]).cpu().numpy()
            self._refuse_other_sum(i, squares, crosses, None if total is None else float(total))
            parts[:, layer] += squares
            whole[layer] += float("nan") if total is None else float(total)
        return parts, whole

    def _refuse_other_sum(self, i: int, squares: np.ndarray, crosses: np.ndarray, total: float | None) -> None:
        """That the gradients add up to ``.grad``, by its norm; what is not finite is left to who takes the norms."""
        if total is not None and not (np.isfinite(squares).all() and np.isfinite(total)):
            return
        expected = squares.sum() + 2 * crosses.sum()
        bound = np.sqrt(squares).sum() ** 2
        eps = torch.finfo(self._parameters[i].dtype).eps
        if (
            total is None
            or crosses[0] != 0
            or not abs(total - expected) <= (_ROUNDING + 4 * len(squares) * eps) * bound
        ):
            raise InputError(
                f"the gradients of the {self.microbatches} microbatches of parameter {self._name(i)} do not add up to "
                f"its .grad: squared norm {expected:.6g} expected, {total if total is None else format(total, '.6g')} "
                "found. Was it zero before the first one, and is nothing done to it in between (clipping, unscaling, "
                "hooks that change gradients, torch.autograd.grad)?"
            )

    def _name(self, i: int) -> str:
        layer = self._owner[i]
        return f"{i - self._owner.index(layer)} of layer {self.layers[layer]!r}"


def inner(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of two tensors of one shape in at least single precision, a float64 scalar on their device."""
    first, second = a.detach().reshape(-1), b.detach().reshape(-1)
    if first.device.type != "cpu":
        return torch.dot(_wide(first), _wide(second)).double()
    pairs = zip(first.split(_CHUNK), second.split(_CHUNK), strict=True)
    return torch.stack([torch.dot(_wide(x), _wide(y)).double() for x, y in pairs]).sum()


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def part_weights(sizes: np.ndarray, weights: Weights | None) -> np.ndarray:
    """How parts of these sizes count in the gradient of the batch, relative to their sum; shape (parts,).

    Raises:
        InputError: sizes differ and it is not said how they count.
    """
    if weights is None and not (sizes == sizes[0]).all():
        raise InputError(
            f"the parts of the batch have sizes {sizes.tolist()}: pass weights='samples' if each counts by its size in "
            "the gradient, 'equal' if all count alike"
        )
    chosen = sizes if weights == "samples" else np.ones_like(sizes)
    return chosen / chosen.sum()
