"""One writer at a time: a lock on a file that says who holds it.

The lock belongs to the open file, not to its name: it goes with the process, however that ends, and what is left of the
file then is taken over. File systems and systems without such locks (Windows, some network mounts) have the file itself
as the lock, which the next one has to delete by hand after a kill.
"""

import errno
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from gradlaw.atomic import full_disk_explained
from gradlaw.errors import InputError, printable

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]

_HELD = (errno.EAGAIN, errno.EACCES)
_UNSUPPORTED = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL)
_MOST_READ = 4096  # bytes of the file that says who holds a lock


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Be the only one to write something, from the first line of the block to its last.

    Readers need no lock. The block must not lock the same path again; threads exclude one another as processes do.

    Args:
        path: of the lock file, in a folder that exists; it is gone afterwards.
        what: is written, for the message, such as ``"the store runs/a"``.

    Raises:
        InputError: another one writes it at the moment, named by its process, machine and time; or the file cannot be
            made.
    """
    descriptor = _take(path, what)
    try:
        yield
    finally:
        if os.name == "nt":
            os.close(descriptor)  # Windows deletes no file that is open
            path.unlink(missing_ok=True)
        else:
            path.unlink(missing_ok=True)  # before it is let go, so that nobody holds a file without a name for long
            _let_go(descriptor)


def _take(path: Path, what: str) -> int:
    """The descriptor of the file at ``path``, locked and with this process's name in it."""
    while True:
        descriptor, is_new = _open(path, what)
        try:
            if not _lock(descriptor, path, what) and not is_new:
                raise _held(path, what, f"; this file system has no locks: if that has ended, delete {path}")
            if _is_at(descriptor, path):  # not deleted, by the one who held it before, since it was opened
                with full_disk_explained(path, "nothing was written", "run again"):
                    _sign(descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(path: Path, what: str) -> tuple[int, bool]:
    """The descriptor, and whether the file is new."""
    try:
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            return os.open(path, os.O_RDWR | os.O_CREAT, 0o666), False
    except OSError as error:
        raise InputError(f"{what} cannot be written: {path}: {error.strerror}") from error


def _lock(descriptor: int, path: Path, what: str) -> bool:
    """Lock the open file; False where there are no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            raise _held(path, what, "") from error
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def _let_go(descriptor: int) -> None:
    """A process that was forked meanwhile holds the open file too: closing alone would leave the lock to it."""
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _sign(descriptor: int) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}).encode())


def _held(path: Path, what: str, how: str) -> InputError:
    return InputError(f"{what} is being written by {_holder(path)}; wait until that has ended, or choose another{how}")


def _holder(path: Path) -> str:
    """Who signed the file; it may be gone, or not signed yet."""
    try:
        with path.open("rb") as file:
            signed = json.loads(file.read(_MOST_READ))
        if signed["pid"] == os.getpid() and signed["host"] == socket.gethostname():
            return f"this process itself since {printable(str(signed['since']))}"
        return printable(f"process {signed['pid']} on {signed['host']} since {signed['since']}")
    except (OSError, ValueError, TypeError, KeyError):
        return f"another process, which holds {path}"
