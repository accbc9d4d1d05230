"""collect: from a problem to its gradient history, or to the one that a folder holds already."""

import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradlaw.argument_types import checked
from gradlaw.atomic import full_disk_explained
from gradlaw.choices import DtypeName, EngineName
from gradlaw.errors import count
from gradlaw.history.collection import Collection
from gradlaw.history.engines.choose import choose_engine
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.history.engines.preflight import check_unchanged, inspect_problem, unused_notices
from gradlaw.history.engines.rounding_alone import rounding_alone
from gradlaw.history.gradient_history import GradientHistory
from gradlaw.history.notices import repeat_notices, transform_notices
from gradlaw.history.resume import (
    GRADIENT_NORM,
    Begun,
    check_same_start,
    identity_of,
    read_unfinished,
    reopen_finished,
)
from gradlaw.history.settings import HistorySettings
from gradlaw.history.sketched_history import RowReducer, SketchedHistory
from gradlaw.history.stores import zarr_store
from gradlaw.history.stores.placement import MEMORY, Placement, place
from gradlaw.history.stores.precision import DTYPES
from gradlaw.history.stores.unfinished import Unfinished
from gradlaw.history.transforms import Transform
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress


@checked
def collect(
    problem: Problem,
    iterations: int = 5000,
    batch_size: int = 10,
    seed: int = 0,
    engine: EngineName = "auto",
    transforms: Sequence[Transform] = (),
    store: str | Path | None = None,
    replacement: bool = False,
    dtype: torch.dtype | DtypeName | None = None,
    *,
    progress: Progress | None = None,
    band_bytes: int = zarr_store.BAND_BYTES,
) -> GradientHistory:
    """Collect the gradients of ``iterations`` seeded minibatches at fixed parameters.

    Args:
        problem: model, loss and data; neither parameters nor buffers change.
        iterations: T, at least 2.
        batch_size: B, at most the number of samples; those of :meth:`Problem.from_step` are batches of yours.
        seed: of the minibatches, and of each iteration's randomness if the problem has any.
        engine: how gradients are computed. ``"loop"``: plain autograd, the reference. ``"vmap"``: many minibatches at
            once. ``"layerwise"``: the same from the inputs and output gradients of layers (see
            :func:`gradlaw.history.layers.register` for layers of your own). ``"samplewise"``: every sample once,
            minibatches as means of samples, where they hold each sample many times. ``"auto"``: the one that
            costs least and takes the model. All are compared with the loop on the first minibatches.
        transforms: what an optimiser would make of the gradients at fixed parameters, applied from left to right:
            clipping, weight decay, momentum or Adam (see :mod:`gradlaw.history.transforms`).
        store: ``"memory"``, a folder to keep the history in (see :meth:`GradientHistory.open`), or None: memory if it
            takes up to half of what is free and leaves room for its spectra, else a temporary folder that goes with the
            history. A folder that holds the finished history of the same problem and settings is read instead of
            collecting once more; one whose collection was ended on the way is gone on with, from the last band of rows
            that is on the disk.
        replacement: draw each minibatch independently instead of by shuffled epochs.
        dtype: type to store gradients in: ``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"float64"``. Default: the
            one they are computed in. The error of a narrower one is measured: it raises ``history.rounding``, and with
            it the floor of the spectra, and is stated in ``history.notices`` and ``history.settings.storage``.
        progress: where to show it.
        band_bytes: of a history on disk, that are read at once in either direction, at least 1 (default 256 MB): a
            memory knob that changes results by rounding at most.

    Returns:
        The history, shape (T, n), on the problem's device or on disk.

    Raises:
        InputError: settings that do not fit the data, whatever the first minibatch shows (see
            :func:`~gradlaw.history.engines.preflight.inspect_problem`), a history that does not fit in memory, a folder
            that holds another history, a damaged one or something else, or that another process is writing, a disk
            that is full (what is collected by then is kept), an engine that disagrees with the reference, or a loss or
            gradient in any iteration that is not finite, or beyond the range of ``dtype``.
    """
    asked = HistorySettings.asked(problem, iterations, batch_size, seed, engine, transforms, replacement, dtype)
    progress, band_bytes = progress or SILENT, count(band_bytes, "band_bytes")
    history = collected(problem, asked, transforms, store, None, progress, band_bytes)
    assert isinstance(history, GradientHistory)
    return history


