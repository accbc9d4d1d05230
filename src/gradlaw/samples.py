"""The data of a problem: tensors of N samples, a data set of pairs, or the batches of a step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate

from gradlaw._torch import pytree
from gradlaw.errors import InputError
from gradlaw.provenance import sha256
from gradlaw.training_step import Batches

Data = Dataset[Any] | Batches | tuple[Any, Any]


def as_samples(data: Any) -> Data:
    """The data in the form in which a problem keeps them: arrays as tensors, pairs as a tuple.

    Raises:
        InputError: data in another form.
    """
    if isinstance(data, Batches):
        return data
    if isinstance(data, TensorDataset):
        if len(data.tensors) != 2:
            raise InputError(f"data must be (inputs, targets), got a TensorDataset of {len(data.tensors)} tensors")
        data = data.tensors
    if isinstance(data, Dataset) and hasattr(data, "__getitem__"):
        if not hasattr(data, "__len__"):
            raise InputError(f"the data set {type(data).__name__} has no length; a map-style Dataset is needed")
        return data
    if isinstance(data, DataLoader):
        raise InputError(
            "data must be samples, of which gradlaw makes its own minibatches, got a DataLoader: give its data set, or "
            "take its batches as they are, with gradlaw.Problem.from_step(model, step, loader)"
        )
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise InputError(f"data must be (inputs, targets) or a map-style Dataset of such pairs, got {_brief(data)}")
    plain = (dict(part) if isinstance(part, Mapping) else part for part in data)
    return pytree.tree_map(_as_tensor, tuple(plain))


def leaf_of(tensor: Tensor) -> Tensor:
    """Samples without the history of the data that they are out of; a derivative in them is still possible."""
    return tensor.detach().requires_grad_() if tensor.requires_grad else tensor


def _as_tensor(leaf: Any) -> Tensor:
    if isinstance(leaf, Tensor):
        if leaf.layout != torch.strided:
            raise InputError("inputs and targets must be dense tensors, got a sparse one; give tensor.to_dense()")
        return leaf
    if isinstance(leaf, np.ndarray):
        return _tensor_of(leaf)
    raise InputError(f"inputs and targets must be tensors or NumPy arrays, got {type(leaf).__name__}")


def _tensor_of(array: np.ndarray) -> Tensor:
    """The same memory where PyTorch can use it: it knows neither steps backwards nor the other order of bytes."""
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(step < 0 for step in array.strides):
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise InputError(f"inputs and targets must hold numbers, got an array of {array.dtype}") from error


def count_samples(data: Data) -> int:
    """N.

    Raises:
        InputError: there are none, or tensors have other numbers of them.
    """
    if isinstance(data, tuple):
        leaves = pytree.tree_leaves(data)
        lengths = {a.shape[0] if a.ndim else None for a in leaves}
        if None in lengths or len(lengths) != 1:
            shapes = ", ".join(str(tuple(a.shape)) for a in leaves)
            raise InputError(f"inputs and targets must have the same first dimension N; their shapes are {shapes}")
        samples = lengths.pop()
    else:
        samples = len(data)  # type: ignore[arg-type]
    if not samples:
        raise InputError("the data set is empty")
    return samples


def collated(pairs: list[tuple[Any, Any]]) -> Any:
    """A minibatch of samples of a data set.

    Raises:
        InputError: they have different shapes.
    """
    try:
        return default_collate(pairs)
    except (RuntimeError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"samples of the data set do not stack into a minibatch: {reason}. Pad them to one length, or use "
            "batch_size=1"
        ) from error


def pair(item: Any, index: int) -> tuple[Any, Any]:
    """Input and target of a sample of a data set.

    Raises:
        InputError: it is no pair.
    """
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise InputError(f"sample {index} of the data set must be (input, target), got {_brief(item)}")
    return item[0], item[1]


def _brief(value: Any) -> str:
    length = f" of {len(value)}" if isinstance(value, tuple | list) else ""
    return f"{type(value).__name__}{length}"


def digest(data: Data) -> str | None:
    """Of data that are held in memory."""
    if isinstance(data, Batches):
        return data.digest()
    return sha256(pytree.tree_leaves(data)) if isinstance(data, tuple) else None
