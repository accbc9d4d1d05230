"""Numbers that JSON does not have, as texts, and back."""

from typing import Any

_INFINITE = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


def as_json(value: Any) -> Any:
    """The same with infinities and NaN as texts, inside of lists and mappings too."""
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value)
    return value


def from_json(value: Any) -> Any:
    """The same with these texts as numbers."""
    if isinstance(value, dict):
        return {name: from_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [from_json(item) for item in value]
    return _INFINITE.get(value, value) if isinstance(value, str) else value
