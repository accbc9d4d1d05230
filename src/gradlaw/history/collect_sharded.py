"""collect, by several ranks: each computes the gradients of some iterations, and keeps some dimensions of all."""

import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gradlaw.choices import DtypeName, EngineName
from gradlaw.history.collection import used_notice, used_of
from gradlaw.history.engines.choose import EngineChoice, choose_engine
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.history.engines.preflight import Findings, check_unchanged, inspect_problem, unused_notices
from gradlaw.history.engines.rounding_alone import rounding_alone
from gradlaw.history.engines.verify import Disagreement
from gradlaw.history.notices import repeat_notices, transform_notices
from gradlaw.history.same_problem import refuse_other_gradients, refuse_other_problems
from gradlaw.history.settings import HistorySettings
from gradlaw.history.sharded_history import ShardedHistory
from gradlaw.history.shared_store import keeping
from gradlaw.history.stores import zarr_store
from gradlaw.history.stores.placement import MEMORY
from gradlaw.history.stores.precision import DTYPES, Storage
from gradlaw.history.transform_order import start_transforms
from gradlaw.history.transforms import Clipping, Rows, Transform
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Advance, Progress
from gradlaw.ranks.group import RankGroup
from gradlaw.resources import free_memory, gram_bytes

_BAND_BYTES = 32 * 2**20  # of gradients that are computed, or sent, at once, if the engine does not want more


def collect_sharded(
    ranks: RankGroup,
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
) -> ShardedHistory:
    """:func:`gradlaw.collect` on several ranks, all of which call it; the history lies in their memory.

    Minibatches, and the random streams of iterations, are those of the whole run. Gradients are those of one rank but
    for rounding: an engine that computes several iterations at once has others side by side, plain autograd has the
    same bits. Clipping sees whole gradients; what an optimiser does along iterations is done by dimensions.

    Args:
        ranks: those that work together.
        problem: the same on every rank, which is proven.
        iterations: T, at least the number of ranks; this and the next five as for :func:`gradlaw.collect`.
        batch_size: B.
        seed: of the minibatches.
        engine: how gradients are computed.
        transforms: applied from left to right.
        store: a folder that every rank reads and writes, for the history to be kept in once it is collected; one that
            holds it already is read. Nothing is kept of a collection that does not come to its end. Default: none.
        replacement: draw each minibatch independently.
        dtype: type to keep gradients in, as for :func:`gradlaw.collect`. What an optimiser does along iterations is
            done in the type that they are computed in, which takes the memory of both.
        progress: where to show it.
        band_bytes: of a store, see :func:`gradlaw.collect`; each row of its chunks is written by one rank.

    Raises:
        InputError: as :func:`gradlaw.collect`; a problem or settings that differ between ranks, fewer iterations or
            dimensions than ranks, a history that does not fit in their memory. Where one rank cannot go on, all end.
    """
    asked = HistorySettings.asked(problem, iterations, batch_size, seed, engine, transforms, replacement, dtype)
    progress = progress or SILENT
    if min(asked.iterations, problem.dimensions) < ranks.size:
        raise ranks.common_error(
            f"{ranks.size} ranks share out {asked.iterations} iterations and {problem.dimensions} dimensions, and each "
            "needs at least one of both; take fewer ranks"
        )
    refuse_other_problems(ranks, problem, asked.as_dict(), asked.minibatches()[0])
    if store is None or store == MEMORY:
        return _collect(ranks, problem, asked, transforms, progress)
    with keeping(ranks, Path(store), problem, asked, band_bytes, progress) as kept:
        if kept.history is None:
            kept.write(_collect(ranks, problem, asked, transforms, progress))
        assert kept.history is not None
        return kept.history


