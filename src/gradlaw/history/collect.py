"""collect: from a problem to its gradient history."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil
import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.history.crosscheck import check_engine
from gradlaw.history.finite import check_finite
from gradlaw.history.gradient_history import GradientHistory
from gradlaw.history.loop import LoopEngine
from gradlaw.history.preflight import Findings, inspect_problem
from gradlaw.history.transforms import Adam, Apply, Momentum, Transform, check_order, describe, start_transforms
from gradlaw.history.vmap import VmapEngine
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress

ENGINES = ("auto", "loop", "vmap")
_LEAST_CHUNK = 8  # iterations at once from which batching them beats the loop, measured on LeNet and FCN
_MEMORY_SHARE = 0.8


@dataclass
class _Choice:
    engine: LoopEngine | VmapEngine
    difference: float = 0.0
    notices: list[str] = field(default_factory=list)


def collect(
    problem: Problem,
    iterations: int = 5000,
    batch_size: int = 1,
    seed: int = 0,
    engine: str = "auto",
    transforms: Sequence[Transform] = (),
    replacement: bool = False,
    *,
    progress: Progress = SILENT,
) -> GradientHistory:
    """Collect the gradients of ``iterations`` seeded minibatches at fixed parameters.

    Args:
        problem: model, loss and data; neither parameters nor buffers change.
        iterations: T, at least 2.
        batch_size: B, at most the number of samples.
        seed: of the minibatches, and of each iteration's randomness if the problem has any.
        engine: ``"loop"`` (plain autograd, the reference), ``"vmap"`` (many minibatches at once), or ``"auto"``: vmap
            where iterations are small enough to gain and the model allows it. vmap is compared with the loop on the
            first minibatches of every run.
        transforms: what an optimiser would make of the gradients at fixed parameters, applied from left to right:
            clipping, weight decay, momentum or Adam (see :mod:`gradlaw.history.transforms`).
        replacement: draw each minibatch independently instead of by shuffled epochs.
        progress: where to show it.

    Returns:
        The history, shape (T, n), on the problem's device.

    Raises:
        InputError: settings that do not fit the data, whatever the first minibatch shows (see
            :func:`~gradlaw.history.preflight.inspect_problem`), a history that does not fit in memory, an engine that
            disagrees with the reference, or a loss or gradient that is not finite in any iteration.
    """
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    check_order(transforms)
    minibatches = Minibatches(problem.samples, batch_size, iterations, seed, replacement)
    _check_memory(problem, iterations)
    reference = LoopEngine(problem, seed)
    findings = inspect_problem(problem, minibatches, reference)
    choice = _choose(engine, problem, minibatches, reference, findings)
    apply = start_transforms(transforms, problem, findings.unused)
    gradients, losses = _fill(choice.engine, problem, minibatches, apply, progress)
    return GradientHistory(
        gradients=gradients,
        losses=losses,
        layout=problem.layout,
        unused=findings.unused,
        rounding=max(findings.rounding, choice.difference),
        settings={
            "iterations": iterations,
            "batch_size": batch_size,
            "seed": seed,
            "replacement": replacement,
            "engine": choice.engine.name,
            "dtype": str(problem.dtype).removeprefix("torch."),
            "transforms": [describe(transform) for transform in transforms],
        },
        notices=findings.notices + choice.notices + _notices_of(transforms),
    )


def _notices_of(transforms: Sequence[Transform]) -> list[str]:
    recursive = [describe(t) for t in transforms if isinstance(t, Momentum | Adam)]
    return [
        f"{name} makes iterations depend on one another, while tests across iterations take them for independent; its "
        "first updates start from zero"
        for name in recursive
    ]


def _fill(
    engine: LoopEngine | VmapEngine, problem: Problem, minibatches: Minibatches, apply: Apply, progress: Progress
) -> tuple[Tensor, Tensor]:
    iterations = len(minibatches)
    gradients = torch.empty(iterations, problem.dimensions, dtype=problem.dtype, device=problem.device)
    losses = torch.empty(iterations, dtype=problem.dtype, device=problem.device)
    step = engine.chunk(minibatches.batch_size)
    with progress.stage(f"collect gradients ({engine.name})", iterations) as advance:
        for start in range(0, iterations, step):
            end = min(start + step, iterations)
            rows = gradients[start:end]
            losses[start:end] = engine.gradients(start, [minibatches[t] for t in range(start, end)], rows)
            check_finite(losses[start:end], rows, start, problem.layout)
            apply(rows)
            advance(end - start)
    return gradients, losses


def _choose(
    asked: str, problem: Problem, minibatches: Minibatches, reference: LoopEngine, findings: Findings
) -> _Choice:
    if asked == "loop":
        return _Choice(reference)
    if findings.random:
        if asked == "vmap":
            raise InputError("engine 'vmap' cannot seed the randomness of each iteration; use engine='loop'")
        return _Choice(reference, notices=["engine loop: the model draws random numbers, which vmap cannot seed"])
    fast = VmapEngine(problem)
    if asked == "auto" and fast.chunk(minibatches.batch_size) < _LEAST_CHUNK:
        return _Choice(reference)
    # Two minibatches, so that a mix-up between them shows.
    first = [minibatches[0], minibatches[1]]
    rows = torch.empty(2, problem.dimensions, dtype=problem.dtype, device=problem.device)
    try:
        fast.gradients(0, first, rows)
    except RuntimeError as error:  # what torch.func raises for an operation that it cannot batch
        reason = str(error).strip().splitlines()[0]
        if asked == "vmap":
            raise InputError(f"engine 'vmap' cannot batch this model: {reason}. Use engine='loop'") from error
        return _Choice(reference, notices=[f"engine loop: vmap cannot batch this model ({reason})"])
    expected = torch.empty_like(rows)
    reference.gradients(0, first, expected)
    return _Choice(fast, difference=check_engine(fast.name, rows, expected, problem.layout))


def _check_memory(problem: Problem, iterations: int) -> None:
    needed = iterations * problem.dimensions * problem.dtype.itemsize
    if problem.device.type == "cuda":
        free = torch.cuda.mem_get_info(problem.device)[0]
    else:
        free = psutil.virtual_memory().available
    if needed > _MEMORY_SHARE * free:
        fits = int(_MEMORY_SHARE * free / (problem.dimensions * problem.dtype.itemsize))
        raise InputError(
            f"a gradient history of T={iterations} x n={problem.dimensions} needs {needed / 1e9:.1f} GB and "
            f"{free / 1e9:.1f} GB are free; at most T={fits} fits, or analyse a part of the parameters"
        )
