"""The log of a watch: a file to which one line of JSON is appended for each thing that happened.

Each line is handed to the system by one call before the next step begins, so that a process killed at any moment leaves
all lines but perhaps the last whole. Each ends with a digest of itself. The first line says what the numbers depend on;
a later run of the same settings and layers may append, and says so.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradlaw.atomic import full_disk_explained
from gradlaw.errors import InputError
from gradlaw.sealed_lines import is_sealed, sealed_line, unsealed_line

FORMAT = 2  # 1 had no digests
# What has to agree between runs that share a log.
AGREEING = ("format", "settings", "layout")


class LogWriter:
    """Appends records to a log.

    Args:
        path: of the file; its folder is made.
        header: of this run.
        resume: whether to go on with a log that is there.

    Raises:
        InputError: there is a log already and ``resume`` is False, its header differs, or it is no log.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], resume: bool):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        earlier = path.read_bytes() if path.is_file() else b""
        if earlier and not resume:
            raise InputError(f"{path} holds a log already: give another path, or resume=True to append to it")
        if earlier:
            _check(header, _header(path, earlier), path)
        self._descriptor: int | None = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        if not earlier:
            self.write({"kind": "header", **header})
            return
        if not earlier.endswith(b"\n"):
            self._append(b"\n")  # the line that a kill cut off stays by itself
        self.write({"kind": "resumed", "step": header["step"], "versions": header["versions"]})

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record."""
        self._append(sealed_line(record))

    def close(self) -> None:
        """Have the log on the disk, and write no more."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, line: bytes) -> None:
        if self._descriptor is None:
            raise InputError(f"the log {self.path} is closed")
        with full_disk_explained(self.path, "the lines before are whole", "resume"):
            written = os.write(self._descriptor, line)
            while written < len(line):
                written += os.write(self._descriptor, line[written:])


def _header(path: Path, content: bytes) -> dict[str, Any]:
    line = content.partition(b"\n")[0]
    header = parsed_line(line, is_sealed(line))
    if header is None or header["kind"] != "header":
        raise InputError(f"{path} is not the log of a watch, or its first line is damaged; give another path")
    return header


def parsed_line(line: bytes, sealed: bool) -> dict[str, Any] | None:
    """The record of a line of a log, which says its kind; None if it is damaged.

    Args:
        line: without its end.
        sealed: whether it has to have a digest.
    """
    try:
        record = unsealed_line(line) if sealed else json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and "kind" in record else None


def _check(new: Mapping[str, Any], old: Mapping[str, Any], path: Path) -> None:
    """Refuse to append what would not be of one piece."""
    for name in AGREEING:
        if new[name] == old.get(name):
            continue
        what = name
        if name == "settings":
            differing = {key for key, value in new[name].items() if value != old[name].get(key)}
            what = ", ".join(f"{key} ({old[name].get(key)} then, {new[name][key]} now)" for key in sorted(differing))
        raise InputError(f"{path} was written with another {what}; give another path, or what it was written with")
