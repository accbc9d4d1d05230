"""Decoded splits on disk, in ``$GRADLAW_CACHE`` or ``gradlaw`` in the user's cache directory.

A file is one of safetensors: four arrays, and in its metadata what else is known of them and the SHA-256 of it all, for
safetensors has no checksum. Its name ends in a key made of everything that the content depends on, so that a changed
source is another file. It is written whole or not at all: processes that run at the same time read whole files only.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from gradlaw.atomic import replacing
from gradlaw.data.decoded import Decoded
from gradlaw.data.location import Location
from gradlaw.data.moments import Moments
from gradlaw.extras import extra

VARIABLE = "GRADLAW_CACHE"
OFF = "off"
_FORMAT = 2
_ARRAYS = "values", "targets", "mean", "std"
_SUFFIX, _FORMER = ".safetensors", ".arrays"  # of this format, and of the one before


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
    path = directory / f"{stem}-{key}{_SUFFIX}"
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
        for stale in {old for suffix in (_SUFFIX, _FORMER) for old in directory.glob(f"{stem}-*{suffix}")} - {path}:
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


def _write(path: Path, decoded: Decoded) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = json.dumps({
        "input_columns": decoded.input_columns, "label_column": decoded.label_column, "classes": decoded.classes,
        "image_formats": decoded.image_formats, "revision": decoded.revision,
    })  # fmt: skip
    parts = (decoded.values, decoded.targets, decoded.moments.mean, decoded.moments.std)
    arrays = {name: np.ascontiguousarray(array) for name, array in zip(_ARRAYS, parts, strict=True)}
    with replacing(path, owner=uuid4().hex) as temporary:
        save_file(arrays, temporary, {"header": header, "sha256": _digest(header, arrays)})


def _read(path: Path) -> Decoded | None:
    """What a file holds; None if it is not what was written."""
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError:
        return None
    header = metadata.get("header", "")
    if set(arrays) != set(_ARRAYS) or metadata.get("sha256") != _digest(header, arrays):
        return None
    fields = json.loads(header)
    names = {key: tuple(fields[key]) for key in ("input_columns", "classes", "image_formats")}
    values, targets, mean, std = (arrays[name] for name in _ARRAYS)
    return Decoded(values, targets, Moments(mean, std), label_column=fields["label_column"],
                   revision=fields["revision"], **names)  # fmt: skip


def _digest(header: str, arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in _ARRAYS:
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()
