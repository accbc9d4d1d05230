"""Names that a pattern means: the name itself where it exists, else every name that it matches as shells do."""

from collections.abc import Sequence
from fnmatch import fnmatchcase


def matching(pattern: str, names: Sequence[str]) -> set[str]:
    """The names that ``pattern`` means; a name that exists is taken as a name, whatever characters it has."""
    return {pattern} if pattern in names else {name for name in names if fnmatchcase(name, pattern)}
