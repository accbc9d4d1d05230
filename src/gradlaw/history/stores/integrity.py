"""What is damaged in a store."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gradlaw.errors import InputError
from gradlaw.history.stores.chunk_files import chunk_paths, read_chunk
from gradlaw.history.stores.zarr_store import GRADIENTS, LOSSES, UNCHECKED, open_array, read_record


@dataclass(frozen=True)
class Damage:
    """One file of a store that cannot be relied on.

    Attributes:
        file: its path; the folder of the store where the whole is wrong.
        message: what is wrong with it and what to do, with its path.
    """

    file: Path
    message: str


def check(folder: Path) -> list[Damage]:
    """Read every byte of a finished store and name what is missing or is not what was written; empty if it is whole.

    Args:
        folder: of the store.
    """
    try:
        _, checked = read_record(folder)
    except InputError as error:
        return [Damage(folder, str(error))]
    if not checked:
        return [Damage(folder, f"{folder} cannot be checked: {UNCHECKED}")]
    found = []
    for name in (LOSSES, GRADIENTS):
        array = open_array(folder, name, checked)
        found += damaged_chunks(chunk_paths(folder / name, array.shape, array.chunks))
    return found


def damaged_chunks(paths: Iterable[Path]) -> list[Damage]:
    """Those chunks that are missing, or not what was written."""
    found = []
    for path in paths:
        try:
            read_chunk(path)
        except InputError as error:
            found.append(Damage(path, str(error)))
    return found
