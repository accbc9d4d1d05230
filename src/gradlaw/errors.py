"""The one exception that means: what was passed in cannot be analysed; and checks of plain arguments that raise it."""

import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any

_LARGEST_SEED = 2**64 - 1  # what the generators of torch take


class InputError(ValueError):
    """Bad input. The message says what was wrong, where, and what to do; the command line exits with status 2."""


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
        raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
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
