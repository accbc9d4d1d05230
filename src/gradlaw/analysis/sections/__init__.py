"""What an analysis measures: every file of this folder is a section, and is found without being listed anywhere."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from gradlaw.analysis.section import REGISTERED, Section

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)


def all_sections() -> list[Section[Any]]:
    """Every section there is, in the order of their places."""
    return sorted(REGISTERED.values(), key=lambda section: (section.place, section.name))
