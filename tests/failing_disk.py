"""A disk that fails: the errors of the operating system at a write or flush, and at all after it."""

import os
from pathlib import Path

import pytest


class FailingDisk:
    """Writes and flushes that fail from the ``fail_at``-th on, having written half; none with 0.

    Args:
        monkeypatch: puts them back.
        number: of the error.

    Attributes:
        calls: writes and flushes so far.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int):
        self.calls, self.fail_at, self.number = 0, 0, number
        write, fsync = Path.write_bytes, os.fsync

        def write_bytes(path: Path, content: bytes) -> int:
            if self.fails():
                write(path, memoryview(content)[: len(content) // 2])
                raise OSError(self.number, os.strerror(self.number), str(path))
            return write(path, content)

        def flushed(descriptor: int) -> None:
            if self.fails():
                raise OSError(self.number, os.strerror(self.number))
            fsync(descriptor)

        monkeypatch.setattr(Path, "write_bytes", write_bytes)
        monkeypatch.setattr(os, "fsync", flushed)

    def fails(self) -> bool:
        self.calls += 1
        return 0 < self.fail_at <= self.calls
