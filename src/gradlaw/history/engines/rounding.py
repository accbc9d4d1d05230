"""How large the rounding error of a gradient is: measured against float64, or bounded by the types it went through."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradlaw._torch import pytree
from gradlaw.errors import InputError
from gradlaw.history.engines.loop import LoopEngine, flatten, scalar_loss
from gradlaw.history.engines.observed_pass import OBSERVED_SAMPLES, ObservedPass, ResultTypes
from gradlaw.minibatches import Minibatches
from gradlaw.problem import ParameterSlice, Problem

_MEASURED = 4  # iterations; their median, since a unit at its kink can flip between two precisions
_LOOKED_THROUGH = 32  # iterations for those of largest loss, where the first ones are fitted to the last digits
_LARGE_PASS = 64e6  # bytes of results, from which on half of the samples do, so that float64 takes no more memory
_WITHOUT_FLIPS = 100.0  # in eps: an error that no flipped unit has raised
_SAME_TENSOR = 0.1  # of a tensor's norm: how far float64 may be from it, unless it is rounding and nothing else
_LARGEST_DOUBLED = 50_000_000  # parameters of a model that is put into float64 for a moment
# Of what passes through a few layers, in units of its type's eps: 0.5 to 4 on the models of the tests.
_TYPE_FACTOR = 4.0
_SAME_IN_DOUBLE = 1e-7  # float64 gradients that differ by more differ by more than rounding
_MOST_BY_ORDER = 1e-2  # that summation in another order changes, in float32


@dataclass(frozen=True)
class Rounding:
    """The relative error ||error|| / ||g|| of a gradient by rounding, and what was seen on the way.

    Attributes:
        error: as said.
        samples: few of the first minibatch, whose passes cost least.
        of_samples: their gradient, (n,).
        notices: what a reader has to know.
        suspects: parameter tensors that may be rounding errors and nothing else; None if all may be.
    """

    error: float
    samples: np.ndarray
    of_samples: Tensor
    notices: tuple[str, ...] = ()
    suspects: frozenset[str] | None = None


def measure_rounding(
    problem: Problem,
    minibatches: Minibatches,
    gradient: Tensor,
    reference: LoopEngine,
    is_random: bool,
    observed: ObservedPass,
) -> Rounding:
    """The largest of: the eps of the type that gradients are kept in; the distance to float64 gradients of some samples
    (or a bound by the lowest precision that occurs, where the model cannot be put into float64); and what another order
    of the samples in the first minibatch changes.

    Where a pass is large, half of the samples do, and one iteration whose error no flipped unit has raised.

    Raises:
        InputError: another order of the samples changes the gradient by more than rounding, and float64 cannot tell
            whether that is the loss's meaning.
    """
    eps, own = torch.finfo(problem.dtype).eps, observed.types.lowest_eps(problem.dtype)
    few, first = minibatches[0][:OBSERVED_SAMPLES], observed.gradient
    large = observed.types.bytes > _LARGE_PASS and minibatches.batch_size > 2
    if large:
        few = few[: max(2, len(few) // 2)]
        first = _gradient(problem, reference, 0, few)
    double = None if is_random else _against_double(problem, minibatches, reference, first, len(few), large)
    error = max(eps, _TYPE_FACTOR * own if double is None else double.error)
    notices = []
    if own > max(torch.finfo(p.dtype).eps for p in problem.parameters()):
        error = max(error, _TYPE_FACTOR * own)
    if error > 1e-4:
        notices.append(
            f"gradients carry a relative rounding error of about {error:.1g}, since the model computes in {_name(own)}"
        )
    suspects = None
    if double is not None and not double.inexact:
        suspects = double.suspects & {p.name for p in problem.layout if gradient[p.start : p.stop].any()}
    if not is_random and len(minibatches[0]) > 1 and bool(gradient.any()):
        ordered = (few, first) if large else (minibatches[0], gradient)
        by_order = _distance(_gradient(problem, reference, 0, ordered[0][::-1]), ordered[1])
        by_order *= 1.0 if double is None else double.share_of_first
        within = large and double is not None and by_order <= 3 * error  # as two gradients with that error may be
        if double is not None and not within and _order_matters(problem, few, double):
            notices.append(
                "the loss depends on the order of the samples in a minibatch; gradients are those of the order drawn"
            )
        elif double is None and by_order > max(_MOST_BY_ORDER, 30 * own):
            raise InputError(
                f"the gradient of the first minibatch changes by {by_order:.0%} with the order of its samples. If the "
                "loss is meant to depend on that order, its rounding error cannot be told; make model and loss run in "
                "float64 (no float32 constants), so that it can be measured"
            )
        else:
            error = max(error, by_order)
    of_few = gradient if len(few) == len(minibatches[0]) else first  # one gradient in memory rather than two
    return Rounding(error, few, of_few, tuple(notices), suspects)


@dataclass(frozen=True)
class _AgainstDouble:
    error: float
    inexact: float  # of the float64 gradients, by the types they went through
    exact: Tensor  # float64 gradient of the samples
    suspects: frozenset[str]
    share_of_first: float  # length of the first gradient to that of those which were measured, at most 1


def _against_double(
    problem: Problem, minibatches: Minibatches, reference: LoopEngine, first: Tensor, samples: int, large: bool
) -> _AgainstDouble | None:
    """The median relative distance to float64 gradients of so many samples; None where there is no float64.

    A gradient that the model has fitted away is rounding and little else, and hardly counts among others: where the
    first ones are that imprecise, those of the largest losses nearby are measured too, and the error is that of all
    together relative to all together, if it is smaller. ``first`` is the first gradient in the model's own types.
    """
    if sum(p.numel() for p in problem.model.parameters()) > _LARGEST_DOUBLED:
        return None
    precise = _WITHOUT_FLIPS * torch.finfo(problem.dtype).eps
    enough = precise if large else 0.0
    errors: list[float] = []
    norms: list[float] = []
    suspects = frozenset(part.name for part in problem.layout)
    types = ResultTypes()
    chosen = list(range(min(_MEASURED, len(minibatches))))
    for place, t in enumerate(chosen):  # which may grow
        batch = minibatches[t][:samples]
        single = first if t == 0 else _gradient(problem, reference, t, batch)
        try:
            with _in_double(problem), types:
                exact = _gradient_in_double(problem, batch)
        except Exception:  # the same pass ran in the model's own types: constants of those, in whatever way they show
            return None
        if t == 0:
            exact_first = exact
        errors.append(_distance(single, exact))
        norms.append(float(exact.norm()))
        suspects &= _far_apart(single, exact, problem.layout)
        if errors[0] <= enough:
            break
        if place + 1 == _MEASURED and float(np.median(errors)) > precise:
            chosen += _largest_losses(problem, minibatches, samples)
    lowest = types.lowest_eps(problem.dtype)
    inexact = 0.0 if lowest <= torch.finfo(torch.float64).eps else _TYPE_FACTOR * lowest
    error, share = float(np.median(errors[:_MEASURED])), 1.0
    if len(errors) > _MEASURED:
        length = float(np.linalg.norm(norms))
        error = min(error, float(np.linalg.norm(np.multiply(errors, norms))) / length) if length else error
        share = min(1.0, norms[0] * len(norms) ** 0.5 / length) if length else 1.0
    return _AgainstDouble(max(error, inexact), inexact, exact_first, suspects, share)


def _largest_losses(problem: Problem, minibatches: Minibatches, samples: int) -> list[int]:
    """Of the iterations behind the first few, those of the largest losses, by forward passes alone."""
    later = range(_MEASURED, min(_LOOKED_THROUGH, len(minibatches)))
    losses, state = [], problem.state()
    with problem.undisturbed(state), torch.enable_grad():  # some differentiate in their forward pass
        for t in later:
            inputs, targets = problem.fetch(minibatches[t][:samples])
            losses.append(float(scalar_loss(problem.plain_loss(inputs, targets)).detach()))
    order = np.argsort(losses)[::-1][:_MEASURED]
    return [later[int(i)] for i in order]


def _order_matters(problem: Problem, samples: np.ndarray, double: _AgainstDouble) -> bool:
    """Whether the order of samples changes float64 gradients."""
    if len(samples) < 2:
        return False
    with _in_double(problem):
        turned = _gradient_in_double(problem, samples[::-1])
    return _distance(turned, double.exact) > max(_SAME_IN_DOUBLE, double.inexact)


def _far_apart(single: Tensor, exact: Tensor, layout: list[ParameterSlice]) -> frozenset[str]:
    """The tensors whose gradients have nothing to do with each other, or are zero and so say nothing."""
    return frozenset(
        part.name
        for part in layout
        if not _distance(exact[part.start : part.stop], single[part.start : part.stop]) <= _SAME_TENSOR
        or not bool(single[part.start : part.stop].any())
    )


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


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _distance(a: Tensor, b: Tensor) -> float:
    norm = float(b.double().norm())
    return float((a.double() - b.double()).norm()) / norm if norm else 0.0


def _name(eps: float) -> str:
    types = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
    return next((str(t).removeprefix("torch.") for t in types if torch.finfo(t).eps >= eps), "low precision")
