"""How numbers over seeds and places along training are written."""

from collections.abc import Iterable

import pandas as pd

from studies.transformers.design import ADAM, POINTS, SMALL, TESTS
from studies.transformers.tables import Results


def points(results: Results) -> list[tuple[str, str, int]]:
    """Every theta of the tests that was measured: network, optimiser, point; along training, then by optimiser."""
    found = dict.fromkeys((m.network, m.optimiser, m.point) for m in results.of(TESTS))
    order = {(SMALL, ADAM, point): i for i, point in enumerate(POINTS)}
    return sorted(found, key=lambda theta: (theta[0] != SMALL, order.get(theta, len(order)), theta[1], theta[2]))


def where(network: str, optimiser: str, point: int) -> str:
    if not point:
        return "random"
    if network == SMALL:
        return f"{optimiser}, {point} epoch{'s' * (point > 1)}"
    return f"nanoGPT, step {point}"


def spread(values: Iterable[float | None], percent: bool = False) -> str:
    """The mean, with the smallest and largest where there are several that differ."""
    present = [float(v) for v in values if v is not None and not pd.isna(v)]
    if not present:
        return "-"
    show = (lambda v: f"{v:.1%}") if percent else (lambda v: f"{v:.3g}")
    mean, low, high = (show(v) for v in (sum(present) / len(present), min(present), max(present)))
    return mean if low == high else f"{mean} ({low} to {high})"


def passed(verdicts: pd.Series) -> str:
    """How many seeds pass."""
    known = [str(v) == "True" for v in verdicts if not pd.isna(v)]
    return f"{sum(known)} of {len(known)}"


def plus_minus(value: float, error: float) -> str:
    return f"{value:.3g} ± {error:.2g}"
