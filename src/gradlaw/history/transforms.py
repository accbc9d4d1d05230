"""Transforms: what an optimiser would make of the gradients if theta never moved.

``transforms=(ClipByNorm(1.0), WeightDecay(5e-4), Momentum(0.9))`` are applied from left to right, which must be the
order of an optimiser: clipping of the raw gradient, weight decay, momentum or Adam. Weight decay *after* momentum or
Adam is the decoupled one, so that ``(Adam(), WeightDecay(0.01))`` is AdamW. Results equal those of ``torch.optim`` at
a learning rate of 1 and frozen theta, with these differences.

1. State and arithmetic are of ``Problem.dtype``: a half-precision model's updates are those of float32 master weights.
2. Norms are accumulated in float64; ``torch.nn.utils`` takes them in the gradient's type.
3. With a part of the parameters analysed, the norm that is clipped is that part's.
4. A parameter on which the loss never depends stays zero, weight decay included, as one whose ``.grad`` is None does.
   If it is left out of some iterations only, its gradient there is zero, as after ``zero_grad(set_to_none=False)``.

Momentum and Adam start from zero state, so their first 1/(1 - beta) updates are transient; and they make iterations
depend on one another, which tests across iterations take for independent.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from gradlaw.errors import InputError, unknown
from gradlaw.history.engines.loop import flatten
from gradlaw.problem import Problem

Apply = Callable[[Tensor], None]  # works in place on the next rows (C, n), which follow on those of the last call
Memory = dict[str, Tensor]  # what a transform carries from row to row; from a full one it goes on where that was left

_NORM_EPS = 1e-6  # clip_grad_norm_ adds it to the norm
EVERY = slice(None)  # column
_LEAST_EPS = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class ClipByNorm:
    """g * min(1, max_norm / (||g|| + 1e-6)), as ``torch.nn.utils.clip_grad_norm_``.

    Args:
        max_norm: the largest norm of a gradient over all its n dimensions, in units of the gradient.
        norm_type: p of the p-norm, at least 1; ``math.inf`` for the largest magnitude.
    """

    max_norm: float
    norm_type: float = 2.0

    def __post_init__(self) -> None:
        _check("max_norm", self.max_norm, lambda v: 0 < v < inf, "positive and finite")
        _check("norm_type", self.norm_type, lambda v: v >= 1, "at least 1")

    def start(
        self,
        problem: Problem,
        unused: Sequence[str] = (),
        memory: Memory | None = None,
        columns: slice = EVERY,
    ) -> Apply:
        """What to call with consecutive rows."""

        def apply(rows: Tensor) -> None:
            # One row at a time, and a copy: how a reduction is split, and so rounded, depends on shape and alignment.
            norms = [torch.linalg.vector_norm(row.to(torch.float64, copy=True), self.norm_type) for row in rows]
            factors = (self.max_norm / (torch.stack(norms) + _NORM_EPS)).clamp(max=1)
            rows.mul_(factors.to(rows.dtype)[:, None])

        return apply


@dataclass(frozen=True)
class ClipByValue:
    """Every element of g limited to [-value, value], as ``torch.nn.utils.clip_grad_value_``."""

    value: float

    def __post_init__(self) -> None:
        _check("value", self.value, lambda v: 0 < v < inf, "positive and finite")

    def start(
        self,
        problem: Problem,
        unused: Sequence[str] = (),
        memory: Memory | None = None,
        columns: slice = EVERY,
    ) -> Apply:
        """What to call with consecutive rows."""

        def apply(rows: Tensor) -> None:
            rows.clamp_(-self.value, self.value)

        return apply


@dataclass(frozen=True)
class WeightDecay:
    """g + coefficient * theta.

    Before momentum or Adam this is the ``weight_decay`` of ``torch.optim.SGD`` and ``Adam``, the gradient of
    coefficient/2 * ||theta||^2; after them the decoupled decay of ``AdamW`` (Loshchilov and Hutter 2019).
    """

    coefficient: float

    def __post_init__(self) -> None:
        _check("coefficient", self.coefficient, lambda v: 0 <= v < inf, "finite and not negative")

    def start(
        self,
        problem: Problem,
        unused: Sequence[str] = (),
        memory: Memory | None = None,
        columns: slice = EVERY,
    ) -> Apply:
        """What to call with consecutive rows, for the theta that the problem has now."""
        term = flatten(problem.parameters(), problem) * self.coefficient
        for part in problem.layout:
            if part.name in unused:
                term[part.start : part.stop] = 0
        term = term[columns]

        def apply(rows: Tensor) -> None:
            rows.add_(term)

        return apply


@dataclass(frozen=True)
class Momentum:
    """The updates of ``torch.optim.SGD`` per unit of learning rate.

    b(0) = g(0), b(t) = beta * b(t - 1) + (1 - dampening) * g(t); the update is b(t), or g(t) + beta * b(t) with
    ``nesterov``.
    """

    beta: float = 0.9
    dampening: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        _check("beta", self.beta, lambda v: 0 < v < 1, "between 0 and 1, both excluded")
        _check("dampening", self.dampening, lambda v: 0 <= v < 1, "at least 0 and below 1")
        if self.nesterov and self.dampening:
            raise InputError(f"nesterov momentum has no dampening, got dampening={self.dampening!r}")

    def start(
        self,
        problem: Problem,
        unused: Sequence[str] = (),
        memory: Memory | None = None,
        columns: slice = EVERY,
    ) -> Apply:
        """What to call with consecutive rows."""
        memory = {} if memory is None else memory

        def apply(rows: Tensor) -> None:
            for row in rows:
                if "average" not in memory:
                    memory["average"] = row.clone()  # not dampened
                else:
                    memory["average"].mul_(self.beta).add_(row, alpha=1 - self.dampening)
                if self.nesterov:
                    row.add_(memory["average"], alpha=self.beta)
                else:
                    row.copy_(memory["average"])

        return apply


@dataclass(frozen=True)
class Adam:
    """The updates of ``torch.optim.Adam`` per unit of learning rate (Kingma and Ba 2015, Algorithm 1).

    m(t) = beta1 * m(t - 1) + (1 - beta1) * g(t) and v(t) = beta2 * v(t - 1) + (1 - beta2) * g(t)^2, both from zero;
    with t counted from 1 the update is m(t) / (1 - beta1^t) / (sqrt(v(t) / (1 - beta2^t)) + eps).

    Args:
        betas: (beta1, beta2).
        eps: in units of the gradient; not 0, for which an element that was always zero would have no update.
        amsgrad: take the largest v so far (Reddi, Kale and Kumar 2018).
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    amsgrad: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.betas, Sequence) or len(self.betas) != 2:
            raise InputError(f"betas must be two numbers, got {self.betas!r}")
        for beta in self.betas:
            _check("each of betas", beta, lambda v: 0 <= v < 1, "at least 0 and below 1")
        _check("eps", self.eps, lambda v: _LEAST_EPS <= v < inf, f"at least {_LEAST_EPS:.2g} and finite")

    def start(
        self,
        problem: Problem,
        unused: Sequence[str] = (),
        memory: Memory | None = None,
        columns: slice = EVERY,
    ) -> Apply:
        """What to call with consecutive rows."""
        (beta1, beta2), memory = self.betas, {} if memory is None else memory
        columns_here = len(range(*columns.indices(problem.dimensions)))
        for name in ("mean", "square", *["largest"] * self.amsgrad):
            zeros = torch.zeros(columns_here, dtype=problem.dtype, device=problem.device)
            memory.setdefault(name, zeros)
        memory.setdefault("steps", torch.zeros((), dtype=torch.int64))
        mean, square = memory["mean"], memory["square"]
        largest = memory.get("largest", square)

        def apply(rows: Tensor) -> None:
            t = int(memory["steps"])
            memory["steps"] += len(rows)
            for row in rows:
                t += 1
                mean.lerp_(row, 1 - beta1)
                square.mul_(beta2).addcmul_(row, row, value=1 - beta2)
                if self.amsgrad:
                    torch.maximum(largest, square, out=largest)
                scale = largest.sqrt().div_((1 - beta2**t) ** 0.5).add_(self.eps)
                torch.div(mean, scale, out=row).div_(1 - beta1**t)

        return apply


