"""JSON files of ours: read strictly, and sealed by a digest of their content: no flipped bit is read as a number."""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from gradlaw.errors import InputError

SEAL = "content_sha256"


def parse(content: bytes, path: Path, remedy: str) -> dict[str, Any]:
    """The object that JSON text holds.

    Args:
        content: of the file, UTF-8.
        path: of the file, for messages.
        remedy: what to do about a broken one, for messages.

    Raises:
        InputError: no JSON, another thing than an object, or NaN, an infinity or a number too large for a float in it.
    """
    try:
        record = json.loads(content.decode("utf-8"), parse_constant=_not_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {error}; {remedy}") from error
    if not isinstance(record, dict):
        raise InputError(f"{path} holds a {type(record).__name__} where a JSON object is expected; {remedy}")
    return record


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with the digest of all else in it."""
    return {**record, SEAL: _digest(record)}


def check_seal(record: Mapping[str, Any], path: Path, remedy: str) -> None:
    """Refuse a record that is not what was sealed.

    Raises:
        InputError: it has no seal, or another content than when it was sealed.
    """
    if record.get(SEAL) != _digest({name: value for name, value in record.items() if name != SEAL}):
        raise InputError(f"{path} is damaged: its content is not what was written ({SEAL} differs); {remedy}")


def as_text(record: Mapping[str, Any]) -> str:
    """How records are written: a value a line, and nothing that is not JSON.

    Raises:
        ValueError: a number in it is not finite.
    """
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def _digest(record: Mapping[str, Any]) -> str:
    read_back = json.loads(json.dumps(record, allow_nan=False))  # keys of dicts are texts then
    text = json.dumps(read_back, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _not_finite(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is larger than any float")
    return number
