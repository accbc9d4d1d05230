"""Chunks of a matrix as files: written with a checksum behind their values, and read only if it holds.

The bytes are those of zarr's codecs ``bytes`` and ``crc32c``: a chunk is as large at the edges of the matrix as
elsewhere, in C order, little endian, and its last four bytes are the checksum. zarr itself would copy each chunk once
more, and say of a checksum that does not hold neither file nor remedy.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

import numpy as np

from gradlaw.atomic import flush
from gradlaw.errors import InputError

CHECKSUM_BYTES = 4
CHUNKS = "c"  # the folder of an array that holds its chunks


def chunk_paths(array: Path, shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[Path]:
    """The file of every chunk of the array in a folder, by rows of chunks."""
    grid = (range(-(-size // chunk)) for size, chunk in zip(shape, chunks, strict=True))
    return (array.joinpath(CHUNKS, *map(str, place)) for place in product(*grid))


def write_chunk(path: Path, values: np.ndarray, chunks: tuple[int, ...]) -> None:
    """Write one chunk; it is not on the disk before :func:`flush_chunks`.

    Args:
        path: of the file.
        values: see :func:`chunk_content`.
        chunks: shape of every chunk.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(chunk_content(values, chunks).data)


def chunk_content(values: np.ndarray, chunks: tuple[int, ...]) -> np.ndarray:
    """The bytes of a chunk, its checksum included.

    Args:
        values: no more in any direction than ``chunks``; what is missing at the edge is filled with zeros.
        chunks: shape of every chunk.
    """
    content = np.zeros(values.itemsize * int(np.prod(chunks)) + CHECKSUM_BYTES, dtype=np.uint8)
    inside = content[:-CHECKSUM_BYTES].view(values.dtype.newbyteorder("<")).reshape(chunks)
    inside[tuple(map(slice, values.shape))] = values
    content[-CHECKSUM_BYTES:] = np.frombuffer(_checksum(content[:-CHECKSUM_BYTES]), np.uint8)
    return content


def flush_chunks(array: Path, paths: Iterable[Path]) -> None:
    """Have the chunks of an array, and their names, on the disk; written first, they get there side by side."""
    folders = set()
    for path in paths:
        flush(path)
        folders |= {folder for folder in path.parents if folder.is_relative_to(array)}
    for folder in folders:
        flush(folder)


def read_chunk(path: Path) -> bytes:
    """The bytes of a chunk, its checksum included.

    Raises:
        InputError: it is missing, or not what was written.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(damaged(path, "is missing")) from error
    except OSError as error:
        raise InputError(damaged(path, f"cannot be read ({error.strerror})")) from error
    if _checksum(np.frombuffer(content, np.uint8)[:-CHECKSUM_BYTES]) != content[-CHECKSUM_BYTES:]:
        raise InputError(damaged(path, "is damaged: its checksum is not that of its bytes"))
    return content


def damaged(path: Path, damage: str) -> str:
    """The message for a file of a store that cannot be relied on, and what to do."""
    return f"{path} {damage}; delete the gradient history that it belongs to, and collect it again"


def _checksum(values: np.ndarray) -> bytes:
    """CRC-32C (Castagnoli) of contiguous bytes."""
    import google_crc32c  # zarr brings it

    return int(google_crc32c.value(values)).to_bytes(CHECKSUM_BYTES, "little")
