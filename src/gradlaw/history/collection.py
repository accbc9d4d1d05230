"""Filling a matrix with the gradients of a run, band by band, from wherever an earlier call came to."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gradlaw.atomic import full_disk_explained
from gradlaw.history.engines.choose import EngineChoice
from gradlaw.history.engines.verify import Disagreement
from gradlaw.history.sketched_history import RowReducer
from gradlaw.history.stores.precision import Storage
from gradlaw.history.stores.unfinished import Unfinished
from gradlaw.history.stores.zarr_store import GRADIENTS, DiskGradients, group_digest, metadata_digests
from gradlaw.history.transform_order import start_transforms
from gradlaw.history.transforms import Apply, Memory, Rows, Transform, WeightDecay
from gradlaw.problem import ParameterSlice
from gradlaw.progress import Advance, Progress

_REDUCED_BYTES = 2**28  # of gradients that are there at once where little is kept of each
_LOSSES, _MEMORY = "losses", "memory "


def used_of(names: Sequence[str], rows: Tensor, layout: Sequence[ParameterSlice]) -> list[str]:
    """Those of the named parameters that have a gradient in any of the rows (C, n)."""
    return [part.name for part in layout if part.name in names and rows[:, part.start : part.stop].any()]


def used_notice(names: Sequence[str]) -> str:
    """In words: parameters that the first minibatch left out and others use."""
    return f"some minibatches depend on these parameters and others do not: {', '.join(names)}"


class _Again(Exception):
    """What has been collected cannot stay, and is collected again."""


class Collection:
    """The work of filling a matrix with the gradients of a run.

    Args:
        target: (T, n), in memory or on disk.
        choice: of the engine.
        stored: type of what is stored.
        transforms: applied on the way.
        unused: parameters on which the loss of the first minibatch does not depend.
        unfinished: where to note how far it is, so that it can go on; None where there is no use for that.
        reducer: of each gradient to what is kept of it, a row of the matrix; None to keep all n values.

    Attributes:
        losses: of the iterations that are done, (T,).
        unused: those on which no minibatch's loss depended, once all is collected.
        storage: what storing did to the gradients.
        notices: what was decided, in words.
    """

    def __init__(
        self,
        target: Tensor | DiskGradients,
        choice: EngineChoice,
        stored: torch.dtype,
        transforms: Sequence[Transform],
        unused: Sequence[str],
        unfinished: Unfinished | None = None,
        reducer: RowReducer | None = None,
    ):
        self.target, self.choice, self.transforms, self.unfinished = target, choice, transforms, unfinished
        self.problem, self.minibatches = choice.problem, choice.minibatches
        self.unused, self.notices = list(unused), list[str]()
        self._stored, self._reducer = stored, reducer
        self._begin()

    def _begin(self) -> None:
        """Nothing is collected yet."""
        self.done = 0  # iterations, whole bands of them
        self.storage = Storage(self._stored, self.problem.layout)
        self.memory: Memory = {}
        self.losses = torch.empty(len(self.minibatches), dtype=self.problem.dtype, device=self.problem.device)

    def fill(self, progress: Progress) -> None:
        """Collect everything that is not there yet."""
        while True:
            label = f"collect gradients ({self.choice.engine.name})"
            with progress.stage(label, len(self.minibatches)) as advance:
                advance(self.done)
                try:
                    return self._fill(advance)
                except (Disagreement, _Again):  # the choice has another engine by now, or the transforms other settings
                    self._begin()
                    self.save()

    def restore(self, state: dict[str, Any], arrays: dict[str, Tensor]) -> None:
        """Go on from what :meth:`save` saved."""
        device = self.problem.device
        self.done, self.unused, self.notices = state["done"], state["unused"], state["notices"]
        self.choice.restore(state["choice"])
        self.storage.restore(state["storage"])
        self.losses[: self.done] = arrays[_LOSSES].to(device)
        self.memory = {
            name.removeprefix(_MEMORY): value.to(device if value.ndim else "cpu")
            for name, value in arrays.items()
            if name.startswith(_MEMORY)
        }

    def save(self) -> None:
        """Note how far it is, on the disk."""
        if self.unfinished is None:
            return
        state = {
            "done": self.done,
            "unused": self.unused,
            "notices": self.notices,
            "choice": self.choice.state(),
            "storage": self.storage.state(),
            "metadata": metadata_digests(self.unfinished.folder)[GRADIENTS],
            "group": group_digest(self.unfinished.folder),
        }
        memory = {_MEMORY + name: value for name, value in self.memory.items()}
        self.unfinished.save(state, {_LOSSES: self.losses[: self.done], **memory})

    def _fill(self, advance: Advance) -> None:
        """Band by band of rows."""
        problem = self.problem
        iterations = len(self.minibatches)
        on_disk = self.target if isinstance(self.target, DiskGradients) else None
        height = iterations if on_disk is None else on_disk.chunks[0]
        buffer = (
            self.target
            if isinstance(self.target, Tensor)
            else torch.empty(height, self.target.shape[1], dtype=self._stored, device=problem.device)
        )
        apply = start_transforms(self.transforms, Rows(problem, self.unused, self.memory))
        for top in range(self.done, iterations, height):
            band = buffer[: min(height, iterations - top)]
            self.collect_band(top, band, apply, advance)
            if on_disk is not None:
                self._keep(on_disk, band)

    def collect_band(self, top: int, band: Tensor, apply: Apply, advance: Advance) -> None:
        """The gradients of the iterations from ``top`` on into a band, and their losses into :attr:`losses`.

        Args:
            top: the first of them.
            band: rows of the stored type.
            apply: the transforms; of those that carry something from row to row all rows before have to be through.
            advance: is told how many are done.
        """
        most = None
        if self._reducer is not None:
            most = max(1, _REDUCED_BYTES // (self.problem.dimensions * self.problem.dtype.itemsize))
        for piece in self.choice.pieces(len(band), most):
            self.losses[top + piece.start : top + piece.stop] = self._collect(top + piece.start, band[piece], apply)
            advance(piece.stop - piece.start)

    def _keep(self, on_disk: DiskGradients, band: Tensor) -> None:
        """Write a band, and note it once it is on the disk."""
        with full_disk_explained(on_disk.folder, *self.remedy()):
            on_disk.write(self.done, band)
        self.done += len(band)
        self.save()

    def remedy(self) -> tuple[str, str]:
        """What is kept where the disk is full, and what to do then."""
        if self.unfinished is None:
            return "the history was a temporary one, and is lost", "collect again, into a folder of your own as store"
        return (
            f"the gradients of {self.done:,} of {len(self.minibatches):,} iterations are kept",
            "make the same call again: it goes on from there",
        )

    def _collect(self, start: int, kept: Tensor, apply: Apply) -> Tensor:
        """The gradients of iterations ``start`` onwards into rows of the stored type; returns the losses (C,)."""
        problem = self.problem
        # Engines and transforms work in the problem's type: on rows of their own where another is stored.
        apart = kept.dtype != problem.dtype or self._reducer is not None
        shape = len(kept), problem.dimensions
        rows = torch.empty(shape, dtype=problem.dtype, device=problem.device) if apart else kept
        losses = self.choice.finite_gradients(start, rows)
        self._note_used(rows)
        apply(rows)
        if self._reducer is not None:
            self._reducer.reduce(start, rows, kept)
        elif apart:
            self.storage.store(rows, kept, start)
        return losses

    def _note_used(self, rows: Tensor) -> None:
        """Parameters that the first minibatch left out and others use."""
        used = used_of(self.unused, rows, self.problem.layout)
        if not used:
            return
        self.unused = [name for name in self.unused if name not in used]
        self.notices.append(used_notice(used))
        if any(isinstance(transform, WeightDecay) for transform in self.transforms):
            raise _Again  # which is to act on all that is used
