"""Numbers, settings and sizes as cells of tables."""

import math
from collections.abc import Sequence

from gradlaw.report.formatting import number, percent, yes

DASH = "-"


def spread(values: Sequence[float | None], percentage: bool = False) -> str:
    """One value, if all are the same, or the mean and standard deviation over seeds, and how many of them have any."""
    known = [v for v in values if v is not None and not math.isnan(v)]
    write = percent if percentage else number
    if not known:
        return DASH
    of = f" ({len(known)} of {len(values)})" if len(known) < len(values) else ""
    if len(set(known)) == 1:
        return f"{write(known[0])}{of}"
    mean = sum(known) / len(known)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in known) / (len(known) - 1))
    return f"{write(mean)} ± {write(deviation)}{of}"


def counts(values: Sequence[int | None]) -> str:
    """Those that differ between seeds, in their order; a dash for one that there is not."""
    return " / ".join(dict.fromkeys(DASH if value is None else str(value) for value in values))


def verdict(passed: Sequence[bool | None]) -> str:
    """Yes or no; over seeds the count of yes where they differ, and how many there are where some were refused."""
    known = [p for p in passed if p is not None]
    if not known:
        return "refused" if passed else DASH
    if all(known) or not any(known):
        return yes(known[0]) + (f" ({len(known)} of {len(passed)})" if len(known) < len(passed) else "")
    return f"yes {sum(known)}/{len(known)}"


def duration(seconds: float) -> str:
    """As people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(amount: float) -> str:
    """Bytes in GB or MB."""
    return f"{amount / 1e9:.1f} GB" if amount >= 1e9 else f"{amount / 1e6:.1f} MB"
