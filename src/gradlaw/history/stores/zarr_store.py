"""Gradients on disk: a matrix (T, n) as a zarr array, chunked for access in both directions."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.atomic import flush
from gradlaw.errors import InputError
from gradlaw.history.stores.chunk_files import CHECKSUM_BYTES, CHUNKS, chunk_paths, damaged, flush_chunks, write_chunk
from gradlaw.history.stores.precision import DTYPES, dtype_name
from gradlaw.history.stores.unfinished import UNFINISHED
from gradlaw.lock import locked
from gradlaw.stats.arrays import as_float

if TYPE_CHECKING:
    import zarr

GRADIENTS, LOSSES = "gradients", "losses"
BAND_BYTES = 256 * 2**20  # as read, of all columns of one row of chunks, and of all rows of one column of chunks
METADATA = "zarr.json"
_METADATA_BYTES = 2**20  # more than the layout of a model of a thousand tensors takes
_BLOCK_BYTES = 4096  # of most file systems
_LOCK = "writing.lock"
_BFLOAT16_BITS = "uint16"  # zarr and NumPy have no bfloat16
_TYPE = "dtype"  # the attribute of the array that says what its bits are
_RECORD, _DIGESTS = "gradlaw", "digests"  # attributes of the group
UNCHECKED = (
    "the store is from before checksums, so that damage to its gradients, or chunks that are missing, would not be seen"
)


class DiskGradients:
    """A (T, n) matrix on disk that is indexed like a tensor; what is indexed is read, checked, and a tensor.

    Half precision is read as float32; ``dtype`` is the type on disk. Chunks are as long in each direction as a band of
    them, across or down the whole matrix, takes about 256 MB when read.

    Args:
        array: of a group in a folder.
        durable: have what is written on the disk before going on.
    """

    device = torch.device("cpu")

    def __init__(self, array: "zarr.Array[Any]", durable: bool = False):
        self._array, self._durable = array, durable
        self.shape: tuple[int, int] = (array.shape[0], array.shape[1])
        self.chunks: tuple[int, int] = (array.chunks[0], array.chunks[1])
        self.dtype: torch.dtype = DTYPES[str(array.attrs.get(_TYPE, array.dtype))]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Tensor:
        stored = torch.from_numpy(np.asarray(self._array[key]))
        return as_float(stored.view(self.dtype))

    @property
    def folder(self) -> Path:
        """Where its chunks are."""
        return Path(self._array.store.root) / GRADIENTS  # type: ignore[attr-defined]

    def write(self, first: int, rows: Tensor) -> None:
        """Store whole bands of chunks, or the last rows: those from ``first`` on, of the type on disk."""
        height = self.chunks[0]
        assert first % height == 0
        assert len(rows) % height == 0 or first + len(rows) == self.shape[0]
        written = []
        for path, values in self.chunks_of(first, rows):
            write_chunk(path, values, self.chunks)
            written.append(path)
        if self._durable:
            flush_chunks(self.folder, written)

    def chunks_of(self, first: int, rows: Tensor) -> Iterator[tuple[Path, np.ndarray]]:
        """File and values of each chunk of whole bands, those from row ``first`` on, of the type on disk."""
        height, width = self.chunks
        bits = (rows.cpu().view(torch.uint16) if self.dtype == torch.bfloat16 else rows.cpu()).numpy()
        for top in range(0, len(rows), height):
            for left in range(0, self.shape[1], width):
                path = self.folder / CHUNKS / str((first + top) // height) / str(left // width)
                yield path, bits[top : top + height, left : left + width]

    def chunk_paths(self, rows: int | None = None) -> Iterator[Path]:
        """The files of its chunks, or of those of the first ``rows`` rows."""
        return chunk_paths(self.folder, (self.shape[0] if rows is None else rows, self.shape[1]), self.chunks)

    def element_size(self) -> int:
        """Bytes of one value on disk."""
        return self.dtype.itemsize


def chunk_shape(shape: tuple[int, int], dtype: torch.dtype, band_bytes: int) -> tuple[int, int]:
    """The largest chunks of which a band takes up to ``band_bytes`` when read, all about as large as one another."""
    size_read = torch.promote_types(dtype, torch.float32).itemsize
    longest = (band_bytes // (other * size_read) for other in shape[::-1])
    counts = [-(-size // max(1, min(size, most))) for size, most in zip(shape, longest, strict=True)]
    return -(-shape[0] // counts[0]), -(-shape[1] // counts[1])


def stored_bytes(shape: tuple[int, int], dtype: torch.dtype, band_bytes: int) -> int:
    """What a store takes on the disk: whole blocks of it for each chunk, losses twice, metadata."""
    height, width = chunk_shape(shape, dtype, band_bytes)
    chunk = _blocks(height * width * dtype.itemsize + CHECKSUM_BYTES)
    losses = _blocks(shape[0] * torch.float64.itemsize + CHECKSUM_BYTES)
    chunks = -(-shape[0] // height) * -(-shape[1] // width)
    return chunks * chunk + 2 * losses + _METADATA_BYTES


def _blocks(size: int) -> int:
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES


def create(
    folder: Path, shape: tuple[int, int], dtype: torch.dtype, band_bytes: int = BAND_BYTES, durable: bool = False
) -> DiskGradients:
    """A new matrix in ``folder``, in chunks of which a band takes ``band_bytes`` when read; whole once all is written.

    Raises:
        InputError: the folder exists and is not empty.
    """
    import zarr  # a sixth of a second to load
    from zarr.codecs import Crc32cCodec

    from gradlaw.history.stores.checked_files import CheckedFiles

    check_empty(folder)
    name = dtype_name(dtype)
    bits = _BFLOAT16_BITS if dtype == torch.bfloat16 else name
    array = zarr.create_group(CheckedFiles(folder)).create_array(
        GRADIENTS,
        shape=shape,
        chunks=chunk_shape(shape, dtype, band_bytes),
        dtype=bits,
        compressors=Crc32cCodec(),
        attributes={_TYPE: name},
    )
    if durable:
        _flush(folder, GRADIENTS)
    return DiskGradients(array, durable)


def reopen(folder: Path) -> DiskGradients:
    """The matrix of an unfinished store, to be written on."""
    return DiskGradients(open_array(folder, GRADIENTS, checked=True), durable=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the only one that writes a store, in a folder that is made if it is not there, and not left empty.

    Raises:
        InputError: another process writes it, or the folder cannot be made.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the store {folder} cannot be made: {error.strerror}") from error
    try:
        with locked(folder / _LOCK, f"the store {folder}"):
            yield
    finally:
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


def check_empty(folder: Path) -> None:
    """Make the folder, and refuse one that holds something or that cannot be made.

    Raises:
        InputError: it is not empty, no folder, or not to be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(path.name not in (_LOCK, UNFINISHED) for path in folder.iterdir()):
            raise InputError(f"the store {folder} is not empty; give a new folder, or open the history that it holds")
    except OSError as error:
        raise InputError(f"the store {folder} cannot be made: {error.strerror}") from error