def collected(
    problem: Problem,
    asked: HistorySettings,
    transforms: Sequence[Transform],
    store: str | Path | None,
    reducer: RowReducer | None,
    progress: Progress,
    band_bytes: int = zarr_store.BAND_BYTES,
) -> GradientHistory | SketchedHistory:
    """:func:`collect` with settings that have been checked; with ``reducer``, what it keeps of each gradient."""
    if store is None or store == MEMORY:
        return _collect(problem, asked, transforms, store, band_bytes, None, progress, reducer)
    folder = Path(store)
    if zarr_store.is_unfinished(folder) or not zarr_store.is_finished(folder):
        with zarr_store.writing(folder):
            unfinished = Unfinished(folder, identity_of(problem, asked))
            if not zarr_store.is_finished(folder):  # by another process, while the lock was not yet ours
                return _collect(problem, asked, transforms, folder, band_bytes, unfinished, progress, reducer)
            unfinished.remove()  # what a kill behind the last step left
    history = reopen_finished(folder, problem, asked)
    progress.say(f"read the gradient history that {store} holds: same problem, same settings")
    return history


def _collect(
    problem: Problem,
    asked: HistorySettings,
    transforms: Sequence[Transform],
    store: str | Path | None,
    band_bytes: int,
    unfinished: Unfinished | None,
    progress: Progress,
    reducer: RowReducer | None,
) -> GradientHistory | SketchedHistory:
    """The history, in memory or a temporary folder, or, with ``unfinished``, in the folder ``store``."""
    stored, minibatches = DTYPES[asked.storage.dtype], asked.minibatches()
    begun = None if unfinished is None else read_unfinished(unfinished, asked, progress)
    columns = problem.dimensions if reducer is None else reducer.columns
    placement = place(store, problem, asked.iterations, stored, band_bytes, columns)
    if placement.announcement and begun is None:
        progress.say(placement.announcement)
    reference = LoopEngine(problem, asked.seed)
    findings = inspect_problem(problem, minibatches, reference, counted=asked.engine != "loop")
    choice = choose_engine(asked.engine, problem, minibatches, reference, findings)
    alone = rounding_alone(problem, minibatches, findings, reference)
    if unfinished is not None:
        unfinished.identity[GRADIENT_NORM] = float(findings.gradient.double().norm())
    target = _target(placement, (asked.iterations, columns), stored, band_bytes, unfinished, begun)
    run = Collection(target, choice, stored, transforms, findings.unused, unfinished, reducer)
    if begun is not None and unfinished is not None:
        check_same_start(begun, unfinished, problem, asked)
        run.restore(begun.state, begun.arrays)
    run.fill(progress)
    check_unchanged(problem, minibatches, findings, reference)
    whole: dict[str, Any] = {
        "losses": run.losses,
        "layout": problem.layout,
        "unused": run.unused,
        "rounding": max(findings.rounding, choice.difference, run.storage.rounding),
        "settings": replace(
            asked, engine=choice.engine.name, storage=run.storage.measured(), rounding_alone=tuple(alone)
        ),
        "notices": [
            *unused_notices(run.unused),
            *findings.notices,
            *choice.notices,
            *run.notices,
            *run.storage.notices(),
            *transform_notices(transforms),
            *repeat_notices(problem, asked),
        ],
    }
    history = GradientHistory(target, **whole) if reducer is None else SketchedHistory(target, **whole)
    if unfinished is not None:
        with full_disk_explained(unfinished.folder, *run.remedy()):
            zarr_store.finish(unfinished.folder, run.losses, history.record() | {"problem": problem.describe()})
        unfinished.remove()
    return history


def _target(
    placement: Placement,
    shape: tuple[int, int],
    dtype: torch.dtype,
    band_bytes: int,
    unfinished: Unfinished | None,
    begun: Begun | None,
) -> Tensor | zarr_store.DiskGradients:
    """The matrix to fill: in memory, in a temporary folder, new in the folder of a store, or the one begun there."""
    if placement.folder is None:
        return torch.empty(shape, dtype=dtype, device=placement.device)
    if begun is not None:
        return zarr_store.reopen(placement.folder)
    if unfinished is not None:
        unfinished.save({}, {})  # before anything else is in the folder
        with full_disk_explained(placement.folder, "nothing is collected yet", "make the same call again"):
            return zarr_store.create(placement.folder, shape, dtype, band_bytes, durable=True)
    folder = Path(tempfile.mkdtemp(prefix="gradlaw-", dir=placement.folder))
    try:
        gradients = zarr_store.create(folder, shape, dtype, band_bytes)
    except BaseException:
        shutil.rmtree(folder)
        raise
    weakref.finalize(gradients, shutil.rmtree, folder)
    return gradients
