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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from numbers import Real

import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.history.engines.loop import flatten
from gradlaw.problem import Problem

Apply = Callable[[Tensor], None]  # works in place on the next rows (C, n), which follow on those of the last call
Memory = dict[str, Tensor]  # what a transform carries from row to row; from a full one it goes on where that was left

_NORM_EPS = 1e-6  # clip_grad_norm_ adds it to the norm
_LEAST_EPS = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Rows:
    """Where the rows that a transform changes come from.

    Attributes:
        problem: whose theta weight decay adds, as it is when the transform starts.
        unused: parameters on which the loss does not depend; their rows stay zero.
        memory: filled with what momentum or Adam carry from row to row; a full one is gone on from.
        columns: which of the n dimensions the rows have; a clipping by norm needs all.
    """

    problem: Problem
    unused: Sequence[str] = ()
    memory: Memory = field(default_factory=dict)
    columns: slice = field(default_factory=lambda: slice(None))

    def zeros(self) -> Tensor:
        """A row of zeros."""
        width = len(range(*self.columns.indices(self.problem.dimensions)))
        return torch.zeros(width, dtype=self.problem.dtype, device=self.problem.device)


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

    def start(self, rows_of: Rows) -> Apply:
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

    def start(self, rows_of: Rows) -> Apply:
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

    def start(self, rows_of: Rows) -> Apply:
        """What to call with consecutive rows, for the theta that the problem has now."""
        problem = rows_of.problem
        term = flatten(problem.parameters(), problem) * self.coefficient
        for part in problem.layout:
            if part.name in rows_of.unused:
                term[part.start : part.stop] = 0
        term = term[rows_of.columns]

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

    def start(self, rows_of: Rows) -> Apply:
        """What to call with consecutive rows."""
        memory = rows_of.memory

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

    def start(self, rows_of: Rows) -> Apply:
        """What to call with consecutive rows."""
        (beta1, beta2), memory = self.betas, rows_of.memory
        for name in ("mean", "square", *["largest"] * self.amsgrad):
            memory.setdefault(name, rows_of.zeros())
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


def _check(name: str, value: float, holds: Callable[[float], bool], rule: str) -> None:
    if not isinstance(value, Real) or not holds(float(value)):
        raise InputError(f"{name} must be {rule}, got {value!r}")
