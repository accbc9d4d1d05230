"""Names that a pattern means: the name itself where it exists, else every name that it matches as shells do."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from gradlaw.errors import InputError, listed


def chosen(patterns: str | Sequence[str] | None, names: Sequence[str], none_matches: str, most: int) -> list[str]:
    """The names that any of the patterns means, in the order of the names; all of them without patterns.

    Args:
        patterns: one, several, or None.
        names: to choose from.
        none_matches: how the message begins for a pattern that means none of them.
        most: names that a message lists.

    Raises:
        InputError: a pattern that means no name, or no patterns in a list of them.
    """
    if patterns is None:
        return list(names)
    wanted = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(wanted, Sequence) or not all(isinstance(pattern, str) for pattern in wanted):
        raise InputError(f"parameters must be names or patterns, one text or a list of texts, got {patterns!r}")
    matches = {pattern: matching(pattern, names) for pattern in wanted}
    for pattern, matched in matches.items():
        if not matched:
            raise InputError(f"{none_matches} {pattern!r}; there are: {listed(names, most)}")
    taken = set().union(*matches.values())
    if not taken:
        raise InputError(f"parameters is empty; give names or patterns out of: {listed(names, most)}")
    return [name for name in names if name in taken]


def matching(pattern: str, names: Sequence[str]) -> set[str]:
    """The names that ``pattern`` means; a name that exists is taken as a name, whatever characters it has."""
    return {pattern} if pattern in names else {name for name in names if fnmatchcase(name, pattern)}
