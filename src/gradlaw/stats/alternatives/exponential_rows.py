"""The power law against the exponential, for many tails at once."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.stats.alternatives.tail import LARGEST_LOG_RATIO
from gradlaw.stats.arrays import Array, as_matrix, by_parts, like, refuse_non_finite
from gradlaw.stats.nan_policy import NanPolicy, rows_without_nan
from gradlaw.stats.powerlaw import check_k, fit_power_law_rows

_BLOCK_BYTES = 2**22  # of float64 values; about a dozen such arrays live at a time


@dataclass(frozen=True, eq=False)
class ExponentialComparisons(ByValue):
    """The power law of m tails beside the exponential: arrays of shape (m,), of the meaning they have for one tail.

    A degenerate sample (see :class:`~gradlaw.stats.powerlaw.PowerLawFits`) cannot be compared: ratio 0, p-value 1,
    rate 0, log-likelihoods 0. No entry is NaN.
    """

    k: int
    lambda_min: Array
    beta: Array
    rate: Array
    log_likelihood_power_law: Array
    log_likelihood_exponential: Array
    ratio: Array
    normalized_ratio: Array
    p_value: Array
    degenerate: Array


def compare_exponential_rows(
    matrix: Array, k: int = 1000, *, nan_policy: NanPolicy = "raise"
) -> ExponentialComparisons:
    """:func:`compare_tails` with the exponential alone, for every row of a matrix of shape (m, L), in one go.

    Both maximum-likelihood fits are closed forms, beta = 1 + K / sum ln y and rate = K / sum (y - 1). Arrays of the
    result are float64, of the kind of ``matrix`` and, for a tensor, on its device. Rows are worked on in blocks: some
    50 MB live at a time, or a dozen copies of one tail in float64 where that is more. ``nan_policy`` is "raise", or
    "omit" to leave NaN out.

    Args:
        matrix: (m, L), an array or tensor.
        k: how many of the largest magnitudes of each row, 2 to L.
        nan_policy: ``"raise"``, or ``"omit"`` to leave NaN out.

    Raises:
        InputError: k < 2, k > L, a value that is not finite, or k values that span more than 260 decades.
    """
    rows = as_matrix(matrix)
    k = check_k(k, rows.shape[1])
    rows = rows_without_nan(rows, k, nan_policy)

    def describe(part: Tensor, first: int) -> dict[str, Tensor]:
        largest = part.abs().topk(k, dim=1).values
        if not torch.isfinite(largest[:, 0]).all():
            refuse_non_finite(rows)
        return _against_exponential(largest, k, first)

    columns = by_parts(rows, _BLOCK_BYTES, describe)
    return ExponentialComparisons(k=k, **{name: like(column, matrix) for name, column in columns.items()})


def _against_exponential(largest: Tensor, k: int, first: int) -> dict[str, Tensor]:
    """The columns of :class:`ExponentialComparisons` for the tails of rows ``first`` onwards, shape (m, k)."""
    fits = fit_power_law_rows(largest, k)
    beta, lambda_min, degenerate = (torch.as_tensor(a) for a in (fits.beta, fits.lambda_min, fits.degenerate))
    scale = lambda_min.where(~degenerate, 1.0)[:, None]
    ratios = largest.double().where(~degenerate[:, None], 1.0) / scale
    if (ratios[:, 0] > math.exp(LARGEST_LOG_RATIO)).any():
        row = first + int(ratios[:, 0].argmax())
        raise InputError(f"the k={k} largest magnitudes of row {row} span more than 260 decades: they would overflow")
    rate = k / (ratios - 1).sum(dim=1).where(~degenerate, 1.0)
    slope = (beta - 1).where(~degenerate, 1.0)
    power_law = slope.log()[:, None] - (slope[:, None] + 1) * ratios.log()
    exponential = rate.log()[:, None] - rate[:, None] * (ratios - 1)
    difference = (power_law - exponential).where(~degenerate[:, None], 0.0)
    ratio = difference.sum(dim=1)
    spread = (difference - difference.mean(dim=1, keepdim=True)).square().sum(dim=1).sqrt()
    normalized = ratio / spread.where(spread > 0, 1.0)
    return {
        "lambda_min": lambda_min,
        "beta": beta,
        "rate": rate.where(~degenerate, 0.0),
        "log_likelihood_power_law": power_law.sum(dim=1).where(~degenerate, 0.0),
        "log_likelihood_exponential": exponential.sum(dim=1).where(~degenerate, 0.0),
        "ratio": ratio,
        "normalized_ratio": normalized,
        "p_value": torch.special.erfc(normalized.abs() / math.sqrt(2)),
        "degenerate": degenerate,
    }