def finish(folder: Path, losses: Tensor, record: dict[str, Any]) -> None:
    """Add the losses and what else a history is made of; until then the store cannot be opened."""
    import zarr
    from zarr.codecs import Crc32cCodec

    values = losses.cpu().numpy()
    group = zarr.open_group(folder)
    group.create_array(
        LOSSES,
        shape=values.shape,
        chunks=values.shape,
        dtype=values.dtype,
        compressors=Crc32cCodec(),
        overwrite=True,
    )
    path = folder / LOSSES / CHUNKS / "0"
    write_chunk(path, values, values.shape)
    flush_chunks(folder / LOSSES, [path])
    _flush(folder, LOSSES)
    group.attrs.update({_RECORD: record, _DIGESTS: {"record": _record_digest(record), **metadata_digests(folder)}})
    _flush(folder)


def metadata_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files that say how to read the arrays of a store, of those that are there."""
    files = {name: folder / name / METADATA for name in (GRADIENTS, LOSSES)}
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items() if file.is_file()}


def holds_store(folder: Path) -> bool:
    """Whether the folder holds a store, finished or not."""
    return (folder / METADATA).is_file()


def is_finished(folder: Path) -> bool:
    """Whether the folder holds a store whose collection is finished.

    Raises:
        InputError: it holds one that is damaged.
    """
    return holds_store(folder) and _RECORD in _attributes(folder)


def is_unfinished(folder: Path) -> bool:
    """Whether the folder holds a collection that has begun, which the same call goes on with."""
    return (folder / UNFINISHED).is_file()


def read_record(folder: Path) -> tuple[dict[str, Any], bool]:
    """What a finished store says of its history, and whether it has checksums.

    Raises:
        InputError: no store, one whose collection did not finish, or whose metadata are damaged.
    """
    if not is_unfinished(folder) and not holds_store(folder):
        if (folder / GRADIENTS / METADATA).is_file():
            raise InputError(damaged(folder / METADATA, "is missing"))
        raise InputError(f"{folder} holds no gradient history")
    attributes = _attributes(folder) if holds_store(folder) else {}
    if _RECORD not in attributes:
        again = "make the same call again: it goes on from there"
        if not is_unfinished(folder):
            again = "what would say how far it came is missing: delete the folder, and collect again"
        raise InputError(f"the collection of the gradient history in {folder} did not finish; {again}")
    record, digests = attributes[_RECORD], attributes.get(_DIGESTS)
    if digests is None and "crc32c" not in (folder / GRADIENTS / METADATA).read_text(encoding="utf-8"):
        return {**record, "notices": [*record["notices"], UNCHECKED]}, False
    if not isinstance(digests, dict) or digests.get("record") != _record_digest(record):
        raise InputError(damaged(folder / METADATA, "is damaged: its record has another digest"))
    there = metadata_digests(folder)
    for name in (GRADIENTS, LOSSES):
        if there.get(name) != digests.get(name):
            raise InputError(damaged(folder / name / METADATA, "is damaged" if name in there else "is missing"))
    return record, True


def open_store(folder: Path) -> tuple[DiskGradients, Tensor, dict[str, Any]]:
    """The matrix, the losses and the record of a finished store.

    Raises:
        InputError: as :func:`read_record`, or losses that are damaged; damaged gradients raise it when they are read.
    """
    record, checked = read_record(folder)
    losses = torch.from_numpy(np.asarray(open_array(folder, LOSSES, checked)[:]))
    return DiskGradients(open_array(folder, GRADIENTS, checked)), losses, record


def open_array(folder: Path, name: str, checked: bool) -> "zarr.Array[Any]":
    """An array of a store, to be read."""
    import zarr

    from gradlaw.history.stores.checked_files import CheckedFiles

    files = CheckedFiles if checked else zarr.storage.LocalStore
    return zarr.open_array(files(folder, read_only=True), path=name, mode="r")


def _attributes(folder: Path) -> dict[str, Any]:
    """Of the group; read without zarr, which would go on with much of what is damaged."""
    path = folder / METADATA
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(damaged(path, "is damaged: it is no JSON")) from error
    attributes = content.get("attributes") if isinstance(content, dict) else None
    if not isinstance(attributes, dict):
        raise InputError(damaged(path, "is damaged: it has no attributes"))
    return attributes


def _record_digest(record: Any) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _flush(folder: Path, array: str = ".") -> None:
    """Have the metadata of the group or of an array, and its name, on the disk."""
    for path in (folder / array / METADATA, folder / array, folder):
        flush(path)
