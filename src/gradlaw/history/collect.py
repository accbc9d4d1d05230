"""collect: from a problem to its gradient history, or to the one that a folder holds already."""

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gradlaw.choices import DtypeName, EngineName
from gradlaw.errors import InputError, count
from gradlaw.history.engines.choose import EngineChoice, choose_engine
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.history.engines.preflight import check_unchanged, inspect_problem, unused_notices
from gradlaw.history.engines.rounding_alone import rounding_alone
from gradlaw.history.engines.verify import Disagreement, check_finite
from gradlaw.history.gradient_history import GradientHistory
from gradlaw.history.notices import repeat_notices, transform_notices
from gradlaw.history.settings import HistorySettings
from gradlaw.history.stores import zarr_store
from gradlaw.history.stores.placement import MEMORY, Placement, place
from gradlaw.history.stores.precision import DTYPES, Storage
from gradlaw.history.transforms import Apply, Transform, WeightDecay, start_transforms
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Advance, Progress

_OF_RUN = ("iterations", "batch_size", "seed", "replacement", "transforms")
_OF_PROBLEM = ("mode", "loss", "dimensions", "parameters_not_analysed", "parameters_sha256", "randomness")
_OF_DATA = ("samples", "sha256")
_LOSS_TOLERANCE = 1e-4  # relative; engines and devices agree far better