Clipping = ClipByNorm | ClipByValue
Transform = ClipByNorm | ClipByValue | WeightDecay | Momentum | Adam


def start_transforms(
    transforms: Sequence[Transform],
    problem: Problem,
    unused: Sequence[str] = (),
    memory: Memory | None = None,
    columns: slice = EVERY,
) -> Apply:
    """All transforms as one function of consecutive rows.

    Call it with the rows of the history in the order of iterations, chunk by chunk: tensors (C, n) of the problem's
    type and device, changed in place. Results do not depend on the chunks, to the last bit.

    Args:
        transforms: in the order in which they are applied.
        problem: whose theta weight decay adds, as it is now.
        unused: parameters on which the loss does not depend; their rows stay zero.
        memory: filled with what momentum or Adam carry from row to row; a full one is gone on from. Default: begin.
        columns: which of the n dimensions the rows have; a clipping by norm needs all.

    Raises:
        InputError: see :func:`check_order`.
    """
    check_order(transforms)
    steps = [transform.start(problem, unused, memory, columns) for transform in transforms]

    def apply(rows: Tensor) -> None:
        for step in steps:
            step(rows)

    return apply


def check_order(transforms: Sequence[Transform]) -> None:
    """Refuse what no optimiser does: any number of clippings come first; then one weight decay, one Momentum or Adam.

    The last two may come in either order: decay before is part of the gradient, decay after is decoupled.

    Raises:
        InputError: another order, two of a kind, or something that is no transform.
    """
    if not isinstance(transforms, Sequence) or not all(isinstance(transform, Transform) for transform in transforms):
        raise InputError(
            "transforms must be a sequence of ClipByNorm, ClipByValue, WeightDecay, Momentum and Adam, "
            f"got {transforms!r}"
        )
    seen: list[Transform] = []
    for transform in transforms:
        _check_next(transform, seen)
        seen.append(transform)


