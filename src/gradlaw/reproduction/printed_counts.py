"""Whether a printed rate can be a count over n, to the digits with which it was printed."""

import math
from decimal import Decimal
from fractions import Fraction


def counts(rate: str, n: int) -> range:
    """All counts c of n for which c / n is printed as ``rate``, by rounding to its last digit or by cutting after it.

    Halves count as rounded either way.

    Args:
        rate: a share as it was printed, such as ``"0.00067"`` or ``"1.7e-3"``.
        n: what it is a share of, at least 1.
    """
    value, unit = _value(rate)
    least = math.ceil(n * (value - unit / 2))
    below = n * (value + unit)  # cut: up to the next number, that excluded
    return range(max(least, 0), min(math.ceil(below), n + 1))


def is_count(rate: str, n: int) -> bool:
    """Whether there is such a count."""
    return len(counts(rate, n)) > 0


def share_of_counts(rate: str, n: int) -> float:
    """Of all numbers with the same first place and the same last place as ``rate``, the share that are counts of n.

    Of 0.00067: of 0.00010, 0.00011, ... 0.00099. It is the chance that :func:`is_count` says yes whatever n is.

    Args:
        rate: as for :func:`counts`, above 0.
        n: at least 1.
    """
    _, digits, exponent = Decimal(rate).as_tuple()
    assert isinstance(exponent, int)
    first = 10 ** (len(digits) - 1)
    alike = range(first, 10 * first)
    return sum(is_count(f"{m}e{exponent}", n) for m in alike) / len(alike)


def _value(rate: str) -> tuple[Fraction, Fraction]:
    """Exactly, and what one in its last place is."""
    number = Decimal(rate)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return Fraction(number), Fraction(10) ** exponent
