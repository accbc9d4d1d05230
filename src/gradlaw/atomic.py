"""Files that are written whole or not at all, and what to say when the disk is full.

A file is written under a temporary name beside its own, flushed to the disk, renamed, and then the folder is flushed,
which holds the new name. Whenever the process, the machine or its power goes, there is the old file or the new one.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gradlaw.errors import InputError

PARTIAL = ".partial"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP)


def write_whole(
    path: Path,
    content: bytes | str | Callable[[Path], object],
    kept: str = "what was written before is whole",
    then: str = "run again",
) -> None:
    """Write a file whole or not at all.

    Args:
        path: replaced if it is there.
        content: bytes, text (UTF-8, line ends as they are; what is no character is written as its number), or what
            writes the file at the path that it is given.
        kept: what is there if the disk is full, for the message.
        then: what to do once there is space again.

    Raises:
        InputError: the disk, the quota or the largest size of a file is reached.
        OSError: the file cannot be written for another reason.
    """
    with full_disk_explained(path, kept, then), replacing(path) as temporary:
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(_bytes(content))


def write_files(files: Mapping[Path, str | bytes]) -> list[Path]:
    """:func:`write_whole` for each, in folders that are made; returns the paths."""
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    return list(files)


def make_writable(folder: Path, what: str) -> None:
    """Make a folder that is not there.

    Args:
        folder: to write into.
        what: it is, for messages: ``"the run directory"``.

    Raises:
        InputError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{what} {folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"{what} {folder} cannot be written to")


@contextmanager
def replacing(path: Path, owner: str = "") -> Iterator[Path]:
    """A temporary path to write a file at; it takes the place of ``path`` at the end, and is gone after an exception.

    Args:
        path: of the file.
        owner: goes into the temporary name where several processes may write the same file at the same time.
    """
    temporary = _temporary(path, owner)
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush(path.parent)


@contextmanager
def new_folder(path: Path, record: str, owner: str) -> Iterator[Path]:
    """A temporary folder to fill; it becomes ``path`` at the end, unless another process was faster.

    Args:
        path: of the folder.
        record: the file in it that says that it is there.
        owner: goes into the temporary name, see :func:`replacing`; what is left under that name is removed.
    """
    temporary = _temporary(path, owner)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in [*temporary.iterdir(), temporary]:
            flush(file)
        if not (path / record).is_file():
            temporary.rename(path)
            flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def full_disk_explained(path: Path, kept: str, then: str) -> Iterator[None]:
    """Turn the error of a full disk into an :class:`InputError`; other errors pass."""
    try:
        yield
    except OSError as error:
        if not _is_full(error):
            raise
        raise InputError(
            f"no space left on the disk while writing {path} ({error.strerror or error}); {kept}. "
            f"Free some space and {then}"
        ) from error


def flush(path: Path) -> None:
    """Have a file, pages of it that are mapped into memory included, or the names in a folder on the disk."""
    folder = path.is_dir()
    if folder and os.name == "nt":
        return  # Windows has no handle of a folder; NTFS keeps a journal of names
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not folder or error.errno not in _UNSUPPORTED:  # some network file systems flush no folders
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def _temporary(path: Path, owner: str) -> Path:
    return path.with_name(".".join(filter(None, (path.name, owner))) + PARTIAL)


def _bytes(content: bytes | str) -> bytes:
    return content.encode(errors="backslashreplace") if isinstance(content, str) else content


def _is_full(error: OSError) -> bool:
    # ndarray.tofile raises "N requested and M written" without a number
    return error.errno in _FULL or (error.errno is None and "requested and" in str(error))
