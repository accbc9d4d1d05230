"""Which gradient an optimiser received, proved by comparing it with what the backward passes delivered.

Hooks of the parameters count the passes that reach them, and at the end of each pass two norms and a few values of
every gradient are kept. What the optimiser receives is compared with that: the same, a multiple, or something else.
Where no backward pass was seen, or numbers are not finite, nothing is claimed.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gradlaw import random_streams
from gradlaw._torch import after_backward, backward_number, is_unscaled
from gradlaw.errors import InputError
from gradlaw.watch.flat import Places, sums

Change = Literal["unmodified", "rescaled", "rescaled by parameter", "elementwise", "unknown"]
_COMPARED = 64  # values of each parameter
_REORDERED = 1e-13  # relative, of a norm in float64 whose squares are added in another order
_ROUNDINGS = 8  # of the gradient's type, by which a multiple may differ


@dataclass(frozen=True)
class GradientState:
    """What a watch knows of the gradient that it describes, which is the one that the optimiser received.

    Attributes:
        change: between the last backward pass and the optimiser. ``"unmodified"`` (clipping that did not act leaves it
            so), ``"rescaled"`` by one factor as clipping by norm does, ``"rescaled by parameter"``, ``"elementwise"``
            as clipping by value does, or ``"unknown"``.
        factor: of a gradient that was rescaled, the loss scale not counted in; 1 if unmodified, None otherwise.
        delivered_norm: of all gradients as the backward passes left them, before any clipping, over the loss scale.
        accumulated: backward passes that add up to it, the fewest and the most over the parameters; None if unknown.
        loss_scale: that a gradient scaler multiplied the loss by; None if there is none that the watch knows of.
        unscaled: whether the optimiser received the gradient divided by the loss scale; a fused optimiser divides by
            itself. The statistics are always of the divided one.
        leftover: whether gradients of an earlier step were still there, so that they are part of this one.
        skipped: attempts at this step before, whose gradients were not finite and which were given up.
        no_update: whether the optimiser leaves the parameters as they are, because a fused one was told of an overflow.
        without_gradient: names of parameters that have none at this step.
        ranks: processes that train together; None if they cannot be known.
    """

    change: Change
    factor: float | None
    delivered_norm: float | None
    accumulated: tuple[int, int] | None
    loss_scale: float | None
    unscaled: bool | None
    leftover: bool
    skipped: int
    no_update: bool
    without_gradient: tuple[str, ...]
    ranks: int

    def to_dict(self) -> dict[str, Any]:
        """For the log."""
        return asdict(self)


@dataclass(frozen=True)
class LossScale:
    """What the gradients that are about to be used are multiplied by.

    Attributes:
        value: the loss scale; None if none is known.
        held: how many times the loss's own the gradients are now: the loss scale, or 1 once they are divided by it.
        overflow: whether a fused optimiser was told that a gradient is not finite, so that it does nothing.
    """

    value: float | None
    held: float
    overflow: bool


def loss_scale(optimizer: torch.optim.Optimizer, scaler: Any | None) -> LossScale:
    """The loss scale, from what a fused optimiser holds during its step, or from the scaler.

    Raises:
        InputError: the scale is no positive number.
    """
    overflow = _number(getattr(optimizer, "found_inf", None)) > 0
    held = getattr(optimizer, "grad_scale", None)
    if held is not None:
        return LossScale(_checked(_number(held)), _checked(_number(held)), overflow)
    if scaler is None or not scaler.is_enabled():
        return LossScale(None, 1.0, overflow)
    value = _checked(float(scaler.get_scale()))
    return LossScale(value, 1.0 if is_unscaled(scaler, optimizer) else value, overflow)


def _number(value: Any) -> float:
    return 0.0 if value is None else float(value)


def _checked(scale: float) -> float:
    if not 0 < scale < math.inf:
        raise InputError(f"the gradients are scaled by {scale}, by which they cannot be divided")
    return scale


class Deliveries:
    """Sees what backward passes deliver to parameters, between :meth:`attach` and :meth:`detach`."""

    def __init__(self, parameters: Sequence[Tensor], seed: int):
        self._parameters = parameters
        self._places = [_compared(p, seed, number) for number, p in enumerate(parameters)]
        self._hooks: list[Any] = []
        self.attached = False
        self._forget()

    def attach(self) -> None:
        """From now on count and compare."""
        self.detach()
        self._forget()
        self.attached = True
        for i, parameter in enumerate(self._parameters):
            if parameter.requires_grad:
                self._hooks.append(parameter.register_hook(partial(self._arrives, i)))
                self._hooks.append(parameter.register_post_accumulate_grad_hook(partial(self._added, i)))

    def detach(self) -> None:
        """Leave the parameters without hooks."""
        for hook in self._hooks:
            hook.remove()
        self._hooks, self.attached = [], False

    def _forget(self) -> None:
        count = len(self._parameters)
        self._counts, self._leftover, self._fresh = [0] * count, [False] * count, [True] * count
        self._delivered: list[_Digest | None] = [None] * count
        self._arrivals = self._measured = self.skipped = 0
        self._backward = -1

    @torch.no_grad()
    def _arrives(self, i: int, gradient: Tensor) -> None:
        """A gradient of parameter i may be about to be added to what it holds; ``autograd.grad`` calls this too."""
        if gradient.is_sparse:
            raise InputError(
                f"a gradient of shape {tuple(gradient.shape)} is sparse, which is not watched; make it dense, or leave "
                "the parameter out by the names in parameters"
            )
        held = self._parameters[i].grad
        self._fresh[i] = held is None or self._is_zero(i, held)

    def _added(self, i: int, _: Tensor) -> None:
        """It was added."""
        if self._fresh[i]:
            if i == self._first_counted() and not math.isfinite(self._norm()):
                self.skipped += 1
            self._counts[i], self._leftover[i] = 0, False
        elif self._counts[i] == 0:
            self._leftover[i] = True
        self._counts[i] += 1
        self._arrivals += 1
        if backward_number() != self._backward:
            self._backward = backward_number()
            after_backward(self._measure)

    def _first_counted(self) -> int:
        return next((i for i, count in enumerate(self._counts) if count), -1)

    def _is_zero(self, i: int, held: Tensor) -> bool:
        return not self._places[i].take([held]).any() and not held.any()

    def _is_idle(self, i: int, held: Tensor) -> bool:
        """Whether no pass reached a parameter, whose gradient was set to zero before."""
        return self._counts[i] == 0 and self._is_zero(i, held)

    @torch.no_grad()
    def _measure(self) -> None:
        for i, parameter in enumerate(self._parameters):
            if self._counts[i] and parameter.grad is not None:
                self._delivered[i] = self._digest(i, parameter.grad)
        self._measured = self._arrivals

    def _digest(self, i: int, gradient: Tensor) -> "_Digest":
        magnitudes, squares = sums(gradient)
        return _Digest(magnitudes, math.sqrt(squares), self._places[i].take([gradient]))

    def _norm(self) -> float:
        return math.hypot(*(one.norm for one in self._delivered if one is not None))

    def judge(self, names: Sequence[str], scale: LossScale, ranks: int) -> GradientState:
        """Compare what the parameters hold now, as the optimiser receives it, with what was delivered."""
        present = [i for i, p in enumerate(self._parameters) if p.grad is not None and not self._is_idle(i, p.grad)]
        counts = [self._counts[i] for i in present]
        unknown = not present or not all(counts) or self._measured != self._arrivals
        state = GradientState(
            change="unknown",
            factor=None,
            delivered_norm=None,
            accumulated=None if unknown else (min(counts), max(counts)),
            loss_scale=scale.value,
            unscaled=None if scale.value is None else scale.held == 1.0,
            leftover=any(self._leftover[i] for i in present),
            skipped=self.skipped,
            no_update=scale.overflow,
            without_gradient=tuple(n for n, p in zip(names, self._parameters, strict=True) if p.grad is None),
            ranks=ranks,
        )
        if unknown:
            return state
        change, factor = self._change(present)
        delivered = self._norm() / (scale.value or 1.0)
        return replace(
            state,
            change=change if factor is None else _named(factor, scale),
            factor=None if factor is None else factor * (scale.value or 1.0) / scale.held,
            delivered_norm=delivered if math.isfinite(delivered) else None,
        )

    def _change(self, present: Sequence[int]) -> tuple[Change, float | None]:
        """What was done to the gradients, and the one factor if that explains all of them."""
        factors: list[float] = []
        rounding = 0.0
        for i in present:
            gradient, delivered = self._parameters[i].grad, self._delivered[i]
            assert gradient is not None
            assert delivered is not None
            relative, smallest = _rounding(gradient)
            factor = _factor(delivered, self._digest(i, gradient), relative, smallest)
            if isinstance(factor, str):
                return factor, None
            if not math.isnan(factor):
                factors.append(factor)
            rounding = max(rounding, relative)
        if not factors:
            return "unmodified", 1.0
        if max(factors) - min(factors) > 2 * rounding * max(factors):
            return "rescaled by parameter", None
        return "rescaled", factors[0] if len(set(factors)) == 1 else float(np.median(factors))


@dataclass(frozen=True, eq=False)
class _Digest:
    """A gradient by what it is recognised: the sum of its magnitudes, its norm, and a few values."""

    magnitudes: float
    norm: float
    values: Tensor

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.magnitudes) and math.isfinite(self.norm)


def _named(factor: float, scale: LossScale) -> Change:
    """A factor that is the division by the loss scale alone leaves the gradient of the loss unmodified."""
    division = scale.held / (scale.value or 1.0)
    return "unmodified" if factor == division or _is_division(factor, division) else "rescaled"


def _is_division(factor: float, division: float) -> bool:
    return division != 1.0 and math.isclose(factor, division, rel_tol=1e-6)  # a scale that is no power of two rounds


def _factor(delivered: "_Digest", received: "_Digest", rounding: float, smallest: float) -> float | Change:
    """By what a gradient was multiplied, 1 if it is the same; NaN if it is zero before and after."""
    if not (delivered.is_finite and received.is_finite):
        return "unknown"
    same_values = torch.equal(delivered.values, received.values)
    if same_values and math.isclose(delivered.norm, received.norm, rel_tol=_REORDERED):
        return 1.0 if delivered.norm else math.nan
    if delivered.norm == 0 or (same_values and delivered.values.any()):
        return "elementwise"
    factor, by_magnitudes = received.norm / delivered.norm, received.magnitudes / delivered.magnitudes
    expected = factor * delivered.values
    off = (received.values - expected).abs() - rounding * expected.abs()
    # Clipping by value shortens the largest entries alone, so that norm and magnitudes shrink by different factors.
    multiple = abs(by_magnitudes - factor) <= rounding * factor and bool((off <= smallest).all())
    return factor if multiple else "elementwise"


def _rounding(gradient: Tensor) -> tuple[float, float]:
    """How far a multiple may be off: relative, and absolute."""
    info = torch.finfo(gradient.dtype)
    return _ROUNDINGS * info.eps, info.smallest_normal * info.eps


def _compared(parameter: Tensor, seed: int, number: int) -> Places:
    n = parameter.numel()
    if n <= _COMPARED:
        return Places(np.arange(n), [parameter])
    random = np.random.default_rng([random_streams.WATCH_COMPARED, seed, number])
    return Places(np.sort(random.choice(n, _COMPARED, replace=False, shuffle=False)), [parameter])
