"""Reads of tensor values during a forward pass: the only ways by which control flow can depend on data."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from gradlaw._torch import SEQUENCE_PACKING, OperationMode

aten = torch.ops.aten
_READING_TAGS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
# Untagged: what sequences are packed into depends on their lengths.
_READING = SEQUENCE_PACKING
# Past the dispatcher: the memory itself.
_LEAVING = (Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.untyped_storage, Tensor.data_ptr)


class DataReads:
    """What a pass has read, by name of the operation."""

    def __init__(self) -> None:
        self.operations: set[str] = set()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Note the reads inside."""
        with _Functions(self.operations), _Operations(self.operations):
            yield


class _Operations(OperationMode):
    def __init__(self, noted: set[str]):
        super().__init__()
        self._noted = noted

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        reads = func in _READING or any(tag in func.tags for tag in _READING_TAGS)
        if func is aten.index.Tensor:  # indices that are numbers give a shape that does not depend on them
            reads = any(i is not None and i.dtype in _MASKS for i in args[1])
        if reads:
            self._noted.add(str(func).removeprefix("aten.").partition(".")[0].strip("_"))
        return func(*args, **(kwargs or {}))


_MASKS = (torch.bool, torch.uint8)


class _Functions(TorchFunctionMode):
    def __init__(self, noted: set[str]):
        super().__init__()
        self._noted = noted

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _LEAVING:
            self._noted.add(func.__name__.strip("_"))
        return func(*args, **(kwargs or {}))
