"""What one pass over a gradient finds: its squared norm, zeros, values that are not finite, and its largest magnitudes.

The largest magnitudes are exact and need no copy of the gradient: a chunk's values are kept only if they are at least
the k-th largest so far.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.watch.flat import chunks, in_memory_order

_THINNED = 16  # one of so many values is looked at for a guess
_SPARE = 4  # times k values are kept before all but the k largest are let go


@dataclass(frozen=True, eq=False)
class TailScan(ByValue):
    """One gradient in numbers.

    Attributes:
        n: how many values it has.
        squared_norm: sum of their squares, float64; infinite or NaN if one is not finite.
        zeros: how many are exactly zero.
        non_finite: how many are infinite or NaN.
        largest: the k largest magnitudes (all, if there are fewer), descending, float64; empty if one is not finite.
    """

    n: int
    squared_norm: float
    zeros: int
    non_finite: int
    largest: np.ndarray

    def unscaled(self, scale: float) -> "TailScan":
        """The same of the gradient divided by ``scale``."""
        return TailScan(self.n, self.squared_norm / scale**2, self.zeros, self.non_finite, self.largest / scale)


def scan(gradient: Sequence[Tensor], k: int) -> TailScan:
    """Look once at a gradient that comes as tensors, on the host or a device."""
    on_host = all(tensor.device.type == "cpu" for tensor in gradient)
    return _scan_on_host(gradient, k) if on_host else _scan_on_device(gradient, k)


def joined(scans: Sequence[TailScan], k: int) -> TailScan:
    """The scan of several gradients as one vector; each has to hold its own k largest."""
    largest = np.concatenate([one.largest for one in scans])
    non_finite = sum(one.non_finite for one in scans)
    return TailScan(
        n=sum(one.n for one in scans),
        squared_norm=float(np.sum([one.squared_norm for one in scans])),
        zeros=sum(one.zeros for one in scans),
        non_finite=non_finite,
        largest=np.empty(0) if non_finite else _descending(largest, k),
    )


def _scan_on_host(gradient: Sequence[Tensor], k: int) -> TailScan:
    n = zeros = non_finite = 0
    squared_norm, tail = 0.0, _Tail(k)
    for chunk in chunks(gradient):
        magnitudes = np.abs(chunk.numpy())
        wide = chunk.double()
        square = float(torch.dot(wide, wide))
        if not np.isfinite(square):
            non_finite += len(magnitudes) - int(np.isfinite(magnitudes).sum())
        n, zeros, squared_norm = n + len(magnitudes), zeros + _zeros(magnitudes), squared_norm + square
        if not non_finite:
            tail.add(magnitudes)
    return TailScan(n, squared_norm, zeros, non_finite, np.empty(0) if non_finite else tail.largest(n))


def _scan_on_device(gradient: Sequence[Tensor], k: int) -> TailScan:
    """The same by torch, with two answers waited for: the counts, and the tail."""
    flat = torch.cat([in_memory_order(tensor) for tensor in gradient])
    finite = torch.isfinite(flat)
    squared_norm = torch.linalg.vector_norm(flat, dtype=torch.float64).square()
    counts = torch.stack([squared_norm, (flat == 0).sum().double(), (~finite).sum().double()]).tolist()
    largest = flat.abs().topk(min(k, len(flat))).values.double().cpu().numpy() if counts[2] == 0 else np.empty(0)
    return TailScan(len(flat), counts[0], int(counts[1]), int(counts[2]), largest)


def _zeros(magnitudes: np.ndarray) -> int:
    return len(magnitudes) - int(np.count_nonzero(magnitudes.view(f"u{magnitudes.itemsize}")))


class _Tail:
    """The k largest of magnitudes that come in chunks; zeros are counted in by their number alone."""

    def __init__(self, k: int):
        self._k, self._least, self._kept, self._parts = k, 0.0, 0, [np.empty(0)]

    def add(self, magnitudes: np.ndarray) -> None:
        chosen = magnitudes[magnitudes >= self._least] if self._least else self._first(magnitudes)
        if len(chosen) > _SPARE * self._k:
            chosen = np.partition(chosen, len(chosen) - self._k)[-self._k :]
        self._parts.append(chosen.astype(np.float64))
        self._kept += len(chosen)
        if self._kept > _SPARE * self._k or (self._kept >= self._k and not self._least):
            self._parts = [_descending(np.concatenate(self._parts), self._k)]
            self._kept, self._least = self._k, float(self._parts[0][-1])

    def _first(self, magnitudes: np.ndarray) -> np.ndarray:
        """At least k of the largest, if so many are not zero, by a guess from some of them: a tenth of the time."""
        some = np.sort(magnitudes[::_THINNED])
        rank = 2 * self._k // _THINNED + 8
        if rank < len(some) and some[-rank] > 0:
            chosen = magnitudes[magnitudes >= some[-rank]]
            if len(chosen) >= self._k:
                return chosen
        return magnitudes[magnitudes > 0]

    def largest(self, n: int) -> np.ndarray:
        """Of n magnitudes in all."""
        found = _descending(np.concatenate(self._parts), self._k)
        return np.concatenate([found, np.zeros(min(self._k, n) - len(found))])


def _descending(values: np.ndarray, k: int) -> np.ndarray:
    kept = np.partition(values, len(values) - k)[-k:] if len(values) > k else values
    return np.sort(kept)[::-1].copy()
