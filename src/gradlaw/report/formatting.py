"""Numbers as text."""

import math


def percent(share: float | None) -> str:
    """A share as a percentage, never rounded to 0% or 100% unless it is; a dash for what is missing."""
    if share is None or math.isnan(share):
        return "-"
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{100 * share:.1f}%"


def chance(share: float) -> str:
    """A simulated share as a whole percentage; never 0% or 100%, which no simulation shows."""
    return "<1%" if share < 0.01 else ">99%" if share > 0.99 else f"{share:.0%}"


def number(value: float | None) -> str:
    """Three significant digits; a dash for what is missing."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.2e}" if value and abs(value) < 1e-3 else f"{value:.3g}"


def yes(passed: bool) -> str:
    return "yes" if passed else "no"


def with_error(value: float, error: float) -> str:
    """A value to the second digit of its standard error."""
    if math.isnan(value):
        return "-"
    if not math.isfinite(value):
        return "infinite"
    if not math.isfinite(error):
        return f"{number(value)} ± infinite"
    if error <= 0:
        return number(value)
    decimals = 1 - math.floor(math.log10(error))
    if decimals > 6 or abs(value) >= 1e7:
        return f"{number(value)} ± {error:.1e}"
    return f"{round(value, decimals):,.{max(0, decimals)}f} ± {round(error, decimals):,.{max(0, decimals)}f}"


NO_VERDICT = "no verdict"


def rate(share: float | None, no_verdict: str | None) -> str:
    """A rate, or that there is no verdict, for a reason given elsewhere."""
    return percent(share) if no_verdict is None else NO_VERDICT


def by_chance(published: float | None, calibrated: float | None) -> str:
    """The shares of Gaussian series that pass both verdicts."""
    if published is None or calibrated is None or published != published:
        return "-"
    return f"{chance(published)} / {chance(calibrated)}"
