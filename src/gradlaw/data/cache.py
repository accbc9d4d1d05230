"""Decoded splits on disk, in ``$GRADLAW_CACHE`` or ``gradlaw`` in the user's cache directory.

A file holds a JSON header and four arrays, one ``.npy`` after the other, and the SHA-256 of all that. Its name ends in
a key made of everything that the content depends on, so that a changed source is another file. It is written under a
temporary name and renamed: processes that run at the same time read whole files only.
"""

import hashlib
import json
import mmap
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import numpy as np

from gradlaw.data.decoded import Decoded
from gradlaw.data.location import Location
from gradlaw.data.moments import Moments
from gradlaw.extras import extra

VARIABLE = "GRADLAW_CACHE"
OFF = "off"
_FORMAT = 1
_DIGEST = hashlib.sha256().digest_size


def cache_directory() -> Path | None:
    """Where decoded splits are kept: ``$GRADLAW_CACHE``, else ``$XDG_CACHE_HOME/gradlaw``, else ``~/.cache/gradlaw``.

    None if ``GRADLAW_CACHE`` is ``off``.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen == OFF:
        return None
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gradlaw"


def cached(location: Location, split: str, choice: object, build: Callable[[], Decoded]) -> Decoded:
    """The decoded split from the cache, or built and kept there.

    Args:
        location: of the data set.
        split: which split.
        choice: all else that decides what is built, in a form that JSON takes.
        build: makes it.
    """
    directory = cache_directory()
    if directory is None:
        return build()
    with extra("data", "reading data sets"):
        stem, key = _name(location, split, choice)
    path = directory / f"{stem}-{key}.arrays"
    with suppress(OSError):  # not there, or not to be read: made anew
        kept = _read(path)
        if kept is not None:
            return kept
        warnings.warn(f"the cache file {path} is broken and made anew from {location.place}", stacklevel=4)
    decoded = build()
    try:
        _write(path, decoded)
    except OSError as error:
        warnings.warn(
            f"{path} cannot be written ({error.strerror}): the data are read anew every time; set {VARIABLE} to a "
            f"directory that can, or to '{OFF}'",
            stacklevel=4,
        )
    else:
        for stale in set(directory.glob(f"{stem}-*.arrays")) - {path}:
            stale.unlink(missing_ok=True)
    return decoded


def _name(location: Location, split: str, choice: object) -> tuple[str, str]:
    """What is kept, and a key of the state that it was made from."""
    what = _hash([location.kind, location.place, split, choice])
    training = location.fingerprint("train") if split != "train" else []
    software = [_FORMAT, version("pillow"), version("datasets")]
    place = "".join(c if c.isalnum() else "-" for c in Path(location.place).name[:40])
    return f"{place}-{split}-{what}", _hash([location.fingerprint(split), training, software])


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


class _Hashed:
    """A file that also hashes what is written to it."""

    def __init__(self, write: Callable[[bytes], int]):
        self.digest, self._write = hashlib.sha256(), write

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._write(data)


def _write(path: Path, decoded: Decoded) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = json.dumps({
        "input_columns": decoded.input_columns, "label_column": decoded.label_column, "classes": decoded.classes,
        "image_formats": decoded.image_formats, "revision": decoded.revision,
    })  # fmt: skip
    arrays = (decoded.values, decoded.targets, decoded.moments.mean, decoded.moments.std)
    temporary = path.with_name(f"{path.stem}.{uuid4().hex}.partial")
    try:
        with temporary.open("xb") as file:
            hashed = _Hashed(file.write)
            for array in (np.frombuffer(header.encode(), np.uint8), *arrays):
                np.lib.format.write_array(hashed, array, allow_pickle=False)
            file.write(hashed.digest.digest())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _read(path: Path) -> Decoded | None:
    """What a file holds; None if it is not what was written."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size <= _DIGEST:
            return None
        with (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
            memoryview(content) as view,
            view[:-_DIGEST] as body,
        ):
            if hashlib.sha256(body).digest() != content[-_DIGEST:]:
                return None
        header, values, targets, mean, std = (np.lib.format.read_array(file) for _ in range(5))
    fields = json.loads(header.tobytes())
    names = {key: tuple(fields[key]) for key in ("input_columns", "classes", "image_formats")}
    return Decoded(values, targets, Moments(mean, std), label_column=fields["label_column"],
                   revision=fields["revision"], **names)  # fmt: skip
