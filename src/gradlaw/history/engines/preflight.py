"""What is checked on the first minibatch, before any long work, and once more after it."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradlaw._torch import BatchNorm, pytree
from gradlaw.errors import InputError
from gradlaw.history.engines.cost import PassCost
from gradlaw.history.engines.gradient_hooks import late_hook_notices
from gradlaw.history.engines.loop import NO_PARAMETER, LoopEngine, flatten
from gradlaw.history.engines.observed_pass import OBSERVED_SAMPLES, ObservedPass, observe_pass
from gradlaw.history.engines.rounding import measure_rounding
from gradlaw.history.engines.sum_loss import sum_notices
from gradlaw.history.engines.verify import check_finite
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.randomness import GENERATORS, RandomState, generators_in, modules_that_draw
from gradlaw.training_step import tensors_of

_REPEATED_SAMPLES = 512  # of a larger minibatch, that are computed twice
# A CPU repeats a gradient to the bit, or nearly so; a device that sums in any order repeats it to some digits.
_REPEATED_EPS = {"cpu": 10.0}
_REPEATED_EPS_ELSEWHERE = 1e3


@dataclass
class Findings:
    """What the first minibatch showed."""

    loss: Tensor  # of the first minibatch, as its gradient
    gradient: Tensor  # (n,), by the reference engine
    few: tuple[np.ndarray, Tensor]  # samples of the first minibatch and their gradient, to compare with later on
    unused: list[str]  # parameters on which its loss does not depend
    rounding: float
    random: bool
    suspects: frozenset[str] | None = None  # tensors that may be rounding and nothing else; None: all may be
    cost: PassCost | None = None  # of the first minibatch, where it was counted
    notices: list[str] = field(default_factory=list)


def inspect_problem(
    problem: Problem, minibatches: Minibatches, reference: LoopEngine, counted: bool = False
) -> Findings:
    """Run the first minibatch through the reference engine and look at everything that could spoil a run.

    Three passes over a minibatch of up to 16 samples, and some of float64: the first is that of iteration 0, the second
    is looked at from all sides and is to give the same, the third has the samples in another order. With ``counted``
    the operations are counted where the second pass holds all samples.

    Raises:
        InputError: the data set gives another sample each time, or a pass writes to what it gives; batch norm would
            normalise a single value; the forward pass writes to parameters; the loss is random although the problem
            does not ask for that, or cannot be seeded; it is not one number, not finite, or depends on no parameter; a
            gradient is not finite.
    """
    problem.refuse_other_parameters()
    indices = minibatches[0]
    state = problem.state(parameters=True)
    with problem.undisturbed(state):
        before = _check_samples_are_fixed(problem, indices[:_REPEATED_SAMPLES])
        with ExitStack() as hooks:
            for name, module in problem.model.named_modules():
                _watch_batch_norm(hooks, name, module)
            is_random, (loss, gradients) = reference.drawing(0, indices)
        _refuse_written_parameters(state.changed_parameters())
        _refuse_written_samples(problem, indices[:_REPEATED_SAMPLES], before)
        if is_random and problem.randomness == "refuse":
            drawing = modules_that_draw(problem.model, lambda: reference.drawing(0, indices)[0])
            where = f" in {', '.join(drawing)}" if drawing else ""
            raise InputError(
                f"the loss is random at fixed parameters: random numbers are drawn{where} (dropout?). Use "
                'model.eval(), set its probability to 0, or ask for randomness="seeded", which gives each iteration a '
                "seed of its own"
            )
        if problem.takes_all and all(g is None for g in gradients):
            raise InputError(NO_PARAMETER)
        flat = flatten(gradients, problem)
        check_finite(loss[None], flat[None], 0, problem.layout, [indices])
        observed = observe_pass(reference, indices, counted and not is_random and not problem.by_batches)
        _check_repeatable(problem, indices, loss, flat, reference, observed)
        rounding = measure_rounding(problem, minibatches, flat, reference, is_random, observed)
    reference.keep(0, loss, flat)
    of_sum = sum_notices(problem, indices) if observed.types.sums and not is_random else []
    return Findings(
        loss=loss,
        gradient=flat,
        few=(rounding.samples, rounding.of_samples),
        unused=[part.name for part, g in zip(problem.layout, gradients, strict=True) if g is None],
        rounding=rounding.error,
        random=is_random,
        suspects=rounding.suspects,
        cost=observed.cost,
        notices=[*problem.notices, *rounding.notices, *of_sum, *late_hook_notices(problem)],
    )


def unused_notices(unused: Sequence[str]) -> list[str]:
    """What is to be said of parameters on which no loss depends."""
    if not unused:
        return []
    return [f"the loss does not depend on {len(unused)} parameter tensors; kept as zeros: {', '.join(unused)}"]


def check_unchanged(problem: Problem, minibatches: Minibatches, findings: Findings, reference: LoopEngine) -> None:
    """At the end of long work: the first minibatch has the gradient that it had at the start.

    Raises:
        InputError: it has another one, so that something other than the minibatches changed along the way.
    """
    samples, at_start = findings.few
    gradient = flatten(reference.gradient(0, samples)[1], problem)
    off = _relative_difference(gradient, at_start)
    if off > _repeated(problem):
        raise InputError(
            f"the gradient of the first minibatch is not what it was at the start (||difference|| / ||gradient|| = "
            f"{off:.2g}): parameters, data, or something that model or loss keep from call to call have changed while "
            "gradients were collected. Keep them fixed, or reset what counts calls"
        )


def _check_samples_are_fixed(problem: Problem, indices: np.ndarray) -> list[Any]:
    """What the data set gives for these samples: the same twice, without drawing random numbers for them."""
    with GENERATORS:
        generators = RandomState(generators_in(problem.data))
        first, second = (_contents(problem, indices) for _ in range(2))
        moved = generators.has_moved()
        generators.restore()
    if moved or not all(_equal(a, b) for a, b in zip(first, second, strict=True)):
        raise InputError(
            "the data set draws random numbers when a sample is fetched (augmentation?), so a sample has no fixed "
            "gradient; turn that off"
        )
    return first


def _contents(problem: Problem, indices: np.ndarray) -> list[Any]:
    """What samples hold, to compare."""
    fetched = problem.fetch(indices)
    leaves = tensors_of(fetched) if problem.by_batches else pytree.tree_leaves(fetched)
    return [leaf.detach().clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]


def _refuse_written_parameters(names: list[str]) -> None:
    if names:
        raise InputError(
            f"the forward pass writes to the parameters {', '.join(names)} (max_norm of an embedding?), while theta is "
            "to stay as it is; they have been put back. Apply that once by hand and turn it off"
        )


def _refuse_written_samples(problem: Problem, indices: np.ndarray, before: list[Any]) -> None:
    """Refuse a pass that writes to the data themselves, where they are objects that cannot be copied as a whole."""
    if not all(_equal(a, b) for a, b in zip(before, _contents(problem, indices), strict=True)):
        raise InputError(
            "the forward pass writes to its data in place, so that they are not what they were (normalised, noise "
            "added?); let it work on a clone"
        )


def _check_repeatable(
    problem: Problem,
    indices: np.ndarray,
    loss: Tensor,
    gradient: Tensor,
    reference: LoopEngine,
    observed: ObservedPass,
) -> None:
    """A second pass over the same samples has the same loss and gradient."""
    tolerance = _repeated(problem)
    if len(indices) <= OBSERVED_SAMPLES and _same(observed.loss, observed.gradient, loss, gradient, tolerance):
        return  # if not, it may be that looking at a pass has changed it
    if len(indices) > _REPEATED_SAMPLES:
        indices = indices[:_REPEATED_SAMPLES]
        loss, gradients = reference.gradient(0, indices)
        gradient = flatten(gradients, problem)
    again, gradients = reference.gradient(0, indices)
    if _same(again, flatten(gradients, problem), loss, gradient, tolerance):
        return
    off = _relative_difference(flatten(gradients, problem), gradient)
    cause = (
        "even with the generators of PyTorch, NumPy and Python and those of model and loss seeded; make the forward "
        "pass draw from one of these"
        if problem.randomness == "seeded"
        else "so something is drawn at random or kept from call to call. Turn it off, or, if it is a random generator, "
        'ask for randomness="seeded"'
    )
    raise InputError(
        f"the loss is random at fixed parameters: two passes over the same minibatch gave losses {float(loss):.8g} and "
        f"{float(again):.8g} and gradients that differ by {off:.2g} of their norm, {cause}"
    )


def _same(again: Tensor, gradient_again: Tensor, loss: Tensor, gradient: Tensor, tolerance: float) -> bool:
    near = abs(float(again) - float(loss)) <= tolerance * max(1.0, abs(float(loss)))
    return near and _relative_difference(gradient_again, gradient) <= tolerance


def _repeated(problem: Problem) -> float:
    """How far two gradients of the same samples may be apart, relative to their norm."""
    return _REPEATED_EPS.get(problem.device.type, _REPEATED_EPS_ELSEWHERE) * torch.finfo(problem.dtype).eps


def _relative_difference(a: Tensor, b: Tensor) -> float:
    if torch.equal(a, b):
        return 0.0
    return float((a.double() - b.double()).norm() / b.double().norm().clamp_min(torch.finfo(torch.float64).tiny))


def _equal(a: Any, b: Any) -> bool:
    if not isinstance(a, Tensor):
        return bool(a == b)
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


def _watch_batch_norm(hooks: ExitStack, name: str, module: nn.Module) -> None:
    if isinstance(module, BatchNorm) and (module.training or module.running_mean is None):
        handle = module.register_forward_pre_hook(lambda _, args: _refuse_single_values(name, args[0]))
        hooks.callback(handle.remove)


def _refuse_single_values(name: str, inputs: Tensor) -> None:
    values = inputs.numel() // inputs.shape[1]
    if values == 1:
        raise InputError(
            f"batch norm {name!r} takes the statistics of the minibatch and would see a single value per channel "
            f"(input of shape {tuple(inputs.shape)}): raise batch_size to at least 2 (the paper uses 10), or call "
            "model.eval() to use the running statistics"
        )
