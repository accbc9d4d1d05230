"""A manifest: how many bytes each file of a folder has and their SHA-256, so that a file that changed is found.

It is written last, after what it lists is on the disk: a folder with a manifest was finished. It is sealed itself.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradlaw.atomic import write_whole
from gradlaw.errors import InputError
from gradlaw.sealed_json import as_text, check_seal, parse, sealed

MANIFEST = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True)
class FileRecord:
    """What a file was when it was written: its size in bytes, and the SHA-256 of them."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The files of a folder.

    Attributes:
        folders: where a file may be, the first that has it counts.
        files: by path relative to the folder.
        remedy: what to do about damage, for messages.
    """

    folders: tuple[Path, ...]
    files: Mapping[str, FileRecord]
    remedy: str

    def read(self, name: str) -> bytes:
        """The content of a file, which is what was written.

        Raises:
            InputError: the file is not listed, missing, or other than it was written.
        """
        if name not in self.files:
            raise InputError(f"{self.folders[-1] / name} is not listed in {MANIFEST}; {self.remedy}")
        path = self._path(name)
        if path is None:
            raise InputError(f"{self.folders[-1] / name} is missing; {self.remedy}")
        content = path.read_bytes()
        fault = _fault(content, self.files[name])
        if fault:
            raise InputError(f"{path} is damaged: {fault}; {self.remedy}")
        return content

    def faults(self, names: Iterable[str] | None = None) -> dict[str, str]:
        """What is wrong, by name of the file: of all files, or of some of those listed."""
        found = {name: self._fault(name) for name in (self.files if names is None else names)}
        return {name: fault for name, fault in found.items() if fault}

    def _fault(self, name: str) -> str | None:
        path = self._path(name)
        return "missing" if path is None else _fault(path.read_bytes(), self.files[name])

    def _path(self, name: str) -> Path | None:
        return next((folder / name for folder in self.folders if (folder / name).is_file()), None)


def read_manifest(folder: Path, remedy: str, elsewhere: tuple[Path, ...] = (), name: str = MANIFEST) -> Manifest | None:
    """The manifest of a folder; None if it has none.

    Args:
        folder: that has the manifest.
        remedy: what to do about damage, for messages.
        elsewhere: folders in which files that are not there may still be.
        name: of the manifest.

    Raises:
        InputError: the manifest is damaged, or of another version.
    """
    path = folder / name
    if not path.is_file():
        return None
    record = parse(path.read_bytes(), path, remedy)
    check_seal(record, path, remedy)
    if record["format"] != _FORMAT:
        raise InputError(f"{path} has format {record['format']}; this version of gradlaw reads {_FORMAT}")
    files = {listed: FileRecord(**one) for listed, one in record["files"].items()}
    outside = [listed for listed in files if ".." in Path(listed).parts or Path(listed).is_absolute()]
    if outside:
        raise InputError(f"{path} lists {outside[0]}, which is not in its folder; {remedy}")
    return Manifest((folder, *elsewhere), files, remedy)


def write_manifest(
    folder: Path, names: Iterable[str], known: Mapping[str, FileRecord] | None = None, name: str = MANIFEST
) -> None:
    """List files of a folder as they are now, beside what is ``known`` of others.

    Args:
        folder: that has the files.
        names: of the files.
        known: records of other files.
        name: of the manifest.

    Raises:
        InputError: the disk is full.
    """
    files = {**(known or {}), **{one: record_of((folder / one).read_bytes()) for one in names}}
    listed: dict[str, Any] = {one: vars(files[one]) for one in sorted(files)}
    write_whole(folder / name, as_text(sealed({"format": _FORMAT, "files": listed})))


def record_of(content: bytes) -> FileRecord:
    """What a manifest has of a file with this content."""
    return FileRecord(len(content), hashlib.sha256(content).hexdigest())


def _fault(content: bytes, expected: FileRecord) -> str | None:
    if len(content) != expected.bytes:
        return f"it has {len(content):,} bytes and was written with {expected.bytes:,}"
    return "its bytes are not those that were written" if record_of(content) != expected else None
