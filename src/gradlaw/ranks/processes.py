"""Which of the processes of ``torch.distributed`` this one is."""

import sys
from typing import Any


def world_size() -> int:
    """How many there are."""
    module = distributed()
    return module.get_world_size() if module else 1


def is_first() -> bool:
    """Whether this one writes what all know."""
    module = distributed()
    return module is None or module.get_rank() == 0


def distributed() -> Any | None:
    """``torch.distributed`` where processes have been joined by it; not loaded for the question."""
    module = sys.modules.get("torch.distributed")
    return module if module is not None and module.is_available() and module.is_initialized() else None