def _collect(
    ranks: RankGroup, problem: Problem, asked: HistorySettings, transforms: Sequence[Transform], progress: Progress
) -> ShardedHistory:
    with ranks.together():
        reference, minibatches = LoopEngine(problem, asked.seed), asked.minibatches()
        findings = inspect_problem(problem, minibatches, reference, counted=asked.engine != "loop")
    refuse_other_gradients(ranks, findings.gradient)
    with ranks.together():
        choice = choose_engine(asked.engine, problem, minibatches, reference, findings)
        alone = rounding_alone(problem, minibatches, findings, reference)
    run = _ShardedCollection(ranks, choice, DTYPES[asked.storage.dtype], transforms, findings)
    run.refuse_too_large()
    run.fill(progress)
    with ranks.together():
        check_unchanged(problem, minibatches, findings, reference)
    unused = run.finish()
    return ShardedHistory(
        ranks=ranks,
        share=run.share,
        columns=run.columns,
        losses=run.losses,
        layout=problem.layout,
        unused=unused,
        rounding=max(findings.rounding, run.storage.rounding, *ranks.gather(choice.difference)),
        settings=replace(
            asked,
            engine=ranks.gather(choice.engine.name)[0],
            storage=run.storage.measured(),
            rounding_alone=tuple(alone),
        ),
        notices=[
            *unused_notices(unused),
            *findings.notices,
            *dict.fromkeys(notice for notices in ranks.gather(choice.notices) for notice in notices),
            *run.notices,
            *run.storage.notices(),
            *transform_notices(transforms),
            *repeat_notices(problem, asked),
        ],
    )


