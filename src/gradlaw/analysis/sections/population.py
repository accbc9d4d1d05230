"""The laws of the population behind the covariance spectrum."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradlaw.analysis.section import Run, TableSection, register
from gradlaw.spectra.matrices import COVARIANCE
from gradlaw.spectra.population.fit import PopulationLaw
from gradlaw.spectra.population.of_gram import population_or_reason
from gradlaw.spectra.population.population import independent_iterations, why_dependent
from gradlaw.spectra.population.result import PopulationSpectrum
from gradlaw.stats import fit_power_law

if TYPE_CHECKING:
    import pandas as pd

MOST_ITERATIONS = 2000  # more say little more of a law, and take longer than the rest of an analysis


@register
class Population(TableSection):
    """One row a law (a power law, one with a break), with what both have in common; None where none can be told.

    Columns: ``law``; ``s`` and ``s_below`` with the ends of their intervals of 95%, ``break_rank``, ``p_value``;
    ``height`` (ln lambda) at ``pivot``; ``iterations`` (independent ones, the first 2,000 at most), ``outliers``,
    ``last``, ``spread``. Then, of the k largest eigenvalues of that sample, the exponent ``s_sample`` and distance
    ``d_ks_sample`` of their fit, and the same of as many draws from the law that is not rejected, or else from the
    nearest (:meth:`~gradlaw.spectra.PopulationSpectrum.drawn_sample`): ``s_drawn``, ``d_ks_drawn``.
    """

    name, place, by_ranks = "population", 4, True

    def measure(self, run: Run) -> pd.DataFrame | None:
        settings, covariance = run.gradients.settings, run.measured["spectra"][COVARIANCE]
        reason = why_dependent(settings)
        if reason is None:
            used = min(independent_iterations(settings), MOST_ITERATIONS)
            gram, rounding = run.gram
            known = covariance.eigenvalues if used == len(gram) else None
            with run.progress.stage("population behind the spectrum"):
                found = run.ranks.first(
                    lambda: population_or_reason(gram[:used, :used], run.gradients.shape[1], rounding, covariance=known)
                )
            if not isinstance(found, str):
                return _table(found, run.sizes.of_spectra, run.seed)
            reason = found
        run.notices.append(f"population behind the spectrum left out: {reason}")
        return None


def _table(found: PopulationSpectrum, k: int, seed: int) -> pd.DataFrame:
    import pandas as pd  # loaded for those who keep a table

    k = min(k, found.last, max(2, found.iterations // 3))
    sample, drawn = (fit_power_law(values, k) for values in (found.sample, found.drawn_sample(seed)))
    common = {"iterations": found.iterations, "outliers": found.outliers, "last": found.last, "spread": found.spread,
              "k": k, "s_sample": sample.s, "d_ks_sample": sample.d_ks, "s_drawn": drawn.s,
              "d_ks_drawn": drawn.d_ks}  # fmt: skip
    laws = [law for law in (found.power_law, found.broken) if law is not None]
    return pd.DataFrame([_row(law) | common for law in laws])


def _row(law: PopulationLaw) -> dict[str, Any]:
    row: dict[str, Any] = {"law": "broken power law" if law.broken else "power law"}
    for name in ("s", "s_below", "break_rank"):
        ends = law.interval(name) if law.broken or name == "s" else (math.nan, math.nan)
        value = getattr(law, name)
        row |= {name: math.nan if value is None else value, f"{name}_low": ends[0], f"{name}_high": ends[1]}
    return row | {"p_value": law.p_value, "height": float(law.parameters[0]), "pivot": law.shape.pivot}
