"""A history that ranks share, kept in one store on a disk that all of them see: each writes whole chunks of its own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch

from gradlaw.atomic import full_disk_explained
from gradlaw.history.gradient_history import GradientHistory
from gradlaw.history.resume import clear, identity_of, read_unfinished, reopen_finished
from gradlaw.history.settings import HistorySettings
from gradlaw.history.sharded_history import ShardedHistory
from gradlaw.history.stores import zarr_store
from gradlaw.history.stores.placement import place
from gradlaw.history.stores.precision import DTYPES
from gradlaw.history.stores.unfinished import Unfinished
from gradlaw.problem import Problem
from gradlaw.progress import Progress
from gradlaw.ranks import RankGroup

_LOST = "nothing of the gradients is kept", "free some of it, and make the same call again"


class SharedStore:
    """The folder, which the first rank has locked.

    Attributes:
        history: that it holds, as soon as it does.
    """

    def __init__(
        self, ranks: RankGroup, folder: Path, problem: Problem, asked: HistorySettings, band_bytes: int,
        progress: Progress,
    ):  # fmt: skip
        self.ranks, self.folder, self._problem, self._band_bytes = ranks, folder, problem, band_bytes
        self._unfinished = Unfinished(folder, identity_of(problem, asked))
        self.history: ShardedHistory | None = None
        if ranks.first(lambda: zarr_store.is_finished(folder)):
            self.history = self._read(asked)
            progress.say(f"read the gradient history that {folder} holds: same problem, same settings")
        else:
            ranks.first(lambda: self._prepare(asked, progress))

    def write(self, history: ShardedHistory) -> None:
        """Keep a history.

        Raises:
            InputError: a rank does not see the folder, or its disk is full.
        """
        shape, dtype = history.shape, history.share.dtype
        self.ranks.first(lambda: self._create(shape, dtype))
        with self.ranks.together():
            gradients = zarr_store.reopen(self.folder)
        bands = self._bands(shape[0], gradients.chunks[0])
        for number in range(max(map(len, bands))):
            rows = [own[number] if number < len(own) else range(0) for own in bands]
            pieces = [history.share[r.start : r.stop] for r in rows]
            own = rows[self.ranks.rank]
            widths = map(len, self.ranks.shares(shape[1]))
            whole = torch.cat(self.ranks.exchange(pieces, [(len(own), width) for width in widths]), dim=1)
            with self.ranks.together(), full_disk_explained(self.folder, *_LOST):
                if own:
                    gradients.write(own.start, whole)
        self.ranks.first(lambda: self._finish(history))
        self.history = history

    def _bands(self, iterations: int, height: int) -> list[list[range]]:
        """By rank, the rows that it writes: whole rows of chunks, so that none has two writers."""
        shares = self.ranks.shares(-(-iterations // height))
        return [[range(i * height, min((i + 1) * height, iterations)) for i in own] for own in shares]

    def _create(self, shape: tuple[int, int], dtype: torch.dtype) -> None:
        self._unfinished.save({}, {})  # before anything else is in the folder
        with full_disk_explained(self.folder, *_LOST):
            zarr_store.create(self.folder, shape, dtype, self._band_bytes, durable=True)

    def _finish(self, history: ShardedHistory) -> None:
        record = history.record() | {"problem": self._problem.describe()}
        with full_disk_explained(self.folder, *_LOST):
            zarr_store.finish(self.folder, history.losses, record)
        self._unfinished.remove()

    def _prepare(self, asked: HistorySettings, progress: Progress) -> None:
        """Refuse a folder of something else and a disk that is too small; empty one of an unfinished collection."""
        if read_unfinished(self._unfinished, asked, progress) is not None:
            progress.say(f"collect the gradient history in {self.folder} again from the beginning: one rank began it")
            clear(self.folder)
        placement = place(self.folder, self._problem, asked.iterations, DTYPES[asked.storage.dtype], self._band_bytes)
        progress.say(str(placement.announcement))

    def _read(self, asked: HistorySettings) -> ShardedHistory:
        """The history that is there, each rank its dimensions of it."""
        columns = self.ranks.share(self._problem.dimensions)
        with self.ranks.together():
            kept = reopen_finished(self.folder, self._problem, asked)
            assert isinstance(kept, GradientHistory)  # several ranks keep no sketches
            share = torch.empty(len(kept), len(columns), dtype=kept.dtype, device=self._problem.device)
            height = zarr_store.open_store(self.folder)[0].chunks[0]
            for top in range(0, len(kept), height):
                share[top : top + height] = kept.gradients[top : top + height, columns.start : columns.stop]
        return ShardedHistory(
            ranks=self.ranks, share=share, columns=columns, losses=kept.losses.to(share.device), layout=kept.layout,
            unused=kept.unused, rounding=kept.rounding, settings=kept.settings, notices=kept.notices,
        )  # fmt: skip


@contextmanager
def keeping(
    ranks: RankGroup, folder: Path, problem: Problem, asked: HistorySettings, band_bytes: int, progress: Progress
) -> Iterator[SharedStore]:
    """The store of a history, in a folder that nobody else writes meanwhile.

    Raises:
        InputError: it holds another history, or something else, or a damaged one; another process writes it; a rank
            does not see it, or its disk is too small.
    """
    with ExitStack() as stack:
        with ranks.together():
            if ranks.is_first:
                stack.enter_context(zarr_store.writing(folder))
        yield SharedStore(ranks, folder, problem, asked, band_bytes, progress)