class _ShardedCollection:
    """The work of computing a share of the iterations and of keeping a share of the dimensions.

    All ranks compute a band of rows each, then exchange it, so that no rank ever holds more than its share and a band.

    Attributes:
        share: of this rank, (T, n / ranks).
        columns: which dimensions that is.
        losses: (T,).
        storage: what storing did to the gradients.
        notices: what was decided, in words.
    """

    def __init__(
        self, ranks: RankGroup, choice: EngineChoice, stored: torch.dtype, transforms: Sequence[Transform],
        findings: Findings,
    ):  # fmt: skip
        self.ranks, self.choice, self.problem, self._stored = ranks, choice, choice.problem, stored
        self._clipping = [transform for transform in transforms if isinstance(transform, Clipping)]
        self._along = [transform for transform in transforms if not isinstance(transform, Clipping)]
        # What acts along iterations works on whole series, in the type that they are computed in.
        self._kept = self.problem.dtype if self._along else stored
        self._iterations = ranks.shares(len(choice.minibatches))
        self._columns = ranks.shares(self.problem.dimensions)
        self.columns = self._columns[ranks.rank]
        self._unused = list(findings.unused)
        self._used = set[str]()
        self.notices = list[str]()

    def refuse_too_large(self) -> None:
        """Refuse, before the work, what the memory of some host does not hold.

        Raises:
            InputError: on every rank.
        """
        iterations, dimensions = len(self.choice.minibatches), self.problem.dimensions
        size = self.problem.dtype.itemsize
        share = self._kept.itemsize + (self._stored.itemsize if self._kept != self._stored else 0)
        needed = iterations * len(self._columns[-1]) * share + gram_bytes(iterations)
        needed += dimensions * size * (self._height() + 2 * self._step())
        place = f"{socket.gethostname()} ({self.problem.device})"
        places = self.ranks.gather((place, free_memory(self.problem.device)))
        for name in dict(places):
            free, there = min(f for p, f in places if p == name), sum(p == name for p, _ in places)
            if needed * there > free:
                raise self.ranks.common_error(
                    f"T={iterations:,} x n={dimensions:,} takes {needed / 1e9:.2f} GB on each of {self.ranks.size} "
                    f"ranks, of which {there} share the {free / 1e9:.2f} GB of memory that are free on {name}; lower "
                    "T, or take ranks on more machines"
                )

    def fill(self, progress: Progress) -> None:
        """Collect everything."""
        problem, iterations = self.problem, len(self.choice.minibatches)
        self.share = torch.empty(iterations, len(self.columns), dtype=self._kept, device=problem.device)
        self.losses = torch.zeros(iterations, dtype=problem.dtype, device=problem.device)
        whole = False
        while not whole:
            label = f"collect gradients ({self.choice.engine.name}, {self.ranks.size} ranks)"
            with progress.stage(label, iterations) as advance:
                whole = self._filled(advance)

    def finish(self) -> list[str]:
        """Put parts together, and apply what goes along iterations; returns the unused parameters."""
        self.ranks.sum(self.losses)
        used = set().union(*self.ranks.gather(self._used))
        unused = [name for name in self._unused if name not in used]
        if used:
            self.notices.append(used_notice([name for name in self._unused if name in used]))
        own = slice(self.columns.start, self.columns.stop)
        start_transforms(self._along, Rows(self.problem, unused, columns=own))(self.share)
        if self._kept != self._stored:
            narrow = torch.empty(self.share.shape, dtype=self._stored, device=self.share.device)
            self.storage.store_columns(self.share, narrow, self.columns, self.ranks)
            self.share = narrow
        elif self._stored != self.problem.dtype:
            self.storage.join(self.ranks)
        return unused

    def _filled(self, advance: Advance) -> bool:
        """Whether all was collected; False where an engine was left, so that all has to be computed again."""
        height, mine = self._height(), self._iterations[self.ranks.rank]
        clip = start_transforms(self._clipping, Rows(self.problem))
        self.storage = Storage(self._stored, self.problem.layout)
        rows = torch.empty(height, self.problem.dimensions, dtype=self.problem.dtype, device=self.problem.device)
        self.losses.zero_()
        for start in range(0, max(map(len, self._iterations)), height):
            band = mine[start : start + height]
            if not self._collected(band, rows[: len(band)]):
                return False
            if band:
                clip(rows[: len(band)])
            self._exchange(
                self._rounded(band, rows[: len(band)]), [its[start : start + height] for its in self._iterations]
            )
            advance(sum(len(its[start : start + height]) for its in self._iterations))
        return True

    def _rounded(self, band: range, rows: Tensor) -> Tensor:
        """The rows in the type that they are kept in."""
        if self._kept == rows.dtype:
            return rows
        narrow = torch.empty(rows.shape, dtype=self._kept, device=rows.device)
        with self.ranks.together():
            if band:
                self.storage.store(rows, narrow, band.start)
        return narrow

    def _collected(self, band: range, rows: Tensor) -> bool:
        """Whether every rank has the gradients of its band; where an engine is wrong on one, all leave it."""
        left, name = None, self.choice.engine.name
        with self.ranks.together():
            try:
                self._compute(band, rows)
            except Disagreement as error:  # the choice has another engine by now
                left = name, str(error)
        everywhere = [other for other in self.ranks.gather(left) if other is not None]
        with self.ranks.together():
            for engine, reason in everywhere:
                if self.choice.engine.name == engine:
                    self.choice.leave(Disagreement(reason), band.start)
        return not everywhere

    def _compute(self, band: range, rows: Tensor) -> None:
        """The gradients of a band of iterations into ``rows``, and their losses."""
        for piece in self.choice.pieces(len(band)):
            some = band[piece]
            self.losses[some.start : some.stop] = self.choice.finite_gradients(some.start, rows[piece])
            self._used |= set(used_of(self._unused, rows[piece], self.problem.layout))

    def _exchange(self, rows: Tensor, bands: Sequence[range]) -> None:
        """Send every rank its dimensions of ``rows``, and keep this one's of what all have computed."""
        step = self._step()
        for start in range(0, max(map(len, bands)), step):
            sent = [rows[start : start + step, columns.start : columns.stop] for columns in self._columns]
            places = [band[start : start + step] for band in bands]
            received = self.ranks.exchange(sent, [(len(place), len(self.columns)) for place in places])
            for place, piece in zip(places, received, strict=True):
                self.share[place.start : place.stop] = piece

    def _height(self) -> int:
        """Rows that a rank computes before the next exchange, the same on every rank."""
        chunks = self.ranks.gather(self.choice.engine.chunk(self.choice.minibatches.batch_size))
        return min(max(*chunks, self._step()), max(map(len, self._iterations)))

    def _step(self) -> int:
        """Rows that are sent at once."""
        return max(1, _BAND_BYTES // (self.problem.dimensions * self.problem.dtype.itemsize))
