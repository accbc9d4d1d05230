"""Problems and watches from the objects of other libraries, none of which is imported before it is used."""

from importlib import import_module
from types import ModuleType

__all__ = ["lightning", "transformers"]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module 'gradlaw.integrations' has no attribute {name!r}")
    return import_module(f"gradlaw.integrations.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
