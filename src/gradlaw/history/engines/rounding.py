"""How large the rounding error of a gradient is: measured against float64, or bounded by the types it went through."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gradlaw._torch import pytree
from gradlaw.errors import InputError
from gradlaw.history.engines.loop import LoopEngine, flatten, scalar_loss
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem

_MEASURED = 4  # iterations; their median, since a unit at its kink can flip between two precisions
_SAMPLES = 16  # of each of them
_LARGE_PASS = 64e6  # bytes of results, from which on float64 gets half of the samples, and so no more memory
_LARGEST_DOUBLED = 50_000_000  # parameters of a model that is put into float64 for a moment
# Of what passes through a few layers, in units of its type's eps: 0.5 to 4 on the models of the tests.
_TYPE_FACTOR = 4.0
_SAME_IN_DOUBLE = 1e-7  # float64 gradients that differ by more differ by more than rounding
_MOST_BY_ORDER = 1e-2  # that summation in another order changes, in float32


@dataclass(frozen=True)
class Rounding:
    """The relative error ||error|| / ||g|| of a gradient by rounding, and what a reader has to know of it."""

    error: float
    notices: tuple[str, ...] = ()


def measure_rounding(
    problem: Problem, minibatches: Minibatches, gradient: Tensor, reference: LoopEngine, is_random: bool
) -> Rounding:
    """The largest of: the eps of the type that gradients are kept in; the distance to float64 gradients of some samples
    (or a bound by the lowest precision that occurs, where the model cannot be put into float64); and what another order
    of the samples in the first minibatch changes.

    Raises:
        InputError: another order of the samples changes the gradient by more than rounding, and float64 cannot tell
            whether that is the loss's meaning.
    """
    eps = torch.finfo(problem.dtype).eps
    first, types = _with_types(lambda: _gradient(problem, reference, 0, minibatches[0][:_SAMPLES]))
    own = types.lowest_eps(problem.dtype)
    samples = _SAMPLES
    if types.bytes > _LARGE_PASS and minibatches.batch_size > 2:
        samples = max(2, min(_SAMPLES, minibatches.batch_size) // 2)
        first = _gradient(problem, reference, 0, minibatches[0][:samples])
    double = None if is_random else _against_double(problem, minibatches, reference, first, samples)
    error = max(eps, _TYPE_FACTOR * own if double is None else double.error)
    notices = []
    if own > max(torch.finfo(p.dtype).eps for p in problem.parameters()):
        error = max(error, _TYPE_FACTOR * own)
    if error > 1e-4:
        notices.append(
            f"gradients carry a relative rounding error of about {error:.1g}, since the model computes in {_name(own)}"
        )
    if is_random or len(minibatches[0]) == 1 or not bool(gradient.any()):
        return Rounding(error, tuple(notices))
    if double is not None and double.by_order:
        notices.append(
            "the loss depends on the order of the samples in a minibatch; gradients are those of the order drawn"
        )
        return Rounding(error, tuple(notices))
    turned = _gradient(problem, reference, 0, minibatches[0][::-1])
    by_order = _distance(turned, gradient)
    if double is None and by_order > max(_MOST_BY_ORDER, 30 * own):
        raise InputError(
            f"the gradient of the first minibatch changes by {by_order:.0%} with the order of its samples. If the loss "
            "is meant to depend on that order, its rounding error cannot be told; make model and loss run in float64 "
            "(no float32 constants), so that it can be measured"
        )
    return Rounding(max(error, by_order), tuple(notices))


@dataclass(frozen=True)
class _AgainstDouble:
    error: float
    by_order: bool  # whether the order of samples changes float64 gradients


def _against_double(
    problem: Problem, minibatches: Minibatches, reference: LoopEngine, first: Tensor, samples: int
) -> _AgainstDouble | None:
    """The median relative distance to float64 gradients of so many samples; None where there is no float64.

    ``first`` is the gradient of the first of them in the model's own types.
    """
    if sum(p.numel() for p in problem.model.parameters()) > _LARGEST_DOUBLED:
        return None
    batches = [minibatches[t][:samples] for t in range(min(_MEASURED, len(minibatches)))]
    single = [first, *(_gradient(problem, reference, t, batch) for t, batch in enumerate(batches[1:], start=1))]
    try:
        with _in_double(problem):
            exact_first, types = _with_types(lambda: _gradient_in_double(problem, batches[0]))
            lowest = types.lowest_eps(problem.dtype)
            exact = [exact_first, *(_gradient_in_double(problem, batch) for batch in batches[1:])]
            turned = _gradient_in_double(problem, batches[0][::-1])
    except Exception:  # the same pass ran in the model's own types: constants of those, in whatever way they show
        return None
    errors = [_distance(a, b) for a, b in zip(single, exact, strict=True)]
    inexact = 0.0 if lowest <= torch.finfo(torch.float64).eps else _TYPE_FACTOR * lowest
    by_order = len(batches[0]) > 1 and _distance(turned, exact_first) > max(_SAME_IN_DOUBLE, inexact)
    return _AgainstDouble(max(float(np.median(errors)), inexact), by_order)


@contextmanager
def _in_double(problem: Problem) -> Iterator[None]:
    """Model and loss hold float64 inside: the same parameters, whoever else refers to them, with other contents."""
    state = problem.state()
    modules = [m for m in problem.functions if isinstance(m, nn.Module)]
    parameters = [p for module in modules for p in module.parameters()]
    contents = [(p, p.data, p.grad) for p in parameters]
    with problem.undisturbed(state):
        try:
            for p in parameters:
                p.grad = None
                p.data = _double(p.data)
            for module in (m for root in modules for m in root.modules()):
                for name, buffer in module.named_buffers(recurse=False):
                    setattr(module, name, _double(buffer))
            yield
        finally:
            for p, data, gradient in contents:
                p.data = data
                p.grad = gradient


def _gradient_in_double(problem: Problem, indices: np.ndarray) -> Tensor:
    inputs, targets = pytree.tree_map(_double, problem.fetch(indices))
    state = problem.state()
    with problem.undisturbed(state), torch.enable_grad():
        loss = scalar_loss(problem.plain_loss(inputs, targets))
        gradients = torch.autograd.grad(loss, problem.parameters(), allow_unused=True)
    return flatten(gradients, problem).double()


def _gradient(problem: Problem, reference: LoopEngine, t: int, indices: np.ndarray) -> Tensor:
    return flatten(reference.gradient(t, indices)[1], problem)


def _with_types(gradient: Callable[[], Tensor]) -> tuple[Tensor, "_Types"]:
    """A gradient, and through what the loss depended on theta."""
    types = _Types()
    with types:
        return gradient(), types


class _Types(TorchFunctionMode):
    """Collects the types of all results that require a gradient, and their bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()
        self.bytes = 0

    def lowest_eps(self, default: torch.dtype) -> float:
        """The eps of the lowest of the floating types, or of the default where there was none."""
        return max((torch.finfo(dtype).eps for dtype in self.seen), default=torch.finfo(default).eps)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in result if isinstance(result, tuple | list) else (result,):
            if isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.requires_grad:
                self.seen.add(leaf.dtype)
                self.bytes += leaf.nbytes
        return result


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _distance(a: Tensor, b: Tensor) -> float:
    norm = float(b.double().norm())
    return float((a.double() - b.double()).norm()) / norm if norm else 0.0


def _name(eps: float) -> str:
    types = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    return next((str(t).removeprefix("torch.") for t in types if torch.finfo(t).eps >= eps), "low precision")
