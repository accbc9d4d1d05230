"""Squared norms of each process's gradient before ``DistributedDataParallel`` averages them, by a communication hook.

Each rank's gradient is that of its own part of the batch, so that the ranks are the parts that a noise scale needs,
without accumulation: the local norms are taken as buckets of gradients come up for the reduction, those of the batch as
they come back. One gather of a few numbers a layer follows, in :meth:`RankNorms.finish`.

That what comes back is the mean over the ranks is proved by probes: of each gradient h of n numbers the bilinear form
v^T H u, H being its n numbers in rows and u, v random vectors that all ranks share. The form of the mean is the mean of
the forms, and if the reduction gives anything else, so do they. Hooks that compress (PowerSGD) are refused by that.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from gradlaw import random_streams
from gradlaw.errors import InputError
from gradlaw.watch.microbatches import StepNorms, Weights, inner, part_weights

CommunicationHook: TypeAlias = Callable[[Any, Any], torch.futures.Future[Tensor]]


class RankNorms:
    """Watches the reductions of a ``DistributedDataParallel`` model: :meth:`start`, a step's passes, :meth:`finish`.

    The hook stays with the model, which takes one for good; between steps that are watched it only hands on. Gradients
    that accumulated under ``no_sync`` are in the buckets of the last pass.

    Args:
        model: it. It takes one communication hook: give the one that is wanted here.
        layers: by name, the parameters whose gradients are taken together.
        hook: what reduces the buckets; None for the mean over all ranks, as without a hook.
        state: the first argument of ``hook``; of no use without one.
        rounding: relative error that a reduced gradient may have; 1e-3 allows for hooks that reduce in half precision.

    Raises:
        InputError: no such model, a single rank, no layers, or a tensor that the model does not reduce.
    """

    def __init__(
        self,
        model: nn.parallel.DistributedDataParallel,
        layers: Mapping[str, Sequence[Tensor]],
        hook: CommunicationHook | None = None,
        state: Any = None,
        rounding: float = 1e-4,
    ):
        if not isinstance(model, nn.parallel.DistributedDataParallel):
            raise InputError(f"model must be a DistributedDataParallel, got a {type(model).__name__}")
        self._group = model.process_group
        if self._group.size() < 2:
            raise InputError("one rank has the whole batch: there are no parts of it to compare")
        self.layers = list(layers)
        self.rounding = rounding
        self._owner = {id(p): i for i, parameters in enumerate(layers.values()) for p in parameters}
        reduced = {id(p) for p in model.parameters() if p.requires_grad}
        if not self._owner or not set(self._owner) <= reduced:
            raise InputError("layers must have parameters, and only such as the model reduces the gradients of")
        self._device = next(p.device for parameters in layers.values() for p in parameters)
        self._hook, self._state = _default(self._group) if hook is None else (hook, state)
        self._watching = False
        model.register_comm_hook(None, self._reduce)

    def start(self) -> None:
        """Watch the next reduction of every bucket; what was watched before is forgotten."""
        zeros = partial(torch.zeros, len(self.layers), dtype=torch.float64, device=self._device)
        self._small, self._big, self._probe_small, self._probe_big = zeros(), zeros(), zeros(), zeros()
        self._reached: set[int] = set()
        self._watching = True

    def stop(self) -> None:
        """Only hand on from here on."""
        self._watching = False

    def finish(self, size: float, weights: Weights | None = None, unscaled_by: float = 1.0) -> StepNorms:
        """The norms of the step, the same on every rank; all of them have to call this.

        Args:
            size: samples of this rank's part of the batch.
            weights: how parts of different sizes count in the mean over ranks: "equal" where each rank's loss is the
                mean over its own samples, "samples" where it was multiplied by its size over the mean size. None where
                all sizes are equal.
            unscaled_by: the loss scale, by whose square all norms are divided.

        Raises:
            InputError: on all ranks alike, where one was not watched, had a size that is not positive, or the reduced
                gradients are not the mean over the ranks.
        """
        valid = self._watching and self._reached == set(self._owner)
        self._watching = False
        if not hasattr(self, "_small"):
            self.start()
            self.stop()
        small, probes, head = self._gathered(float(valid), float(size))
        if not head[:, 0].all():
            raise InputError(
                "not every rank had each watched parameter reduced between start() and finish(): call start() before "
                "the last backward pass of a step, and finish() after it"
            )
        if not (head[:, 1] > 0).all():
            raise InputError(f"sizes of the ranks' parts must be positive, got {head[:, 1].tolist()}")
        big, probe_big = self._big.cpu().numpy(), self._probe_big.cpu().numpy()
        self._refuse_other_mean(small, probes, probe_big)
        w = part_weights(head[:, 1], weights)
        small = small / (len(w) * w[:, None]) ** 2
        return StepNorms(small / unscaled_by**2, head[:, 1], big / unscaled_by**2, float(head[:, 1].sum()), w)

    def _gathered(self, *numbers: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of all ranks: local squares and probes, (ranks, layers) each, and the numbers."""
        head = torch.tensor(numbers, dtype=torch.float64, device=self._device)
        mine = torch.cat([self._small, self._probe_small, head])
        everyone = [torch.empty_like(mine) for _ in range(self._group.size())]
        torch.distributed.all_gather(everyone, mine, group=self._group)
        table = torch.stack(everyone).cpu().numpy()
        layers = len(self.layers)
        return table[:, :layers], table[:, layers : 2 * layers], table[:, 2 * layers :]

    def _refuse_other_mean(self, small: np.ndarray, probes: np.ndarray, reduced: np.ndarray) -> None:
        bound = np.sqrt(small).mean(axis=0)
        finite = np.isfinite(small).all(axis=0)
        wrong = np.flatnonzero(finite & ~(np.abs(probes.mean(axis=0) - reduced) <= 4 * self.rounding * bound))
        if len(wrong):
            raise InputError(
                f"layer {self.layers[wrong[0]]!r}: the reduced gradient is not the mean of the ranks' gradients; does "
                "the communication hook sum, compress or delay them?"
            )

    def _reduce(
        self,
        _: Any,
        bucket: torch.distributed.GradBucket,  # type: ignore[name-defined]
    ) -> torch.futures.Future[Tensor]:
        """The communication hook."""
        if not self._watching:
            return self._hook(self._state, bucket)
        start = bucket.buffer().storage_offset()
        places = []
        for p, gradient in zip(bucket.parameters(), bucket.gradients(), strict=True):
            if id(p) not in self._owner:
                continue
            self._reached.add(id(p))
            first = gradient.storage_offset() - start
            places.append((self._owner[id(p)], first, p.numel()))
            self._note(bucket.buffer()[first : first + p.numel()], places[-1], self._small, self._probe_small)
        future = self._hook(self._state, bucket)
        return future.then(partial(self._returned, places))

    def _returned(self, places: list[tuple[int, int, int]], future: torch.futures.Future[Any]) -> Tensor:
        value = future.value()
        buffer = value[0] if isinstance(value, list | tuple) else value
        for place in places:
            self._note(buffer[place[1] : place[1] + place[2]], place, self._big, self._probe_big)
        return buffer

    def _note(self, values: Tensor, place: tuple[int, int, int], squares: Tensor, probes: Tensor) -> None:
        squares[place[0]] += inner(values, values)
        probes[place[0]] += _form(values, place[0])


def _default(group: Any) -> tuple[CommunicationHook, Any]:
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

    return allreduce_hook, group


def _form(values: Tensor, seed: int) -> Tensor:
    """v^T H u of n numbers in rows of isqrt(n), those that fill no row as one more; float64."""
    flat = values.detach().reshape(-1)
    flat = flat if flat.dtype in (torch.float32, torch.float64) else flat.float()
    size = math.isqrt(len(flat))
    rows = len(flat) // size
    rng = np.random.default_rng([random_streams.RANK_PROBES, seed, len(flat)])
    u, v = (torch.from_numpy(rng.standard_normal(n)).to(flat) for n in (size, rows + 1))
    rest = flat[rows * size :]
    return (v[:-1] @ (flat[: rows * size].view(rows, size) @ u) + v[-1] * (rest @ u[: len(rest)])).double()
