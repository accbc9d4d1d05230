"""Lines of JSON that each end with a digest of the line, so that what was changed on the disk is never read as data."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

_LENGTH = 16  # hexadecimal digits, of a SHA-256
_SEAL = re.compile(rb',"digest":"([0-9a-f]{%d})"\}' % _LENGTH)
_SEAL_BYTES = len(b',"digest":""}') + _LENGTH


def sealed_line(record: Mapping[str, Any]) -> bytes:
    """A record as a line, its end included.

    Raises:
        ValueError: a number in it is not finite.
    """
    text = json.dumps(record, allow_nan=False, separators=(",", ":")).encode()
    return text[:-1] + b',"digest":"' + _digest(text) + b'"}\n'


def is_sealed(line: bytes) -> bool:
    """Whether a line ends with a digest, be it the right one or not."""
    return _SEAL.fullmatch(line[-_SEAL_BYTES:]) is not None


def unsealed_line(line: bytes) -> dict[str, Any] | None:
    """The record of a line without its end; None if it is not what :func:`sealed_line` made."""
    seal = _SEAL.fullmatch(line[-_SEAL_BYTES:])
    text = line[:-_SEAL_BYTES] + b"}"
    if seal is None or seal[1] != _digest(text):
        return None
    record: dict[str, Any] = json.loads(text)
    return record


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_LENGTH].encode()
