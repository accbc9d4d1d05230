"""collect: from a problem to its gradient history."""

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.history import disk
from gradlaw.history.crosscheck import check_engine
from gradlaw.history.finite import check_finite
from gradlaw.history.gradient_history import GradientHistory
from gradlaw.history.layerwise import LayerwiseEngine
from gradlaw.history.loop import LoopEngine
from gradlaw.history.placement import Placement, place
from gradlaw.history.preflight import Findings, inspect_problem
from gradlaw.history.transforms import Adam, Apply, Momentum, Transform, check_order, describe, start_transforms
from gradlaw.history.vmap import VmapEngine
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress

ENGINES = ("auto", "loop", "vmap", "layerwise")
Engine = LoopEngine | VmapEngine | LayerwiseEngine
_LEAST_CHUNK = 8  # iterations at once from which batching them beats the loop, measured on LeNet and FCN


@dataclass
class _Choice:
    engine: Engine
    difference: float = 0.0
    notices: list[str] = field(default_factory=list)


def collect(
    problem: Problem,
    iterations: int = 5000,
    batch_size: int = 1,
    seed: int = 0,
    engine: str = "auto",
    transforms: Sequence[Transform] = (),
    store: str | Path | None = None,
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
        engine: ``"loop"`` (plain autograd, the reference), ``"vmap"`` (many minibatches at once), ``"layerwise"`` (many
            minibatches at once from the inputs and output gradients of layers: the fastest for models made of common
            layers, but not yet chosen by itself), or ``"auto"``: vmap where iterations are small enough to gain and
            the model allows it. All are compared with the loop on the first minibatches of every run.
        transforms: what an optimiser would make of the gradients at fixed parameters, applied from left to right:
            clipping, weight decay, momentum or Adam (see :mod:`gradlaw.history.transforms`).
        store: ``"memory"``, a new folder to keep the history in (see :meth:`GradientHistory.open`), or None: memory if
            it takes up to half of what is free, else a temporary folder that goes with the history.
        replacement: draw each minibatch independently instead of by shuffled epochs.
        progress: where to show it.

    Returns:
        The history, shape (T, n), on the problem's device or on disk.

    Raises:
        InputError: settings that do not fit the data, whatever the first minibatch shows (see
            :func:`~gradlaw.history.preflight.inspect_problem`), a history that does not fit in memory, an engine that
            disagrees with the reference, or a loss or gradient that is not finite in any iteration.
    """
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    check_order(transforms)
    minibatches = Minibatches(problem.samples, batch_size, iterations, seed, replacement)
    placement = place(store, problem, iterations)
    if placement.announcement:
        progress.say(placement.announcement)
    reference = LoopEngine(problem, seed)
    findings = inspect_problem(problem, minibatches, reference)
    choice = _choose(engine, problem, minibatches, reference, findings)
    apply = start_transforms(transforms, problem, findings.unused)
    target, folder = _target(placement, problem, iterations)
    losses = _fill(target, choice.engine, problem, minibatches, apply, progress)
    history = GradientHistory(
        gradients=target,
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
    if folder is not None:
        disk.finish(folder, losses, history.record())
    return history


def _target(placement: Placement, problem: Problem, iterations: int) -> tuple[Tensor | disk.DiskGradients, Path | None]:
    """An empty matrix, and its folder if it is on disk."""
    shape = iterations, problem.dimensions
    if placement.folder is None:
        return torch.empty(shape, dtype=problem.dtype, device=problem.device), None
    if not placement.temporary:
        return disk.create(placement.folder, shape, problem.dtype), placement.folder
    folder = Path(tempfile.mkdtemp(prefix="gradlaw-", dir=placement.folder))
    gradients = disk.create(folder, shape, problem.dtype)
    weakref.finalize(gradients, shutil.rmtree, folder)
    return gradients, folder


def _notices_of(transforms: Sequence[Transform]) -> list[str]:
    recursive = [describe(t) for t in transforms if isinstance(t, Momentum | Adam)]
    return [
        f"{name} makes iterations depend on one another, while tests across iterations take them for independent; its "
        "first updates start from zero"
        for name in recursive
    ]


def _fill(
    target: Tensor | disk.DiskGradients,
    engine: Engine,
    problem: Problem,
    minibatches: Minibatches,
    apply: Apply,
    progress: Progress,
) -> Tensor:
    """Collect into the target, band by band of rows; return the losses (T,)."""
    iterations, step = len(minibatches), engine.chunk(minibatches.batch_size)
    losses = torch.empty(iterations, dtype=problem.dtype, device=problem.device)
    if isinstance(target, disk.DiskGradients):
        height = target.chunks[0]
        buffer = torch.empty(height, problem.dimensions, dtype=problem.dtype, device=problem.device)
    else:
        height, buffer = iterations, target
    with progress.stage(f"collect gradients ({engine.name})", iterations) as advance:
        for top in range(0, iterations, height):
            bottom = min(top + height, iterations)
            for start in range(top, bottom, step):
                end = min(start + step, bottom)
                rows = buffer[start - top : end - top]
                losses[start:end] = engine.gradients(start, [minibatches[t] for t in range(start, end)], rows)
                check_finite(losses[start:end], rows, start, problem.layout)
                apply(rows)
                advance(end - start)
            if isinstance(target, disk.DiskGradients):
                target.write(top, buffer[: bottom - top])
    return losses


def _choose(
    asked: str, problem: Problem, minibatches: Minibatches, reference: LoopEngine, findings: Findings
) -> _Choice:
    if asked == "loop":
        return _Choice(reference)
    if findings.random:
        if asked != "auto":
            raise InputError(f"engine {asked!r} cannot seed the randomness of each iteration; use engine='loop'")
        return _Choice(reference, notices=["engine loop: the model draws random numbers, which vmap cannot seed"])
    # Two minibatches, so that a mix-up between them shows.
    first = [minibatches[0], minibatches[1]]
    rows = torch.empty(2, problem.dimensions, dtype=problem.dtype, device=problem.device)
    if asked == "layerwise":
        layerwise = LayerwiseEngine(problem, first)
        layerwise.gradients(0, first, rows)
        return _checked(layerwise, rows, first, reference)
    fast = VmapEngine(problem)
    if asked == "auto" and fast.chunk(minibatches.batch_size) < _LEAST_CHUNK:
        return _Choice(reference)
    try:
        fast.gradients(0, first, rows)
    except RuntimeError as error:  # what torch.func raises for an operation that it cannot batch
        reason = str(error).strip().splitlines()[0]
        if asked == "vmap":
            raise InputError(f"engine 'vmap' cannot batch this model: {reason}. Use engine='loop'") from error
        return _Choice(reference, notices=[f"engine loop: vmap cannot batch this model ({reason})"])
    return _checked(fast, rows, first, reference)


def _checked(engine: Engine, rows: Tensor, batches: list[np.ndarray], reference: LoopEngine) -> _Choice:
    """The engine whose gradients of the first minibatches are ``rows``, if the reference agrees."""
    expected = torch.empty_like(rows)
    reference.gradients(0, batches, expected)
    return _Choice(engine, difference=check_engine(engine.name, rows, expected, reference.problem.layout))
