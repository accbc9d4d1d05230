"""Writing whole or not at all: with processes that are killed, limits that are reached, and the order of flushes."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from gradlaw.atomic import PARTIAL, flush, new_folder, replacing, write_whole
from gradlaw.errors import InputError


@contextmanager
def _largest_file(size: int) -> Iterator[None]:
    """No file grows beyond so many bytes: what writes more fails as on a full disk."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def _save_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(10_000))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\r\nb", b"a\r\nb"),
        ("ä\n", "ä\n".encode()),
        ("a\udc80", rb"a\udc80"),
        (lambda path: path.write_bytes(b"by a function"), b"by a function"),
    ],
)
def test_a_file_is_replaced_by_exactly_the_content(tmp_path, content, expected):
    path = tmp_path / "file.txt"
    path.write_bytes(b"much more than there was before")
    write_whole(path, content)
    assert path.read_bytes() == expected
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"x" * 5000, _save_array], ids=["bytes", "numpy, whose error has no number"])
def test_a_full_disk_leaves_the_old_file_and_says_what_to_do(tmp_path, content):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    message = r"no space left on the disk while writing .*file\.bin \(.+\); all is well\. Free some space and go on"
    with _largest_file(1000), pytest.raises(InputError, match=message):
        write_whole(path, content, "all is well", "go on")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_another_error_passes_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:  # noqa: PT012 what is left is the test
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "no such folder" / "file", b"")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    code = (
        "import os, signal, sys; from pathlib import Path; from gradlaw.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -signal.SIGKILL
    assert sorted(file.read_bytes() for file in tmp_path.iterdir()) == [b"half", b"old"]
    assert path.read_bytes() == b"old"
    write_whole(path, b"new")
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"new"], "what was left is taken over"


def test_the_content_is_on_the_disk_before_its_name(tmp_path, monkeypatch):
    events: list[tuple[str, str]] = []
    fsync, rename = os.fsync, Path.replace

    def flushed(descriptor: int) -> None:
        events.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        events.append(("rename", str(target)))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    path = tmp_path.resolve() / "file"
    write_whole(path, b"content")
    assert events == [("fsync", f"{path}{PARTIAL}"), ("rename", str(path)), ("fsync", str(path.parent))]


def test_writers_of_the_same_file_do_not_meet(tmp_path):
    path = tmp_path / "file"
    with replacing(path, owner="a") as a, replacing(path, owner="b") as b:
        a.write_bytes(b"a" * 10)
        b.write_bytes(b"b")
    assert path.read_bytes() == b"a" * 10, "the last to finish"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_whole_and_the_first_one_stays(tmp_path):
    path = tmp_path / "results" / "key"
    for content in (b"first", b"second"):
        with new_folder(path, "record", "1") as folder:
            (folder / "array").write_bytes(content)
            (folder / "record").write_bytes(b"")
    with pytest.raises(ZeroDivisionError), new_folder(path.with_name("other"), "record", "1") as folder:  # noqa: PT012
        (folder / "array").write_bytes(b"half")
        raise ZeroDivisionError
    assert (path / "array").read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


def test_flushing_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        flush(tmp_path / "nothing")
