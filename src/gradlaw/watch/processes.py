"""Which of the processes that train together this one is."""

import sys
from typing import Any


def world_size() -> int:
    """How many there are."""
    module = _distributed()
    return module.get_world_size() if module else 1


def is_first() -> bool:
    """Whether this one writes what all know."""
    module = _distributed()
    return module is None or module.get_rank() == 0


def _distributed() -> Any | None:
    module = sys.modules.get("torch.distributed")
    return module if module is not None and module.is_available() and module.is_initialized() else None
