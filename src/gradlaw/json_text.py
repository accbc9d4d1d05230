"""Results as JSON, which has neither NaN nor infinities."""

import json
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any


def json_text(record: Any) -> str:
    """The text of a record: infinite values as ``"infinite"`` and ``"-infinite"``, NaN as null, paths as texts.

    Args:
        record: numbers of Python or NumPy, texts, truth values, None, paths, and lists and mappings of such.

    Raises:
        TypeError: something else is in it.
    """
    return json.dumps(_plain(record), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "infinite" if value > 0 else "-infinite"
    return value
