"""The one exception that means: what was passed in cannot be analysed; and checks of plain arguments that raise it."""

import operator
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Real
from typing import Any

_LARGEST_SEED = 2**64 - 1  # what the generators of torch take
_MOST_LISTED = 12


class InputError(ValueError):
    """Bad input. The message says what was wrong, where, and what to do; the command line exits with status 2."""


class OfAnotherRank(InputError):
    """An error of another rank, which tells of it; this one only ends."""


class RankLost(RuntimeError):
    """Another rank has ended in the middle of the work; the message names it."""


def unknown(kind: str, value: Any, names: Iterable[str], among: str = "there are") -> InputError:
    """The error for a name that is none of those there are, long lists shortened, with the nearest one.

    Args:
        kind: of thing, such as ``"model"``.
        value: what was given.
        names: those there are.
        among: how the list of them begins.
    """
    every = list(names)
    return InputError(f"unknown {kind} {value!r}; {among} {listed(every)}{did_you_mean(value, every)}")


def did_you_mean(value: Any, names: Iterable[str]) -> str:
    """The end of a message, which asks for the nearest of the names; empty if none is near."""
    near = get_close_matches(str(value).lower(), list(names), n=1) if value else []
    return f"; did you mean {near[0]}?" if near else ""


def listed(names: Iterable[str], most: int = _MOST_LISTED) -> str:
    """Names with commas between them, the first ``most`` of many, and how many there are beside those."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def printable(text: str) -> str:
    """Text that a terminal shows as it is: control characters, which might command it, by their escapes in Python."""
    shown = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
    return "".join(shown)


def count(value: Any, name: str, minimum: int = 1) -> int:
    """``value`` as a Python integer of at least ``minimum``.

    Integers of Python, NumPy and torch are accepted; truth values and floats are not, 3.0 included: a float that
    happens to be whole today is a rounding error away from another count tomorrow.

    Raises:
        InputError: no integer, or one below ``minimum``.
    """
    number = _integer(value, name)
    if number < minimum:
        raise InputError(f"{name} must be at least {minimum}, got {number}")
    return number


def seed(value: Any) -> int:
    """A seed as a Python integer from 0 to 2^64 - 1.

    Raises:
        InputError: no integer, or one outside that range.
    """
    number = _integer(value, "seed")
    if not 0 <= number <= _LARGEST_SEED:
        raise InputError(f"seed must be an integer from 0 to 2^64 - 1, got {number}")
    return number


def choice(value: Any, name: str, options: Iterable[str]) -> str:
    """``value`` if it is one of ``options``.

    Raises:
        InputError: it is another string, or no string.
    """
    allowed = list(options)
    if not isinstance(value, str) or value not in allowed:
        meant = did_you_mean(value, allowed) if isinstance(value, str) else ""
        raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}{meant}")
    return value


def significance(alpha: Any, name: str = "alpha") -> float:
    """A significance or confidence level as a float inside (0, 1).

    Raises:
        InputError: no real number, or one that is not strictly between 0 and 1.
    """
    if isinstance(alpha, bool) or not isinstance(alpha, Real) or not 0 < float(alpha) < 1:
        raise InputError(f"{name} must lie between 0 and 1, both excluded; got {alpha!r}")
    return float(alpha)


def _integer(value: Any, name: str) -> int:
    if isinstance(value, bool) or str(getattr(value, "dtype", "")) in ("bool", "torch.bool"):
        raise InputError(f"{name} must be an integer, got the truth value {value!r}")
    try:
        return operator.index(value)
    except TypeError as error:
        hint = f"; int({name}) makes it one" if isinstance(value, Real) else ""
        raise InputError(f"{name} must be an integer, got {value!r}{hint}") from error
