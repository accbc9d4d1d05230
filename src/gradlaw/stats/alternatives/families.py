"""The four families that a tail is compared with: what the fits of many tails need of each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gradlaw.stats.alternatives.cutoff import fit_cutoff
from gradlaw.stats.alternatives.cutoff_rows import (
    cutoff_log_density_rows,
    cutoff_survival_rows,
    draw_cutoff,
    fit_cutoff_rows,
)
from gradlaw.stats.alternatives.exponential import (
    draw_exponential,
    exponential_log_density_rows,
    exponential_survival_rows,
    fit_exponential,
    fit_exponential_rows,
)
from gradlaw.stats.alternatives.lognormal import (
    draw_lognormal,
    fit_lognormal,
    fit_lognormal_rows,
    lognormal_log_density_rows,
    lognormal_survival_rows,
)
from gradlaw.stats.alternatives.stretched_exponential import (
    draw_stretched_exponential,
    fit_stretched_exponential,
    fit_stretched_exponential_rows,
    stretched_exponential_log_density_rows,
    stretched_exponential_survival_rows,
)
from gradlaw.stats.alternatives.tail import Fitted, FittedRows, Tail, TailRows


@dataclass(frozen=True)
class Family:
    """Fits of one tail and of many, ln p and P(Y >= y) of every value, and ln y of a surprise -ln P(Y >= y).

    ``parameters`` are the names that results show; a fit may hold others that its functions need.
    """

    parameters: tuple[str, ...]
    fit: Callable[[Tail], Fitted]
    fit_rows: Callable[[TailRows], FittedRows]
    log_density_rows: Callable[[TailRows, FittedRows], np.ndarray]
    survival_rows: Callable[[TailRows, FittedRows], np.ndarray]
    draw: Callable[[dict[str, float], np.ndarray], np.ndarray]


FAMILIES = {
    "lognormal": Family(
        ("mu", "sigma"),
        fit_lognormal,
        fit_lognormal_rows,
        lognormal_log_density_rows,
        lognormal_survival_rows,
        draw_lognormal,
    ),
    "exponential": Family(
        ("rate",),
        fit_exponential,
        fit_exponential_rows,
        exponential_log_density_rows,
        exponential_survival_rows,
        draw_exponential,
    ),
    "stretched_exponential": Family(
        ("shape", "rate"),
        fit_stretched_exponential,
        fit_stretched_exponential_rows,
        stretched_exponential_log_density_rows,
        stretched_exponential_survival_rows,
        draw_stretched_exponential,
    ),
    "power_law_with_cutoff": Family(
        ("beta", "rate"),
        fit_cutoff,
        fit_cutoff_rows,
        cutoff_log_density_rows,
        cutoff_survival_rows,
        draw_cutoff,
    ),
}
LIMITS: dict[str, Callable[[float], dict[str, float]]] = {
    # What the parameters tend to where the power law of mean ln y = s is the limit of a family.
    "lognormal": lambda s: {"mu": -np.inf, "sigma": np.inf},
    "stretched_exponential": lambda s: {"shape": 0.0, "rate": np.inf},
    "power_law_with_cutoff": lambda s: {"beta": 1 + 1 / s, "rate": 0.0},
}
