""":func:`compare_tails` of many tails at once: Newton's method and monotone roots, vectorised over the tails."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, count
from gradlaw.stats.alternatives.families import FAMILIES, LIMITS
from gradlaw.stats.alternatives.tail import (
    LARGEST_LOG_RATIO,
    Tail,
    TailRows,
    power_law_log_density_rows,
)
from gradlaw.stats.arrays import Array, as_matrix, as_type_of, refuse_non_finite
from gradlaw.stats.nan_policy import NanPolicy, rows_without_nan
from gradlaw.stats.powerlaw import check_k

_BLOCK_OF_ROWS = 2**22  # values that are searched for them


@dataclass(frozen=True, eq=False)
class TailAlternatives(ByValue):
    """:class:`TailAlternative` of m tails: arrays of shape (m,), of the meaning they have for one tail.

    ``at_limit`` says where ``status`` would be "power law limit", ``converged`` is False where it would be
    "not converged". ``nested_p_value`` is None for the exponential.
    """

    family: str
    parameters: dict[str, Array]
    log_likelihood: Array
    ratio: Array
    normalized_ratio: Array
    p_value: Array
    nested_p_value: Array | None
    at_limit: Array
    converged: Array


@dataclass(frozen=True, eq=False)
class TailComparisons(ByValue):
    """:class:`TailComparison` of m tails: arrays of shape (m,), and the scalar that they share.

    A degenerate sample (see :class:`~gradlaw.stats.powerlaw.PowerLawFits`) cannot be compared: ratios 0, p-values 1,
    log-likelihoods and parameters 0. Parameters are infinite only at the power law limit. No entry is NaN.
    """

    k: int
    lambda_min: Array
    beta: Array
    log_likelihood: Array
    lognormal: TailAlternatives
    exponential: TailAlternatives
    stretched_exponential: TailAlternatives
    power_law_with_cutoff: TailAlternatives
    degenerate: Array

    @property
    def alternatives(self) -> tuple[TailAlternatives, ...]:
        """All four."""
        return self.lognormal, self.exponential, self.stretched_exponential, self.power_law_with_cutoff


def compare_tails_rows(
    matrix: Array, k: int = 1000, *, nan_policy: NanPolicy = "raise", block_bytes: int = 2**21
) -> TailComparisons:
    """:func:`compare_tails` of every row of a matrix, in one go.

    The fits are found by other ways than one at a time, since a loop over tails in Python would take most of the time:
    the lognormal by a root of a function of two sums, the others by Newton's method. A tail for which such a way does
    not come to an end is fitted as :func:`compare_tails` does it. Log-likelihoods agree to 1e-6.

    Args:
        matrix: array of shape (m, L), L >= k.
        k: how many of the largest magnitudes of each row to use.
        nan_policy: "raise" refuses NaN, "omit" leaves them out; no row may then have fewer than k values.
        block_bytes: of tails in float64 that are worked on at a time: memory against speed, results agree to rounding.

    Returns:
        Arrays of shape (m,), float64 and bool, of the kind of ``matrix`` and, for a tensor, on its device. The work is
        done in main memory.

    Raises:
        InputError: k < 2, k > L, a value that is not finite, or k values that span more than 260 decades.

    Example:
        >>> import numpy as np
        >>> rows = compare_tails_rows(np.random.default_rng(0).exponential(size=(20, 5000)), k=500)
        >>> bool((rows.exponential.ratio < 0).all())
        True
    """
    rows = as_matrix(matrix)
    k = check_k(k, rows.shape[1])
    rows = rows_without_nan(rows, k, nan_policy)
    step = max(1, min(count(block_bytes, "block_bytes") // (8 * k), _BLOCK_OF_ROWS // rows.shape[1]))
    blocks = [_block(rows, start, min(start + step, len(rows)), k) for start in range(0, len(rows), step)]
    if not blocks:
        blocks = [_compare_block(np.empty((0, k)))]
    names = blocks[0].keys()
    columns = {name: _kind(np.concatenate([block[name] for block in blocks]), matrix) for name in names}
    alternatives = {family: _alternatives(family, columns) for family in FAMILIES}
    return TailComparisons(
        k=k,
        lambda_min=columns["lambda_min"],
        beta=columns["beta"],
        log_likelihood=columns["log_likelihood"],
        degenerate=columns["degenerate"],
        **alternatives,
    )


def _kind(column: np.ndarray, matrix: Array) -> Array:
    tensor = torch.from_numpy(column)
    return as_type_of(tensor.to(matrix.device) if isinstance(matrix, Tensor) else tensor, matrix)


def _alternatives(family: str, columns: dict[str, Array]) -> TailAlternatives:
    return TailAlternatives(
        family=family,
        parameters={name: columns[f"{family}.{name}"] for name in FAMILIES[family].parameters},
        nested_p_value=None if family == "exponential" else columns[f"{family}.nested_p_value"],
        **{
            name: columns[f"{family}.{name}"]
            for name in ("log_likelihood", "ratio", "normalized_ratio", "p_value", "at_limit", "converged")
        },
    )


def _block(rows: Tensor, start: int, stop: int, k: int) -> dict[str, np.ndarray]:
    largest = rows[start:stop].abs().topk(k, dim=1).values
    if not torch.isfinite(largest[:, 0]).all():
        refuse_non_finite(rows)
    tails = largest.double().cpu().numpy()
    positive = tails[:, -1] > 0
    logs = np.log(np.where(positive[:, None], tails[:, [0, -1]], 1.0))
    wide = logs[:, 0] - logs[:, 1] > LARGEST_LOG_RATIO
    if wide.any():
        row = start + int(np.argmax(wide))
        raise InputError(f"the k={k} largest magnitudes of row {row} span more than 260 decades: they would overflow")
    return _compare_block(tails)


def _compare_block(tails: np.ndarray) -> dict[str, np.ndarray]:
    """All columns of the result for a block of tails, descending."""
    regular = (tails[:, -1] > 0) & (tails[:, 0] > tails[:, -1])
    columns = {"lambda_min": tails[:, -1].copy(), "degenerate": ~regular}

    def spread(name: str, values: np.ndarray, elsewhere: float | bool) -> None:
        columns[name] = np.full(len(tails), elsewhere, dtype=values.dtype)
        columns[name][regular] = values

    sample = TailRows.of(tails[regular])
    power_law = power_law_log_density_rows(sample)
    beta = np.where(tails[:, -1] > 0, np.inf, 1.0)  # the limits of a degenerate sample
    beta[regular] = 1 + 1 / sample.mean
    columns["beta"] = beta
    spread("log_likelihood", power_law.sum(axis=1), 0.0)
    for family in FAMILIES:
        for name, values in _compare_family(family, sample, power_law).items():
            spread(f"{family}.{name}", values, {"p_value": 1.0, "nested_p_value": 1.0, "converged": True}.get(name, 0))
    return columns


def _compare_family(name: str, tails: TailRows, power_law: np.ndarray) -> dict[str, np.ndarray]:
    family = FAMILIES[name]
    fits = family.fit_rows(tails)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # of rows that are replaced below
        log_density = family.log_density_rows(tails, fits)
    log_density[fits.at_limit] = power_law[fits.at_limit]
    parameters = {key: fits.parameters[key].copy() for key in family.parameters}
    at_limit, converged = fits.at_limit.copy(), np.ones(len(power_law), bool)
    for row in np.flatnonzero(~fits.converged).tolist():
        single = family.fit(_single(tails, row))
        at_limit[row], converged[row] = single.log_density is None, single.status != "not converged"
        log_density[row] = power_law[row] if single.log_density is None else single.log_density
        for key in parameters:
            parameters[key][row] = single.parameters[key]
    for key in parameters if at_limit.any() else ():
        limits = [LIMITS[name](mean)[key] for mean in tails.mean[at_limit]]
        parameters[key][at_limit] = limits
    return parameters | _ratios(name, power_law, log_density, at_limit) | {"at_limit": at_limit, "converged": converged}


def _single(tails: TailRows, row: int) -> Tail:
    return Tail(tails.log_ratio[row], tails.excess[row], float(tails.curvature[row]))


def _ratios(name: str, power_law: np.ndarray, log_density: np.ndarray, at_limit: np.ndarray) -> dict[str, np.ndarray]:
    """The statistics of :func:`compare_tails`, row by row."""
    difference = power_law - log_density
    ratio = difference.sum(axis=1)
    deviation = difference - difference.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.einsum("ij,ij->i", deviation, deviation))
    normalized = np.divide(ratio, spread, out=np.zeros_like(ratio), where=spread > 0)
    chi2 = special.chdtrc(1, 2 * np.abs(ratio))
    p_value = chi2 if name == "power_law_with_cutoff" else special.erfc(np.abs(normalized) / math.sqrt(2))
    return {
        "log_likelihood": log_density.sum(axis=1),
        "ratio": ratio,
        "normalized_ratio": normalized,
        "p_value": p_value,
        "nested_p_value": chi2 if name == "power_law_with_cutoff" else np.where(at_limit, 1.0, chi2 / 2),
    }