def collect(
    problem: Problem,
    iterations: int = 5000,
    batch_size: int = 1,
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
        batch_size: B, at most the number of samples.
        seed: of the minibatches, and of each iteration's randomness if the problem has any.
        engine: how gradients are computed. ``"loop"``: plain autograd, the reference. ``"vmap"``: many minibatches at
            once. ``"layerwise"``: the same from the inputs and output gradients of layers (see
            :func:`gradlaw.history.layers.register` for layers of your own). ``"samplewise"``: every sample once,
            minibatches as means of samples, for minibatches of a large share of the data. ``"auto"``: the one that
            costs least and takes the model. All are compared with the loop on the first minibatches.
        transforms: what an optimiser would make of the gradients at fixed parameters, applied from left to right:
            clipping, weight decay, momentum or Adam (see :mod:`gradlaw.history.transforms`).
        store: ``"memory"``, a folder to keep the history in (see :meth:`GradientHistory.open`), or None: memory if it
            takes up to half of what is free, else a temporary folder that goes with the history. A folder that holds
            the finished history of the same problem and settings is read instead of collecting once more.
        replacement: draw each minibatch independently instead of by shuffled epochs.
        dtype: type to store gradients in: ``"float32"``, ``"bfloat16"``, ``"float16"`` or ``"float64"``. Default: the
            one they are computed in. The error of a narrower one is measured: it raises ``history.rounding``, and with
            it the floor of the spectra, and is stated in ``history.notices`` and ``history.settings.storage``.
        progress: where to show it.
        band_bytes: of a history on disk, that are read at once in either direction, at least 1 (default 256 MB): a
            memory knob that does not change results.

    Returns:
        The history, shape (T, n), on the problem's device or on disk.

    Raises:
        InputError: settings that do not fit the data, whatever the first minibatch shows (see
            :func:`~gradlaw.history.engines.preflight.inspect_problem`), a history that does not fit in memory, a folder
            that holds another history or something else, an engine that disagrees with the reference, or a loss or
            gradient in any iteration that is not finite, or beyond the range of ``dtype``.
    """
    asked = HistorySettings.asked(problem, iterations, batch_size, seed, engine, transforms, replacement, dtype)
    progress, minibatches, band_bytes = progress or SILENT, asked.minibatches(), count(band_bytes, "band_bytes")
    if store is not None and store != MEMORY and zarr_store.holds_store(Path(store)):
        history = _reopen(Path(store), problem, asked)
        progress.say(f"read the gradient history that {store} holds: same problem, same settings")
        return history
    stored = DTYPES[asked.storage.dtype]
    placement = place(store, problem, asked.iterations, stored)
    if placement.announcement:
        progress.say(placement.announcement)
    reference = LoopEngine(problem, asked.seed)
    findings = inspect_problem(problem, minibatches, reference)
    choice = choose_engine(asked.engine, problem, minibatches, reference, findings)
    alone = rounding_alone(problem, minibatches, findings.gradient, reference)
    target, folder = _target(placement, problem, asked.iterations, stored, band_bytes)
    run = _Collection(target, choice, stored, transforms, findings.unused)
    losses = run.fill(progress)
    check_unchanged(problem, minibatches, findings, reference)
    history = GradientHistory(
        gradients=target,
        losses=losses,
        layout=problem.layout,
        unused=run.unused,
        rounding=max(findings.rounding, choice.difference, run.storage.rounding),
        settings=replace(asked, engine=choice.engine.name, storage=run.storage.measured(), rounding_alone=tuple(alone)),
        notices=[
            *unused_notices(run.unused),
            *findings.notices,
            *choice.notices,
            *run.notices,
            *run.storage.notices(),
            *transform_notices(transforms),
            *repeat_notices(problem, asked),
        ],
    )
    if folder is not None:
        zarr_store.finish(folder, losses, history.record() | {"problem": problem.describe()})
    return history


def _reopen(folder: Path, problem: Problem, asked: HistorySettings) -> GradientHistory:
    """The finished history in a folder, if it is what would be collected with these settings.

    Raises:
        InputError: the folder holds another history, or an unfinished one.
    """
    history = GradientHistory.open(folder)
    described, recorded = problem.describe(), zarr_store.open_store(folder)[2]["problem"]
    pairs = {name: (history.settings[name], asked[name]) for name in _OF_RUN}
    pairs["stored as"] = history.settings.storage.dtype, asked.storage.dtype
    if asked.engine != "auto":
        pairs["engine"] = history.settings.engine, asked.engine
    pairs |= {name: (recorded[name], described[name]) for name in _OF_PROBLEM}
    pairs |= {f"{name} of the data": (recorded["data"][name], described["data"][name]) for name in _OF_DATA}
    different = [f"{name} is {there}, not {here}" for name, (there, here) in pairs.items() if there != here]
    if different:
        raise InputError(
            f"{folder} holds the gradient history of another run ({'; '.join(different)}); give another folder as "
            "store, or delete this one"
        )
    _check_first_loss(folder, problem, history)
    return history


def _check_first_loss(folder: Path, problem: Problem, history: GradientHistory) -> None:
    """What digests do not show: buffers, the code of the loss, data that are not in memory."""
    first, engine = history.settings.minibatches()[0], LoopEngine(problem, history.settings.seed)
    loss, stored = float(engine.gradient(0, first)[0]), float(history.losses[0])
    if not abs(loss - stored) <= _LOSS_TOLERANCE * max(abs(stored), abs(loss)):
        raise InputError(
            f"the loss of the first minibatch is {loss:.6g}, but {stored:.6g} in the gradient history that {folder} "
            "holds: model, loss or data have changed; give another folder as store, or delete this one"
        )


def _target(
    placement: Placement, problem: Problem, iterations: int, dtype: torch.dtype, band_bytes: int
) -> tuple[Tensor | zarr_store.DiskGradients, Path | None]:
    """An empty matrix, and its folder if it is on disk."""
    shape = iterations, problem.dimensions
    if placement.folder is None:
        return torch.empty(shape, dtype=dtype, device=problem.device), None
    if not placement.temporary:
        return zarr_store.create(placement.folder, shape, dtype, band_bytes), placement.folder
    folder = Path(tempfile.mkdtemp(prefix="gradlaw-", dir=placement.folder))
    gradients = zarr_store.create(folder, shape, dtype, band_bytes)
    weakref.finalize(gradients, shutil.rmtree, folder)
    return gradients, folder


class _Again(Exception):
    """What has been collected cannot stay, and is collected again."""


class _Collection:
    """The work of filling a matrix with the gradients of a run.

    Args:
        target: (T, n), in memory or on disk.
        choice: of the engine.
        stored: type of what is stored.
        transforms: applied on the way.
        unused: parameters on which the loss of the first minibatch does not depend.

    Attributes:
        unused: those on which no minibatch's loss depended, once all is collected.
        storage: what storing did to the gradients.
        notices: what was decided, in words.
    """

    def __init__(
        self,
        target: Tensor | zarr_store.DiskGradients,
        choice: EngineChoice,
        stored: torch.dtype,
        transforms: Sequence[Transform],
        unused: Sequence[str],
    ):
        self.target, self.choice, self.transforms = target, choice, transforms
        self.problem, self.minibatches = choice.problem, choice.minibatches
        self.unused, self.notices = list(unused), list[str]()
        self.storage = Storage(stored, self.problem.layout)

    def fill(self, progress: Progress) -> Tensor:
        """Collect everything; return the losses (T,)."""
        while True:
            self.storage = Storage(self.storage.dtype, self.problem.layout)
            label = f"collect gradients ({self.choice.engine.name})"
            with progress.stage(label, len(self.minibatches)) as advance:
                try:
                    return self._fill(advance)
                except (Disagreement, _Again):  # the choice has another engine by now, or the transforms other settings
                    continue

    def _fill(self, advance: Advance) -> Tensor:
        """Band by band of rows."""
        problem, dtype = self.problem, self.storage.dtype
        iterations = len(self.minibatches)
        losses = torch.empty(iterations, dtype=problem.dtype, device=problem.device)
        on_disk = self.target if isinstance(self.target, zarr_store.DiskGradients) else None
        height = iterations if on_disk is None else on_disk.chunks[0]
        buffer = (
            self.target
            if isinstance(self.target, Tensor)
            else torch.empty(height, problem.dimensions, dtype=dtype, device=problem.device)
        )
        apply = start_transforms(self.transforms, problem, self.unused)
        for top in range(0, iterations, height):
            band = buffer[: min(height, iterations - top)]
            for start, rows in self._chunks(top, band):
                losses[start : start + len(rows)] = self._collect(start, rows, apply)
                advance(len(rows))
            if on_disk is not None:
                on_disk.write(top, band)
        return losses

    def _chunks(self, top: int, band: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Pieces of a band, (first iteration, rows), as large as the engine of the moment wants them."""
        start = 0
        while start < len(band):
            end = min(start + self.choice.engine.chunk(self.minibatches.batch_size), len(band))
            yield top + start, band[start:end]
            start = end

    def _collect(self, start: int, kept: Tensor, apply: Apply) -> Tensor:
        """The gradients of iterations ``start`` onwards into rows of the stored type; returns the losses (C,)."""
        problem = self.problem
        # Engines and transforms work in the problem's type: on rows of their own where another is stored.
        apart = kept.dtype != problem.dtype
        rows = torch.empty(kept.shape, dtype=problem.dtype, device=problem.device) if apart else kept
        batches = [self.minibatches[t] for t in range(start, start + len(kept))]
        losses = self.choice.gradients(start, batches, rows)
        check_finite(losses, rows, start, problem.layout)
        self._note_used(rows)
        apply(rows)
        if apart:
            self.storage.store(rows, kept, start)
        return losses

    def _note_used(self, rows: Tensor) -> None:
        """Parameters that the first minibatch left out and others use."""
        parts = {part.name: part for part in self.problem.layout}
        used = [name for name in self.unused if rows[:, parts[name].start : parts[name].stop].any()]
        if not used:
            return
        self.unused = [name for name in self.unused if name not in used]
        self.notices.append(f"some minibatches depend on these parameters and others do not: {', '.join(used)}")
        if any(isinstance(transform, WeightDecay) for transform in self.transforms):
            raise _Again  # which is to act on all that is used
