"""One writer at a time, with processes that hold a lock, are killed, and race for it."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gradlaw import lock
from gradlaw.errors import InputError
from gradlaw.lock import locked
from tools.forked import exit_status, forked

HOLD = (
    "import sys; from pathlib import Path; from gradlaw.lock import locked\n"
    "with locked(Path(sys.argv[1]), 'it'):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()"
)


def _holding(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_is_told_who_holds_it_and_comes_in_when_that_has_ended(tmp_path):
    path = tmp_path / "lock"
    process = _holding(path)
    message = rf"^the store is being written by process {process.pid} on {socket.gethostname()} since 2\S+; wait until"
    with pytest.raises(InputError, match=message), locked(path, "the store"):
        pytest.fail("two hold it")
    process.communicate("")
    with locked(path, "the store"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_holds_nothing(tmp_path):
    path = tmp_path / "lock"
    process = _holding(path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert path.exists()
    with locked(path, "it"):
        assert f'"pid": {os.getpid()}' in path.read_text(), "what was left is taken over"
    assert not path.exists()


def test_an_exception_lets_go(tmp_path):
    with pytest.raises(KeyboardInterrupt), locked(tmp_path / "lock", "it"):
        raise KeyboardInterrupt
    with locked(tmp_path / "lock", "it"), pytest.raises(InputError, match="by this process itself since"):  # noqa: SIM117
        with locked(tmp_path / "lock", "it"):
            pass


def test_a_forked_child_does_not_keep_what_its_parent_let_go(tmp_path):
    reader, writer = os.pipe()
    with locked(tmp_path / "lock", "it"):
        child = forked(lambda: (os.close(writer), os.read(reader, 1)))  # until the parent is done
    os.close(reader)
    with locked(tmp_path / "lock", "it"):
        pass
    os.close(writer)
    assert exit_status(child) == 0


def test_of_many_one_holds_it_at_a_time(tmp_path):
    path, inside = tmp_path / "lock", []

    def attempt(i: int) -> int:
        try:
            with locked(path, "it"):
                inside.append(i)
                assert inside == [i]
                inside.remove(i)
                return 1
        except InputError:
            return 0

    with ThreadPoolExecutor(8) as pool:
        taken = sum(pool.map(attempt, range(2000)))
    assert taken > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK, None], ids=["no locks", "no lock daemon", "Windows"])
def test_where_there_are_no_locks_the_file_is_the_lock(tmp_path, monkeypatch, number):
    path = tmp_path / "lock"

    def fails(descriptor: int, operation: int) -> None:
        raise OSError(number, "not here")

    if number is None:
        monkeypatch.setattr(lock, "fcntl", None)
    else:
        monkeypatch.setattr(fcntl, "flock", fails)
    with locked(path, "it"), pytest.raises(InputError, match=f"no locks: if that has ended, delete {path}"):  # noqa: SIM117
        with locked(path, "it"):
            pass
    assert not path.exists()
    path.write_text("\x1b[2J not what is written there")
    with pytest.raises(InputError, match="another process, which holds"), locked(path, "it"):
        pass
    assert path.exists()


def test_what_cannot_be_locked_says_why(tmp_path):
    message = "^the run cannot be written: .*No such file or directory"
    with pytest.raises(InputError, match=message), locked(tmp_path / "nowhere" / "lock", "the run"):
        pass


def test_another_error_passes_and_leaves_no_open_file(tmp_path, monkeypatch):
    def fails(descriptor: int, operation: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(fcntl, "flock", fails)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="broken"), locked(tmp_path / "lock", "it"):
        pass
    assert len(os.listdir("/proc/self/fd")) == before
