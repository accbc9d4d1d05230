"""Settings and descriptions as plain data, which JSON can hold."""

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import InputError

_LARGEST_ARRAY = 1000  # values in a description


def plain(value: Any, what: str) -> Any:
    """The same with Python's own numbers, lists and texts in place of NumPy's, torch's and paths.

    Args:
        value: a number, text, None, path, or arrays, lists and mappings of such.
        what: it is, for the message.

    Raises:
        InputError: something else is in it, a number that is not finite, or an array of more than 1,000 values.
    """
    if value is None or isinstance(value, str | bool):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{what}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{what}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, np.ndarray | np.generic | Tensor):
        if math.prod(value.shape) > _LARGEST_ARRAY:
            raise InputError(
                f"{what} is an array of shape {tuple(value.shape)}; a description takes up to 1,000 values"
            )
        return plain(value.tolist(), what)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{what} is {value}, which JSON cannot hold; leave it out, or write it as a text")
        return float(value)
    if isinstance(value, PurePath | torch.dtype | torch.device):
        return str(value)
    raise InputError(
        f"{what} is a {type(value).__name__}, which JSON cannot hold; give numbers, texts, lists and dicts"
    )


def description_of(data: Any) -> dict[str, Any]:
    """What a data set says of itself: its ``description``, if that is a mapping.

    Raises:
        InputError: it holds what JSON cannot.
    """
    described = getattr(data, "description", None)
    return plain(described, "data.description") if isinstance(described, Mapping) else {}
