"""What is checked on the first minibatch, before any long work."""

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gradlaw.errors import InputError
from gradlaw.history.finite import check_finite
from gradlaw.history.loop import LoopEngine, flatten
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem


@dataclass
class Findings:
    """What the first minibatch showed."""

    gradient: Tensor  # (n,), by the reference engine
    unused: list[str]
    rounding: float
    random: bool
    notices: list[str] = field(default_factory=list)


def inspect_problem(problem: Problem, minibatches: Minibatches, reference: LoopEngine) -> Findings:
    """Run the first minibatch through the reference engine and look at everything that could spoil a run.

    Raises:
        InputError: batch norm would normalise a single value; the data or the forward pass draw random numbers and the
            problem does not ask for that; the loss is not one number, not finite, or depends on no parameter; a
            gradient is not finite.
    """
    indices = minibatches[0]
    with _random_state_watch() as data_is_random:
        problem.fetch(indices)
    if data_is_random():
        raise InputError(
            "the data set draws random numbers when a sample is fetched (augmentation?), so a sample has no fixed "
            "gradient; turn that off"
        )
    drawing: list[str] = []
    with ExitStack() as hooks, _random_state_watch() as forward_is_random:
        for name, module in problem.model.named_modules():
            _watch_module(hooks, name, module, drawing)
        loss, gradients = reference.gradient(0, indices)
    is_random = bool(drawing) or forward_is_random()
    if is_random and problem.randomness == "refuse":
        where = f" in {', '.join(drawing)}" if drawing else ""
        raise InputError(
            f"the loss is random at fixed parameters: random numbers are drawn{where} (dropout?). Use model.eval(), "
            'set its probability to 0, or ask for randomness="seeded", which gives each iteration a seed of its own'
        )
    flat = flatten(gradients, problem)
    check_finite(loss[None], flat[None], 0, problem.layout)
    unused = [part.name for part, g in zip(problem.layout, gradients, strict=True) if g is None]
    findings = Findings(flat, unused, _rounding(problem, indices, flat, reference, is_random), is_random)
    if unused:
        findings.notices.append(
            f"the loss does not depend on {len(unused)} parameter tensors; kept as zeros: {', '.join(unused)}"
        )
    return findings


def _rounding(problem: Problem, indices: np.ndarray, gradient: Tensor, reference: LoopEngine, is_random: bool) -> float:
    """||error|| / ||g|| of rounding: the type's, or more if summing the minibatch in another order shows more."""
    eps = torch.finfo(problem.dtype).eps
    norm = float(gradient.double().norm())
    if is_random or len(indices) == 1 or norm == 0:
        return eps
    turned = flatten(reference.gradient(0, indices[::-1])[1], problem)
    return max(eps, float((turned.double() - gradient.double()).norm()) / norm)


def _watch_module(hooks: ExitStack, name: str, module: nn.Module, drawing: list[str]) -> None:
    if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
        handle = module.register_forward_pre_hook(lambda _, args: _refuse_single_values(name, args[0]))
        hooks.callback(handle.remove)
    if not any(module.children()):
        states: list[bytes] = []
        before = module.register_forward_pre_hook(lambda *_: states.append(_random_state()))
        after = module.register_forward_hook(
            lambda *_: drawing.append(f"{name} ({type(module).__name__})") if states.pop() != _random_state() else None
        )
        hooks.callback(before.remove)
        hooks.callback(after.remove)


def _refuse_single_values(name: str, inputs: Tensor) -> None:
    values = inputs.numel() // inputs.shape[1]
    if values == 1:
        raise InputError(
            f"batch norm {name!r} takes the statistics of the minibatch and would see a single value per channel "
            f"(input of shape {tuple(inputs.shape)}): raise batch_size to at least 2 (the paper uses 10), or call "
            "model.eval() to use the running statistics"
        )


def _random_state() -> bytes:
    parts = [torch.get_rng_state().numpy().tobytes(), repr(random.getstate()).encode()]
    parts.append(repr(np.random.get_state(legacy=False)["state"]["pos"]).encode())  # noqa: NPY002
    parts.append(np.random.get_state(legacy=False)["state"]["key"].tobytes())  # noqa: NPY002
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_rng_state().cpu().numpy().tobytes())
    return b"".join(parts)


@contextmanager
def _random_state_watch() -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether any global random generator has been drawn from inside the context."""
    before = _random_state()
    after: list[bytes] = []
    yield lambda: after[0] != before
    after.append(_random_state())
