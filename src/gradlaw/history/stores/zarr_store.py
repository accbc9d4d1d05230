"""Gradients on disk: a matrix (T, n) as a zarr array, chunked for access in both directions."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.history.stores.precision import DTYPES, dtype_name
from gradlaw.stats.arrays import as_float

if TYPE_CHECKING:
    import zarr

GRADIENTS, LOSSES = "gradients", "losses"
BAND_BYTES = 256 * 2**20  # as read, of all columns of one row of chunks, and of all rows of one column of chunks
_BFLOAT16_BITS = "uint16"  # zarr and NumPy have no bfloat16
_TYPE = "dtype"  # the attribute of the array that says what its bits are


class DiskGradients:
    """A (T, n) matrix on disk that is indexed like a tensor; what is indexed is read, and a tensor.

    Half precision is read as float32; ``dtype`` is the type on disk. Chunks are as long in each direction as a band of
    them, across or down the whole matrix, takes about 256 MB when read.
    """

    device = torch.device("cpu")

    def __init__(self, array: "zarr.Array[Any]"):
        self._array = array
        self.shape: tuple[int, int] = (array.shape[0], array.shape[1])
        self.chunks: tuple[int, int] = (array.chunks[0], array.chunks[1])
        self.dtype: torch.dtype = DTYPES[str(array.attrs.get(_TYPE, array.dtype))]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Tensor:
        stored = torch.from_numpy(np.asarray(self._array[key]))
        return as_float(stored.view(self.dtype))

    def write(self, first: int, rows: Tensor) -> None:
        """Store rows ``first`` onwards, of the type on disk; whole bands of chunks are written fastest."""
        bits = rows.cpu().view(torch.uint16) if self.dtype == torch.bfloat16 else rows.cpu()
        self._array[first : first + len(rows)] = bits.numpy()

    def element_size(self) -> int:
        """Bytes of one value on disk."""
        return self.dtype.itemsize


def create(folder: Path, shape: tuple[int, int], dtype: torch.dtype, band_bytes: int = BAND_BYTES) -> DiskGradients:
    """A new matrix of zeros in ``folder``, in chunks of which a band takes ``band_bytes`` when read.

    Raises:
        InputError: the folder exists and is not empty.
    """
    import zarr  # a sixth of a second to load

    check_empty(folder)
    group = zarr.create_group(folder)
    size_read = torch.promote_types(dtype, torch.float32).itemsize
    chunks = tuple(
        max(1, min(size, band_bytes // (other * size_read))) for size, other in zip(shape, shape[::-1], strict=True)
    )
    name = dtype_name(dtype)
    bits = _BFLOAT16_BITS if dtype == torch.bfloat16 else name
    array = group.create_array(
        GRADIENTS, shape=shape, chunks=chunks, dtype=bits, compressors=None, attributes={_TYPE: name}
    )
    return DiskGradients(array)


def check_empty(folder: Path) -> None:
    """Make the folder, and refuse one that holds something or that cannot be made.

    Raises:
        InputError: it is not empty, no folder, or not to be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise InputError(f"the store {folder} is not empty; give a new folder, or open the history that it holds")
    except OSError as error:
        raise InputError(f"the store {folder} cannot be made: {error.strerror}") from error


def finish(folder: Path, losses: Tensor, record: dict[str, Any]) -> None:
    """Add the losses and what else a history is made of; until then the store cannot be opened."""
    import zarr

    group = zarr.open_group(folder)
    group.create_array(LOSSES, data=losses.cpu().numpy())
    group.attrs["gradlaw"] = record


def holds_store(folder: Path) -> bool:
    """Whether the folder holds a store, finished or not."""
    return (folder / "zarr.json").is_file()


def open_store(folder: Path) -> tuple[DiskGradients, Tensor, dict[str, Any]]:
    """The matrix, the losses and the record of a finished store.

    Raises:
        InputError: no store, or one whose collection did not finish.
    """
    import zarr

    if not holds_store(folder):
        raise InputError(f"{folder} holds no gradient history")
    group: Any = zarr.open_group(folder, mode="r")
    if "gradlaw" not in group.attrs:
        raise InputError(f"the collection of the gradient history in {folder} did not finish; collect it again")
    losses = torch.from_numpy(np.asarray(group[LOSSES][:]))
    return DiskGradients(group[GRADIENTS]), losses, dict(group.attrs["gradlaw"])
