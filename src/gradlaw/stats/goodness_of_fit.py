"""Does a tail look like this family at all? Calibrated p-values of the families a power law is compared with."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gradlaw import random_streams
from gradlaw.errors import InputError, choice, count
from gradlaw.errors import seed as checked_seed
from gradlaw.stats.alternatives.families import FAMILIES, LIMITS, Family
from gradlaw.stats.alternatives.tail import LARGEST_LOG_RATIO, FitStatus, FittedRows, Tail, TailRows
from gradlaw.stats.arrays import Array
from gradlaw.stats.bootstrap import at_a_time, bootstrap_p_value
from gradlaw.stats.calibration import ks_null
from gradlaw.stats.ks_distance import ks_distances
from gradlaw.stats.nan_policy import NanPolicy
from gradlaw.stats.sample import Side, magnitudes
from gradlaw.stats.tail_values import tail_values

FamilyName = Literal["power_law", "lognormal", "exponential", "stretched_exponential", "power_law_with_cutoff"]
_BLOCK = 2**18  # values that are worked on at once


@dataclass(frozen=True)
class GoodnessOfFit:
    """One family, fitted to a tail of k values, and how far the tail is from it.

    ``parameters`` are those of y = x / lambda_min, as in :class:`TailComparison`; at the "power law limit" the distance
    is that from the power law. ``p_value`` is the probability, under the fitted family, of a distance of ``d_ks`` or
    more from a fit of the same family: a small one says that the tail is none of these. ``samples`` is 0 where it comes
    from a table.
    """

    family: str
    k: int
    lambda_min: float
    parameters: dict[str, float]
    status: FitStatus
    d_ks: float
    p_value: float
    samples: int
    seed: int


def goodness_of_fit(
    values: Array,
    k: int | None = None,
    family: FamilyName = "lognormal",
    *,
    tail: Side = "both",
    samples: int = 1000,
    seed: int = 0,
    nan_policy: NanPolicy = "raise",
) -> GoodnessOfFit:
    """Test whether the k largest magnitudes of a sample can be of a family, with all its parameters fitted to them.

    A likelihood ratio says which of two families is nearer; this says whether one is near enough. The parametric
    bootstrap (Clauset, Shalizi, Newman 2009, section 4.1, for another family than theirs): synthetic tails are drawn
    from the fit, fitted by the same family and measured against their own fits. For the power law and the exponential
    the distribution of the distance does not depend on the parameter and is tabulated.

    Args:
        values: array of shape (L,), L >= k.
        k: how many of the largest magnitudes to use (1000 by default); lambda_min is the k-th, and the family is
            truncated to what lies above.
        family: "power_law", "lognormal", "exponential", "stretched_exponential" or "power_law_with_cutoff".
        tail: "both" takes magnitudes, "right" positive values, "left" the magnitudes of negative ones.
        samples: how many synthetic tails; the standard error of p is at most 1 / (2 sqrt(samples)).
        seed: of the draws.
        nan_policy: "raise" refuses NaN, "omit" leaves them out.

    Raises:
        InputError: as :func:`compare_tails`, another family, or samples < 1.

    Example:
        >>> import numpy as np
        >>> values = np.random.default_rng(0).lognormal(0, 1, 5000)
        >>> goodness_of_fit(values, 1000, "lognormal").p_value > 0.1
        True
        >>> goodness_of_fit(values, 1000, "exponential").p_value < 0.01
        True
    """
    choice(family, "family", ("power_law", *FAMILIES))
    samples, seed = count(samples, "samples"), checked_seed(seed)
    chosen = tail_values(magnitudes(values, tail, nan_policy), k, None)
    chosen.refuse_degenerate()
    size = len(chosen.values)
    if chosen.log_ratio[0] > LARGEST_LOG_RATIO:
        raise InputError(
            f"the k={len(chosen.values)} largest magnitudes span more than 260 decades: they would overflow"
        )
    rows = TailRows.of(chosen.values[None])
    size = len(chosen.values)
    d_ks, parameters, status = _observed(family, rows)
    if family in ("power_law", "exponential"):
        p_value, samples = float(ks_null(size).sf(np.array(np.sqrt(size) * d_ks))), 0
    else:
        rng = np.random.default_rng([random_streams.FAMILY_BOOTSTRAP, seed])
        p_value = bootstrap_p_value(_synthetic(family, rows, size, samples, rng), d_ks)
    return GoodnessOfFit(
        family=family,
        k=size,
        lambda_min=chosen.lambda_min,
        parameters=parameters,
        status=status,
        d_ks=d_ks,
        p_value=p_value,
        samples=samples,
        seed=seed,
    )


def _observed(family: str, rows: TailRows) -> tuple[float, dict[str, float], FitStatus]:
    if family == "power_law":
        mean = float(rows.mean[0])
        return float(ks_distances(np.exp(-rows.log_ratio / mean))[0]), {"beta": 1 + 1 / mean}, "converged"
    fits = _fits(FAMILIES[family], rows)
    distance = float(ks_distances(_survival(FAMILIES[family], rows, fits))[0])
    if fits.at_limit[0]:
        return distance, LIMITS[family](float(rows.mean[0])), "power law limit"
    parameters = {name: float(fits.parameters[name][0]) for name in FAMILIES[family].parameters}
    return distance, parameters, "converged" if fits.converged[0] else "not converged"


def _synthetic(name: str, rows: TailRows, k: int, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Distances of synthetic tails from their own fits."""
    family = FAMILIES[name]
    fits = _fits(family, rows)
    parameters = {key: float(column[0]) for key, column in fits.parameters.items()}
    parts = []
    for number in at_a_time(samples, k, _BLOCK):
        surprise = rng.standard_exponential((number, k))
        drawn = surprise * rows.mean[0] if fits.at_limit[0] else family.draw(parameters, surprise)
        drawn = -np.sort(-drawn, axis=1)
        drawn[:, -1] = 0.0  # lambda_min is one of the k values
        tails = TailRows.of_logs(np.minimum(drawn, LARGEST_LOG_RATIO))
        parts.append(ks_distances(_survival(family, tails, _fits(family, tails))))
    return np.concatenate(parts)


def _fits(family: Family, tails: TailRows) -> FittedRows:
    """The fast fits, and slow ones where those do not come to an end."""
    fits = family.fit_rows(tails)
    for row in np.flatnonzero(~fits.converged).tolist():
        single = family.fit(Tail(tails.log_ratio[row], tails.excess[row], float(tails.curvature[row])))
        fits.at_limit[row] = single.log_density is None
        fits.converged[row] = single.status != "not converged"
        for key, value in single.parameters.items() if single.log_density is not None else ():
            fits.parameters[key][row] = value
        if "tilt" in fits.parameters and single.log_density is not None:
            fits.parameters["tilt"][row] = single.parameters["beta"] - 1 + single.parameters["rate"]
    return fits


def _survival(family: Family, tails: TailRows, fits: FittedRows) -> np.ndarray:
    survival = np.exp(-tails.log_ratio / tails.mean[:, None])
    other = ~fits.at_limit
    if other.any():
        survival[other] = family.survival_rows(tails.part(other), fits.part(other))
    return survival
