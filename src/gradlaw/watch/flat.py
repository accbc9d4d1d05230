"""Tensors read as flat vectors, without a copy of them where their memory allows it."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

CHUNK = 2**17  # values at once: half a megabyte, which stays in the cache of a core


def chunks(tensors: Sequence[Tensor], size: int = CHUNK) -> Iterator[Tensor]:
    """The values of tensors, some at a time, in the order of memory and in no type narrower than float32."""
    for tensor in tensors:
        for part in in_memory_order(tensor).split(size):
            yield part if part.dtype in (torch.float32, torch.float64) else part.float()


def in_memory_order(tensor: Tensor) -> Tensor:
    """A flat view of a dense tensor whatever the order of its axes (channels last), else a flat copy."""
    order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    return tensor.permute(order).reshape(-1)


def sums(tensor: Tensor) -> tuple[float, float]:
    """The sum of the magnitudes, in the precision of the values, and of the squares, in float64."""
    if tensor.device.type != "cpu":
        order = (torch.linalg.vector_norm(tensor, power, dtype=torch.float64) ** power for power in (1, 2))
        one, two = torch.stack(list(order)).tolist()
        return one, two
    magnitudes = squares = 0.0
    for chunk in chunks([tensor]):
        wide = chunk.double()
        magnitudes += float(chunk.abs().sum())
        squares += float(torch.dot(wide, wide))
    return magnitudes, squares


class Places:
    """Chosen entries of a list of tensors, by their places in the vector that the tensors make one after the other.

    Args:
        places: ascending or not, each below the length of that vector.
        tensors: give the lengths and devices.
    """

    def __init__(self, places: np.ndarray, tensors: Sequence[Tensor]):
        ends = np.cumsum([tensor.numel() for tensor in tensors])
        owner = np.searchsorted(ends, places, side="right")
        starts = ends - [tensor.numel() for tensor in tensors]
        self.count = len(places)
        self._parts = [
            (which, torch.from_numpy(places[owner == which] - starts[which]).to(tensors[which].device))
            for which in np.unique(owner).tolist()
        ]

    def take(self, tensors: Sequence[Tensor | None]) -> Tensor:
        """The entries, in float64 on the host, those of one tensor after those of the other; zeros for None."""
        parts = []
        for which, index in self._parts:
            tensor = tensors[which]
            parts.append(torch.zeros(len(index)) if tensor is None else torch.take(tensor, index).cpu())
        return torch.cat([part.double() for part in parts])
