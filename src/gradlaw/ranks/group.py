"""The ranks that work on one thing, and the few things that they exchange: plain collectives of ``torch.distributed``.

One rank alone needs no process group, and pays nothing: its sums are what they were, and nothing is sent.
"""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor

from gradlaw._torch import default_store
from gradlaw.choices import RANK_CHOICES
from gradlaw.errors import InputError, OfAnotherRank, RankLost, choice, listed
from gradlaw.ranks.lifeline import Lifeline
from gradlaw.ranks.processes import distributed, world_size

Result = TypeVar("Result")
_JOIN_SECONDS = 300  # for ranks to come that read data or write files at their own pace
_CONNECT_SECONDS = 45  # for those that were there a moment ago
_WORK = timedelta(days=1)  # one rank computes while others wait; a rank that dies is seen by other means


class RankGroup:
    """The ranks that work together; all of them call the same methods in the same order.

    Args:
        rank: which of them this is, from 0.
        size: how many there are.
        objects: the group of processes by which objects and tensors of the CPU go; None for one rank alone.
        tensors: the one by which tensors of a GPU go; None where they go over the CPU.
    """

    def __init__(self, rank: int = 0, size: int = 1, objects: Any = None, tensors: Any = None):
        self.rank, self.size = rank, size
        self._objects, self._tensors = objects, tensors
        self._lifeline: Lifeline | None = None

    def __repr__(self) -> str:
        return f"RankGroup(rank {self.rank} of {self.size})"

    @property
    def is_first(self) -> bool:
        """Whether this one prints and writes for all."""
        return self.rank == 0

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Work inside which a rank that dies is named, and ends the others; see :class:`Lifeline`.

        Raises:
            RankLost: inside, where a collective fails because a rank has died.
        """
        if self.size == 1 or self._lifeline is not None:
            yield
            return
        try:
            with Lifeline(self.rank, self.size, gather_by_store) as self._lifeline:
                yield
        finally:
            self._lifeline = None

    def shares(self, total: int) -> list[range]:
        """``total`` things in one run of neighbours a rank, whose lengths differ by at most one."""
        edges = [total * rank // self.size for rank in range(self.size + 1)]
        return [range(start, stop) for start, stop in pairwise(edges)]

    def share(self, total: int) -> range:
        """Those of this rank."""
        return self.shares(total)[self.rank]

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, in place and with the same bits on each."""
        if self.size == 1:
            return tensor
        sent, group = self._sent(tensor)
        self._call(torch.distributed.all_reduce, sent, group=group)
        return tensor if sent is tensor else tensor.copy_(sent)

    def sum_of(self, work: Callable[[Tensor], None], zeros: Tensor) -> Tensor:
        """The sum over ranks of what ``work`` adds to zeros, on every rank; none goes on where that of one fails.

        Whether one has failed is a number of the sum, so that nothing else is exchanged where none has.

        Args:
            work: of this rank; it exchanges nothing.
            zeros: what it adds to.

        Raises:
            Exception: as :meth:`together`.
        """
        if self.size == 1:
            work(zeros)
            return zeros
        flat, failure = zeros.new_zeros(zeros.numel() + 1), None
        try:
            work(flat[:-1].view(zeros.shape))
        except Exception as error:
            failure = error
            flat[-1] = 1
        if float(self.sum(flat)[-1]):
            with self.together():
                if failure is not None:
                    raise failure
        return flat[:-1].view(zeros.shape)

    def gather(self, value: Result) -> list[Result]:
        """What each rank has, in their order, on every rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        self._call(torch.distributed.all_gather_object, values, value, group=self._objects)
        return values

    def broadcast(self, tensor: Tensor, source: int) -> Tensor:
        """The tensor of rank ``source``, written to that of every other, which has its shape and type."""
        if self.size == 1:
            return tensor
        sent, group = self._sent(tensor)
        self._call(torch.distributed.broadcast, sent, source, group=group)
        return tensor if sent is tensor else tensor.copy_(sent)

    def exchange(self, pieces: Sequence[Tensor], shapes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Send a matrix to each rank and get one from each.

        Args:
            pieces: one a rank, of one type, what this rank keeps for itself included; they may be empty.
            shapes: of what comes from each rank.
        """
        if self.size == 1:
            return list(pieces)
        flat = torch.cat([piece.reshape(-1) for piece in pieces])
        size = flat.element_size()
        sent, group = self._sent(flat.view(torch.uint8))  # backends do not send every type
        sizes = [rows * columns for rows, columns in shapes]
        received = sent.new_empty(size * sum(sizes))
        parts = [size * piece.numel() for piece in pieces]
        self._call(torch.distributed.all_to_all_single, received, sent, [size * s for s in sizes], parts, group=group)
        matrices = received.to(flat.device).view(flat.dtype).split(sizes)
        return [matrix.view(shape) for matrix, shape in zip(matrices, shapes, strict=True)]

    def joined(self, piece: Tensor, total: int) -> Tensor:
        """(rows, total) on every rank, of which this one has the columns :meth:`share` (rows, total / ranks)."""
        if self.size == 1:
            return piece
        shapes = [(len(piece), len(columns)) for columns in self.shares(total)]
        return torch.cat(self.exchange([piece] * self.size, shapes), dim=1)

    def least_part(self, place: str, amount: float) -> float:
        """What each rank may take of something of which ranks on one machine have ``amount`` together.

        Args:
            place: what they share, in words; on another machine it is another.
            amount: of it, as this rank sees it.
        """
        if self.size == 1:
            return amount
        places = self.gather((f"{socket.gethostname()} {place}", amount))
        return min(least / sum(other == name for other, _ in places) for name, least in places)

    def refuse_differences(self, values: Mapping[str, Any]) -> None:
        """Refuse what is not the same on every rank.

        Args:
            values: by name, plain data.

        Raises:
            InputError: names what differs, and on which rank.
        """
        everyone = self.gather(dict(values))
        for rank, others in enumerate(everyone):
            different = [name for name in everyone[0] | others if everyone[0].get(name) != others.get(name)]
            if different:
                raise self.common_error(f"rank {rank} of {self.size} has other {listed(different)} than rank 0")

    def common_error(self, message: str) -> InputError:
        """The error that all ranks raise together, of which the first tells."""
        self._agree()
        return InputError(message) if self.is_first else OfAnotherRank(message)

    def first(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns on the first rank, on every rank; the others wait for it.

        Raises:
            Exception: that of ``work`` on the first rank, :class:`OfAnotherRank` on the others.
        """
        if self.size == 1:
            return work()
        with self.together():
            value = work() if self.is_first else None
        values = [value]
        self._call(torch.distributed.broadcast_object_list, values, 0, group=self._objects)
        result: Any = values[0]
        return result

    @contextmanager
    def together(self) -> Iterator[None]:
        """All ranks reach the end of what is inside, without an error, or none goes on. Nothing is exchanged inside.

        Raises:
            Exception: that of this rank, or :class:`OfAnotherRank` for that of the first rank that has one.
        """
        if self.size == 1:
            yield
            return
        try:
            yield
        except RankLost:
            raise
        except Exception as error:
            message = _told(error)
            first = self.gather(message).index(message)
            self._agree()
            if first < self.rank:  # which says the same
                raise OfAnotherRank(message) from error
            raise
        self.refuse_failures(self.gather(None))

    def refuse_failures(self, errors: Sequence[str | None]) -> None:
        """End where a rank had an error.

        Args:
            errors: one a rank, None where there is none.

        Raises:
            OfAnotherRank: for the first of them.
        """
        for rank, error in enumerate(errors):
            if error is not None:
                self._agree()
                raise OfAnotherRank(f"rank {rank} of {self.size}: {error}")

    def _agree(self) -> None:
        """All ranks know that they end."""
        if self._lifeline is not None:
            self._lifeline.agreed = True

    def _call(self, collective: Callable[..., Any], *arguments: Any, group: Any) -> None:
        try:
            collective(*arguments, group=group)
        except RuntimeError as error:
            if self._lifeline is None:
                raise
            raise self._lifeline.explain(error) from error

    def _sent(self, tensor: Tensor) -> tuple[Tensor, Any]:
        """A tensor as it travels, and the group by which it does."""
        if self._tensors is not None and tensor.device.type == "cuda":
            return tensor.contiguous(), self._tensors
        return tensor.cpu().contiguous(), self._objects


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


ALONE = RankGroup()
_joined: list[tuple[Any, RankGroup]] = []  # the last, with the default group that it was made in
_calls = 0


def join(seconds: float = _JOIN_SECONDS) -> RankGroup:
    """The ranks of the process group that has been initialised, all of which call this; else one rank alone.

    Messages go through groups of their own, so that neither their order nor their time limit is that of others.

    Args:
        seconds: to wait for the others.

    Raises:
        InputError: a rank did not come.
    """
    if world_size() == 1:
        return ALONE
    gather_by_store("", seconds)
    dist, default = distributed(), torch.distributed.group.WORLD
    assert dist is not None
    if _joined and _joined[0][0] is default:
        return _joined[0][1]
    with Lifeline(dist.get_rank(), dist.get_world_size(), gather_by_store):  # to connect takes all ranks
        objects = dist.new_group(backend="gloo", timeout=_WORK)
        has_nccl = "nccl" in dist.get_backend()
        tensors = dist.new_group(backend="nccl", timeout=_WORK) if has_nccl else None
        _joined[:] = [(default, RankGroup(dist.get_rank(), dist.get_world_size(), objects, tensors))]
    return _joined[0][1]


def those_asked(ranks: str) -> RankGroup:
    """The ranks of the process group for ``"all"``, as :func:`join` finds them; this process alone for ``"one"``.

    Raises:
        InputError: another word, or a rank did not come.
    """
    return join() if choice(ranks, "ranks", RANK_CHOICES) == "all" else ALONE


def gather_by_store(value: str, seconds: float = _CONNECT_SECONDS) -> list[str]:
    """What each rank has, in their order, by the store of the process group: a few words, while no rank may be there.

    Args:
        value: of this rank.
        seconds: to wait for the others, which a collective would do for half an hour and without their names.

    Raises:
        InputError: names the ranks that did not come.
    """
    global _calls
    _calls += 1
    store, rank, size = default_store(), torch.distributed.get_rank(), torch.distributed.get_world_size()
    keys = [f"gradlaw/{_calls}/{other}" for other in range(size)]
    store.set(keys[rank], value)
    try:
        store.wait(keys, timedelta(seconds=seconds))
    except RuntimeError as error:  # torch.distributed.DistStoreError, and of older versions its base
        absent = [str(other) for other, key in enumerate(keys) if not store.check([key])]
        raise InputError(
            f"rank {listed(absent)} of {size} did not come within {seconds:.0f} s: every rank of the process group "
            'makes the same call; for one process by itself pass ranks="one"'
        ) from error
    return [store.get(key).decode() for key in keys]
