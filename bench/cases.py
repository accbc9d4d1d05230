"""The networks, inputs and minibatches that contenders share, by way of a folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from peers.models import MODELS
from torch import Tensor, nn

_SAMPLES_AT_ONCE, _LEAST_ITERATIONS_AT_ONCE = 128, 4  # the peers are fastest so, measured on LeNet
_GRADIENT_BYTES_AT_ONCE = 128 * 2**20


@dataclass(frozen=True)
class Case:
    """A network at PyTorch's initialisation, on images of one shape."""

    title: str
    model: str
    image: tuple[int, ...]
    samples: int
    batch_size: int
    iterations: int

    def write(self, folder: Path) -> None:
        """Weights, inputs, targets and minibatches, all seeded; images are sparse like handwritten digits."""
        from gradlaw.minibatches import Minibatches  # not in the interpreter of the peers

        torch.manual_seed(0)
        torch.save(MODELS[self.model]().state_dict(), folder / "weights.pt")
        pixels = torch.rand(self.samples, *self.image)
        np.save(folder / "inputs.npy", pixels.mul_(torch.rand(pixels.shape) < 0.2).numpy())
        np.save(folder / "targets.npy", torch.randint(10, (self.samples,)).numpy())
        np.save(folder / "indices.npy", np.stack(list(Minibatches(self.samples, self.batch_size, self.iterations))))
        (folder / "model").write_text(self.model)


@dataclass
class Work:
    """A case as a contender gets it: everything in memory, the indices of the minibatches of shape (T, B)."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    indices: Tensor

    @classmethod
    def read(cls, folder: Path) -> "Work":
        """What :meth:`Case.write` wrote."""
        model = MODELS[(folder / "model").read_text()]()
        model.load_state_dict(torch.load(folder / "weights.pt"))
        inputs, targets, indices = (
            torch.from_numpy(np.load(folder / f"{name}.npy")) for name in ("inputs", "targets", "indices")
        )
        return cls(model, inputs, targets, indices)

    def first(self, iterations: int) -> "Work":
        """The same with fewer iterations."""
        return Work(self.model, self.inputs, self.targets, self.indices[:iterations])

    @property
    def dimensions(self) -> int:
        """How many parameters there are."""
        return sum(p.numel() for p in self.model.parameters())

    def empty_history(self) -> Tensor:
        """A (T, n) matrix to write gradients to."""
        return torch.empty(len(self.indices), self.dimensions)

    def chunks(self, samples: int | None = None) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Some iterations at a time: which, their inputs (C, B, ...) and targets (C, B); about ``samples`` samples.

        By default as many as suits those that form the gradients of single samples.
        """
        fitting = min(_SAMPLES_AT_ONCE, _GRADIENT_BYTES_AT_ONCE // (4 * self.dimensions))
        step = max(_LEAST_ITERATIONS_AT_ONCE, (samples or fitting) // self.indices.shape[1])
        for start in range(0, len(self.indices), step):
            rows = slice(start, start + step)
            chosen = self.indices[rows]
            yield rows, self.inputs[chosen], self.targets[chosen]
