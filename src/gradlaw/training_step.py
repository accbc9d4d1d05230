"""A training step as a loss: batches as the user's loader makes them, and a function from one of them to a scalar."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradlaw._torch import pytree, strided_parts, version
from gradlaw.errors import InputError, listed
from gradlaw.errors import seed as checked_seed
from gradlaw.provenance import sha256
from gradlaw.randomness import process_seeded
from gradlaw.resources import memory_budget

Step = Callable[[Any, Any], Tensor]
_BATCH_BYTES = 1000  # of a batch beside its tensors
_DEPTH = 4  # of attributes of a batch in which there are tensors


class Batches(Sequence[Any]):
    """Batches in whatever form a step takes them: dicts, BatchEncodings, packed sequences, graphs, tuples.

    Args:
        data: batches. What has a length and an index is taken as it is, batch by batch when it is needed; of anything
            else, a ``DataLoader`` for one, one pass is made at once and its batches are kept in memory.
        most: how many batches to take; None for all, which an endless stream does not have.
        seed: of PyTorch's, NumPy's and Python's generators during that pass, so that a loader that shuffles or
            augments gives the same batches each time; they are left as they were.

    Raises:
        InputError: no batch, data that are no batches, more of them than memory holds, or an iterable that overwrites
            those that it gave before.
    """

    def __init__(self, data: Iterable[Any], most: int | None = None, seed: int = 0):
        self.description: dict[str, Any] = {"batches": type(data).__name__}
        if isinstance(data, Tensor | np.ndarray | Mapping | str):
            raise InputError(f"data must be batches (a DataLoader, or a list of them), got one {type(data).__name__}")
        if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
            data = self._drawn(data, most, checked_seed(seed))
        self._batches: Any = data
        self._length = len(data) if most is None else min(most, len(data))  # type: ignore[arg-type]
        if self._length < 1:
            raise InputError("there is no batch in the data")

    def _drawn(self, data: Any, most: int | None, seed: int) -> list[Any]:
        if not isinstance(data, Iterable):
            raise InputError(f"data must be batches that can be iterated over, got {type(data).__name__}")
        self.description["seed"] = seed
        kept = _Kept(memory_budget(torch.device("cpu"), None))
        with process_seeded(seed):
            for batch in islice(data, most):
                kept.add(batch)
        kept.refuse_overwritten()
        return kept.batches

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        return self._batches[index]

    def fetch(self, indices: np.ndarray, device: torch.device) -> list[Any]:
        """Batches on a device. They are copies, tensors too: a loop's batches are its own, and it may write to them."""
        if indices.ndim != 1:
            raise InputError("a step takes its batches one after the other: give no batch_size, and engine='loop'")
        return [pytree.tree_map(lambda leaf: _fresh(leaf, device), self[int(i)]) for i in indices]

    def digest(self) -> str | None:
        """SHA-256 of all tensors, where the batches are in a list; None of what is made when it is needed."""
        if not isinstance(self._batches, list | tuple):
            return None
        leaves = [leaf for batch in self._batches[: self._length] for leaf in tensors_of(batch)]
        return sha256(leaves)


class _Kept:
    """Batches that are kept, while they come; ``most`` bytes of them."""

    def __init__(self, most: int):
        self.batches: list[Any] = []
        self._most, self._bytes = most, 0
        self._versions: dict[int, tuple[Tensor, int]] = {}

    def add(self, batch: Any) -> None:
        self.batches.append(batch)
        self._bytes += _BATCH_BYTES
        for tensor in tensors_of(batch):
            if id(tensor) not in self._versions:
                self._versions[id(tensor)] = tensor, version(tensor)
                self._bytes += tensor.nbytes
        if self._bytes > self._most:
            raise InputError(
                f"{len(self.batches):,} batches, which are kept, take half of the free memory, and there are more: "
                "give the number to take as batches"
            )

    def refuse_overwritten(self) -> None:
        if any(version(tensor) != before for tensor, before in self._versions.values()):
            raise InputError(
                "the data give the same tensor again with other contents, so that the batches before are lost: yield a "
                "clone for each batch"
            )


def _fresh(leaf: Any, device: torch.device) -> Any:
    if isinstance(leaf, Tensor):
        moved = leaf.detach().to(device, copy=True)
        return moved.requires_grad_() if leaf.requires_grad else moved
    if isinstance(leaf, np.ndarray):
        return leaf.copy()
    if isinstance(leaf, str | bytes | int | float | bool | type) or leaf is None:
        return leaf
    fresh = copy.copy(leaf)  # a BatchEncoding, a packed sequence, a graph: their own .to may write to them
    if isinstance(fresh, MutableMapping):
        for key, value in list(fresh.items()):
            fresh[key] = pytree.tree_map(lambda part: _fresh(part, device), value)
    elif callable(getattr(fresh, "clone", None)):
        fresh = fresh.clone()
    elif isinstance(getattr(fresh, "__dict__", None), dict):
        for key, value in list(vars(fresh).items()):
            if isinstance(value, Tensor):
                vars(fresh)[key] = _fresh(value, device)
    moves = hasattr(fresh, "to") and any(t.device != device for t in tensors_of(fresh))
    return fresh.to(device) if moves else fresh


def tensors_of(batch: Any, depth: int = _DEPTH) -> Iterator[Tensor]:
    """The tensors of containers, and of the attributes of other objects, down to some depth; sparse and nested ones in
    their parts.
    """
    for leaf in pytree.tree_leaves(batch):
        if isinstance(leaf, Tensor):
            yield from strided_parts(leaf)
        elif depth and isinstance(leaf, Mapping):
            yield from tensors_of(dict(leaf), depth - 1)
        elif depth and not isinstance(leaf, type) and isinstance(getattr(leaf, "__dict__", None), dict):
            yield from tensors_of(vars(leaf), depth - 1)


class StepCaller(nn.Module):
    """A module around the model whose outputs are the losses of a step; ``functional_call`` reaches the model in it.

    Args:
        model: any module.
        step: from the model and a batch to a scalar.
    """

    PREFIX = "model."

    def __init__(self, model: nn.Module, step: Step):
        super().__init__()
        self.model, self.step = model, step

    def forward(self, batches: Sequence[Any]) -> Tensor:
        """The loss of each batch, shape (B,)."""
        return torch.stack([_scalar(self.step(self.model, batch)) for batch in batches])


def mean_of_steps(losses: Tensor, _: None) -> Tensor:
    """The mean loss of the batches of one iteration."""
    return losses.mean()


def _scalar(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise InputError(f"a step must return one number, the loss of its batch; got {not_a_loss(loss)}")
    return loss.reshape(())


def not_a_loss(value: Any) -> str:
    """What a loss is that is not one number, and where the number may be."""
    if isinstance(value, Tensor):
        return f"shape {tuple(value.shape)}"
    name = type(value).__name__
    if isinstance(value, Mapping):
        return f"{name} with {listed(map(str, value))}: add its parts up as the training does, or take the one meant"
    if isinstance(value, tuple | list):
        return f"{name} of {len(value)}: take the loss out of it"
    return f"{name}: a number without its graph cannot be differentiated" if isinstance(value, int | float) else name