def _check_next(transform: Transform, seen: list[Transform]) -> None:
    if isinstance(transform, ClipByNorm | ClipByValue):
        for earlier in seen:
            if isinstance(earlier, Momentum | Adam):
                raise InputError(
                    f"{describe(transform)} after {describe(earlier)}: optimisers clip the gradient, not the update "
                    "made of it; put the clipping first"
                )
            if isinstance(earlier, WeightDecay):
                raise InputError(
                    f"{describe(transform)} after {describe(earlier)}: optimisers add the decay to the clipped "
                    "gradient; put the clipping first (a penalty that is clipped too belongs in the problem's loss)"
                )
    for kind, rule in ((WeightDecay, "one weight decay"), (Momentum | Adam, "one of momentum and Adam")):
        twice = [describe(t) for t in (*seen, transform) if isinstance(t, kind)]
        if len(twice) > 1:
            raise InputError(f"an optimiser has {rule}, got {' and '.join(twice)}")


def _adam(beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, amsgrad: bool = False) -> Adam:
    return Adam((beta1, beta2), eps, amsgrad)


_BY_NAME: dict[str, Callable[..., Transform]] = {
    "clip-norm": ClipByNorm,
    "clip-value": ClipByValue,
    "weight-decay": WeightDecay,
    "momentum": Momentum,
    "adam": _adam,
}
TRANSFORMS = tuple(_BY_NAME)


def parse_transform(text: str) -> Transform:
    """The transform that ``name=value,value,setting=value,flag`` means; settings are those of the class, in its order.

    >>> parse_transform("clip-norm=1.0")
    ClipByNorm(max_norm=1.0, norm_type=2.0)
    >>> parse_transform("momentum=0.9,nesterov")
    Momentum(beta=0.9, dampening=0.0, nesterov=True)
    >>> parse_transform("adam")
    Adam(betas=(0.9, 0.999), eps=1e-08, amsgrad=False)

    Raises:
        InputError: no such transform or setting, a value that is no number or out of range.
    """
    name, _, rest = text.partition("=")
    if name not in _BY_NAME:
        raise unknown("transform", text, map(_usage, TRANSFORMS))
    settings: dict[str, Any] = {}
    for position, item in enumerate(rest.split(",") if rest else []):
        key, value = _setting(text, name, position, item)
        if key in settings:
            raise InputError(f"transform {text!r} gives {key} twice")
        settings[key] = value
    try:
        return _BY_NAME[name](**settings)
    except InputError as error:
        raise InputError(f"transform {text!r}: {error}") from error
    except TypeError as error:  # what a call raises for a setting that is missing
        raise InputError(f"transform {text!r} lacks a value: {_usage(name)}") from error


def describe(transform: Transform) -> str:
    """All settings in the words of :func:`parse_transform`, which makes the same transform of them.

    >>> describe(Adam(eps=1e-6))
    'adam=0.9,0.999,eps=1e-06'
    """
    match transform:
        case ClipByNorm(max_norm, norm_type):
            return f"clip-norm={float(max_norm)!r},norm_type={float(norm_type)!r}"
        case ClipByValue(value):
            return f"clip-value={float(value)!r}"
        case WeightDecay(coefficient):
            return f"weight-decay={float(coefficient)!r}"
        case Momentum(beta, dampening, nesterov):
            return f"momentum={float(beta)!r},dampening={float(dampening)!r}" + ",nesterov" * bool(nesterov)
        case Adam((beta1, beta2), eps, amsgrad):
            return f"adam={float(beta1)!r},{float(beta2)!r},eps={float(eps)!r}" + ",amsgrad" * bool(amsgrad)


def _setting(text: str, name: str, position: int, item: str) -> tuple[str, float | bool]:
    """Name and value of one setting: a flag, ``key=value``, or a number that its position names."""
    defaults = {key: p.default for key, p in inspect.signature(_BY_NAME[name]).parameters.items()}
    numbers = [key for key, default in defaults.items() if default is not False]
    if defaults.get(item) is False:
        return item, True
    key, equals, value = item.rpartition("=")
    if not equals and position < len(numbers):
        key = numbers[position]
    try:
        if key in numbers:
            return key, float(value)
    except ValueError:
        pass
    raise InputError(f"transform {text!r}: cannot read {item!r}; write {_usage(name)}")


def _usage(name: str) -> str:
    """``momentum[=BETA,DAMPENING,nesterov]``: how a transform is written, brackets around what may be left out."""
    parameters = inspect.signature(_BY_NAME[name]).parameters.values()
    words = [p.name if p.default is False else p.name.upper() for p in parameters]
    needed = [word for word, p in zip(words, parameters, strict=True) if p.default is p.empty]
    optional = words[len(needed) :]
    if not needed:
        return f"{name}[={','.join(optional)}]"
    return f"{name}={','.join(needed)}" + (f"[,{','.join(optional)}]" if optional else "")


def _check(name: str, value: float, holds: Callable[[float], bool], rule: str) -> None:
    if not isinstance(value, Real) or not holds(float(value)):
        raise InputError(f"{name} must be {rule}, got {value!r}")
