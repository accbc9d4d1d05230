"""collect: from a problem to its gradient history."""

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.history import disk
from gradlaw.history.engines import ENGINES, Engine, choose_engine
from gradlaw.history.finite import check_finite
from gradlaw.history.gradient_history import GradientHistory
from gradlaw.history.loop import LoopEngine
from gradlaw.history.placement import MEMORY, Placement, place
from gradlaw.history.preflight import inspect_problem
from gradlaw.history.reopen import reopen
from gradlaw.history.rounding_alone import rounding_alone
from gradlaw.history.storage import Storage, dtype_name, storage_dtype
from gradlaw.history.transforms import Adam, Apply, Momentum, Transform, check_order, describe, start_transforms
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress


def collect(
    problem: Problem,
    iterations: int = 5000,
    batch_size: int = 1,
    seed: int = 0,
    engine: str = "auto",
    transforms: Sequence[Transform] = (),
    store: str | Path | None = None,
    replacement: bool = False,
    dtype: torch.dtype | str | None = None,
    *,
    progress: Progress | None = None,
) -> GradientHistory:
    """Collect the gradients of ``iterations`` seeded minibatches at fixed parameters.

    Args:
        problem: model, loss and data; neither parameters nor buffers change.
        iterations: T, at least 2.
        batch_size: B, at most the number of samples.
        seed: of the minibatches, and of each iteration's randomness if the problem has any.
        engine: how gradients are computed. ``"loop"``: plain autograd, the reference. ``"vmap"``: many minibatches at
            once. ``"layerwise"``: the same from the inputs and output gradients of layers. ``"samplewise"``: every
            sample once, minibatches as means of samples, for minibatches of a large share of the data. ``"auto"``: the
            one that costs least and takes the model. All are compared with the loop on the first minibatches.
        transforms: what an optimiser would make of the gradients at fixed parameters, applied from left to right:
            clipping, weight decay, momentum or Adam (see :mod:`gradlaw.history.transforms`).
        store: ``"memory"``, a folder to keep the history in (see :meth:`GradientHistory.open`), or None: memory if it
            takes up to half of what is free, else a temporary folder that goes with the history. A folder that holds
            the finished history of the same problem and settings is read instead of collecting once more.
        replacement: draw each minibatch independently instead of by shuffled epochs.
        dtype: type to store gradients in: ``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"float64"``. Default: the
            one they are computed in. The error of a narrower one is measured: it raises ``history.rounding``, and with
            it the floor of the spectra, and is stated in ``history.notices`` and ``history.settings["storage"]``.
        progress: where to show it.

    Returns:
        The history, shape (T, n), on the problem's device or on disk.

    Raises:
        InputError: settings that do not fit the data, whatever the first minibatch shows (see
            :func:`~gradlaw.history.preflight.inspect_problem`), a history that does not fit in memory, a folder that
            holds another history or something else, an engine that disagrees with the reference, or a loss or gradient
            in any iteration that is not finite, or beyond the range of ``dtype``.
    """
    progress = progress or SILENT
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    check_order(transforms)
    minibatches = Minibatches(problem.samples, batch_size, iterations, seed, replacement)
    iterations, batch_size, seed = minibatches.iterations, minibatches.batch_size, minibatches.seed
    if store is not None and store != MEMORY and disk.holds_store(Path(store)):
        history = reopen(Path(store), problem, minibatches, engine, transforms, dtype)
        progress.say(f"read the gradient history that {store} holds: same problem, same settings")
        return history
    stored = storage_dtype(dtype, problem.dtype)
    placement = place(store, problem, iterations, stored)
    if placement.announcement:
        progress.say(placement.announcement)
    reference = LoopEngine(problem, seed)
    findings = inspect_problem(problem, minibatches, reference)
    choice = choose_engine(engine, problem, minibatches, reference, findings)
    apply = start_transforms(transforms, problem, findings.unused)
    target, folder = _target(placement, problem, iterations, stored)
    storage = Storage(stored, problem.layout)
    losses = _fill(target, choice.engine, problem, minibatches, apply, storage, progress)
    history = GradientHistory(
        gradients=target,
        losses=losses,
        layout=problem.layout,
        unused=findings.unused,
        rounding=max(findings.rounding, choice.difference, storage.rounding),
        settings={
            "iterations": iterations,
            "batch_size": batch_size,
            "samples": problem.samples,
            "seed": seed,
            "replacement": minibatches.replacement,
            "engine": choice.engine.name,
            "dtype": dtype_name(problem.dtype),
            "storage": storage.describe(),
            "rounding_alone": rounding_alone(problem, minibatches, findings.gradient, reference),
            "transforms": [describe(transform) for transform in transforms],
        },
        notices=findings.notices + choice.notices + storage.notices() + _notices_of(transforms),
    )
    if folder is not None:
        disk.finish(folder, losses, history.record() | {"problem": problem.describe()})
    return history


def _target(
    placement: Placement, problem: Problem, iterations: int, dtype: torch.dtype
) -> tuple[Tensor | disk.DiskGradients, Path | None]:
    """An empty matrix, and its folder if it is on disk."""
    shape = iterations, problem.dimensions
    if placement.folder is None:
        return torch.empty(shape, dtype=dtype, device=problem.device), None
    if not placement.temporary:
        return disk.create(placement.folder, shape, dtype), placement.folder
    folder = Path(tempfile.mkdtemp(prefix="gradlaw-", dir=placement.folder))
    gradients = disk.create(folder, shape, dtype)
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
    storage: Storage,
    progress: Progress,
) -> Tensor:
    """Collect into the target, band by band of rows; return the losses (T,)."""
    iterations, step = len(minibatches), engine.chunk(minibatches.batch_size)
    losses = torch.empty(iterations, dtype=problem.dtype, device=problem.device)
    if isinstance(target, disk.DiskGradients):
        height = target.chunks[0]
        buffer = torch.empty(height, problem.dimensions, dtype=storage.dtype, device=problem.device)
    else:
        height, buffer = iterations, target
    # Engines and transforms work in the problem's type: on rows of their own where another is stored.
    apart = storage.dtype != problem.dtype
    work = torch.empty(min(step, height) * apart, problem.dimensions, dtype=problem.dtype, device=problem.device)
    with progress.stage(f"collect gradients ({engine.name})", iterations) as advance:
        for top in range(0, iterations, height):
            bottom = min(top + height, iterations)
            for start in range(top, bottom, step):
                end = min(start + step, bottom)
                band = buffer[start - top : end - top]
                rows = work[: end - start] if apart else band
                losses[start:end] = engine.gradients(start, [minibatches[t] for t in range(start, end)], rows)
                check_finite(losses[start:end], rows, start, problem.layout)
                apply(rows)
                if apart:
                    storage.store(rows, band, start)
                advance(end - start)
            if isinstance(target, disk.DiskGradients):
                target.write(top, buffer[: bottom - top])
    return losses
