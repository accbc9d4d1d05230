"""Gaussianity in depth: how far every series is from a Gaussian, in shape and by three tests on all of its values.

:func:`~gradlaw.stats.gaussian.gaussian_test_rows` tests a hundred values of each series, as published; here every value
counts. A test on tens of thousands of values rejects departures too small to matter, so read the p-values beside the
skewness and the excess kurtosis, which do not grow with the length.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, choice, count, significance
from gradlaw.errors import seed as check_seed
from gradlaw.stats.arrays import Array, as_matrix, as_type_of, by_parts, near_one, refuse_non_finite
from gradlaw.stats.gaussian import SHORTEST, _kurtosis_score, _skewness_score

TESTS = ("jarque_bera", "anderson_darling", "dagostino")
_BLOCK_BYTES = 2**22  # of float64 values; about eight such arrays live at a time


@dataclass(frozen=True, eq=False)
class Gaussianity(ByValue):
    """The shape of m series and three tests of Gaussianity: arrays of shape (m,).

    Skewness and excess kurtosis are those of the values themselves (biased), 0 and 0 for a Gaussian. No entry is NaN. A
    ``degenerate`` series is constant: p-values 0, skewness 0, and inf for everything else.
    """

    skewness: Array
    excess_kurtosis: Array
    jarque_bera: Array
    jarque_bera_p_value: Array
    anderson_darling: Array
    anderson_darling_p_value: Array
    dagostino: Array
    dagostino_p_value: Array
    degenerate: Array


def gaussianity_rows(matrix: Array, *, block_bytes: int = _BLOCK_BYTES) -> Gaussianity:
    """Skewness, excess kurtosis and three tests of Gaussianity of every row, on all of its values.

    Equal to ``scipy.stats.skew``, ``kurtosis``, ``jarque_bera`` and ``normaltest`` and to
    ``statsmodels.stats.diagnostic.normal_ad``, except that the Anderson-Darling statistic stays finite for values so
    far out that 1 - cdf rounds to zero, and that its p-value is 0 above 13, where the approximation ends.

    - Jarque-Bera 1980: L/6 (skewness^2 + excess kurtosis^2 / 4), p-value of chi^2 with 2 degrees of freedom: its limit,
      reached slowly.
    - Anderson-Darling, mean and variance estimated: p-value by D'Agostino and Stephens 1986, Table 4.9.
    - D'Agostino-Pearson 1973: the sum of the squared normal scores of skewness and kurtosis.

    Rows are worked on in blocks: arrays of some 30 MB live at a time, or ten copies of one row in float64
    where that is more.

    Args:
        matrix: array of shape (m, L), L >= 8. float32 is computed on in float64.
        block_bytes: of float64 values that are worked on at a time; results agree to rounding.

    Returns:
        Arrays of shape (m,), of the kind of ``matrix``.

    Raises:
        InputError: L < 8, or a value that is not finite.
    """
    rows = as_matrix(matrix)
    if rows.shape[1] < SHORTEST:
        raise InputError(f"a series of {rows.shape[1]} values is too short: the tests need at least {SHORTEST}")

    def describe(part: Tensor, first: int) -> dict[str, Tensor]:
        if not torch.isfinite(part).all():
            refuse_non_finite(rows)
        return _gaussianity(part)

    columns = by_parts(rows, count(block_bytes, "block_bytes"), describe)
    return Gaussianity(**{name: as_type_of(column, matrix) for name, column in columns.items()})


def passing_ceiling(test: str, length: int, alpha: float = 0.05, samples: int = 10_000, seed: int = 0) -> float:
    """The share of true Gaussian series of some length that pass a test (p > alpha), by simulation.

    It is near 1 - alpha, not equal to it, for the p-values come from approximations; show it beside a rate of passing.
    Its standard error is sqrt(alpha (1 - alpha) / samples).

    Args:
        test: one of ``TESTS``: "jarque_bera", "anderson_darling", "dagostino".
        length: values of each series, at least 8.
        alpha: significance level.
        samples: how many series to draw.
        seed: of the draws.

    Raises:
        InputError: a test of another name, length < 8, samples < 1, a negative seed, or alpha outside (0, 1).
    """
    test, length, samples = choice(test, "test", TESTS), count(length, "length", SHORTEST), count(samples, "samples")
    alpha, rng = significance(alpha), np.random.default_rng(check_seed(seed))
    step = max(1, _BLOCK_BYTES // (8 * length))
    passed = 0
    for start in range(0, samples, step):
        result = gaussianity_rows(rng.standard_normal((min(step, samples - start), length)))
        passed += int((getattr(result, f"{test}_p_value") > alpha).sum())
    return passed / samples


def _gaussianity(rows: Tensor) -> dict[str, Tensor]:
    """The fields of :class:`Gaussianity`."""
    centred, constant = _centred(rows)
    length = rows.shape[1]
    squared = centred.square()
    m2 = squared.mean(dim=1).where(~constant, 1.0)
    skewness = _row_dot(squared, centred) / length / m2**1.5
    kurtosis = _row_dot(squared, squared) / length / m2**2
    del squared
    jarque_bera = length / 6 * (skewness.square() + (kurtosis - 3).square() / 4)
    dagostino = _skewness_score(skewness, length).square() + _kurtosis_score(kurtosis, length).square()
    anderson_darling = _anderson_darling(centred / (m2 * (length / (length - 1))).sqrt()[:, None])
    return {
        "skewness": skewness,  # of a constant row 0 / 1
        "excess_kurtosis": (kurtosis - 3).where(~constant, torch.inf),
        "jarque_bera": jarque_bera.where(~constant, torch.inf),
        "jarque_bera_p_value": _chi2_survival(jarque_bera).where(~constant, 0.0),
        "anderson_darling": anderson_darling.where(~constant, torch.inf),
        "anderson_darling_p_value": _anderson_darling_p_value(anderson_darling, length).where(~constant, 0.0),
        "dagostino": dagostino.where(~constant, torch.inf),
        "dagostino_p_value": _chi2_survival(dagostino).where(~constant, 0.0),
        "degenerate": constant,
    }


def _centred(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The rows less their means, of a scale near one, in float64; and which of them are constant."""
    values = near_one(rows)  # so that the next difference is finite
    values -= values[:, :1].clone()  # exact for close values, so that a mean far from zero costs no digits
    largest = values.abs().amax(dim=1, keepdim=True)
    values /= largest.where(largest > 0, 1.0)
    values -= values.mean(dim=1, keepdim=True)
    return values, largest[:, 0] == 0


def _row_dot(left: Tensor, right: Tensor) -> Tensor:
    return torch.linalg.vecdot(left, right, dim=1)


def _chi2_survival(statistic: Tensor) -> Tensor:
    """Of chi^2 with 2 degrees of freedom."""
    return torch.exp(-statistic / 2)


def _anderson_darling(standard: Tensor) -> Tensor:
    """A^2 of standardised rows of n: -n - sum (2i - 1) / n (ln F(z_i) + ln(1 - F(z_(n+1-i)))), z ascending."""
    n = standard.shape[1]
    z = standard.sort(dim=1).values
    terms = torch.special.log_ndtr(z)
    terms += torch.special.log_ndtr(z.neg_()).flip(1)
    weights = torch.arange(1, 2 * n, 2, dtype=torch.float64, device=z.device) / n
    return -n - terms @ weights


def _anderson_darling_p_value(statistic: Tensor, n: int) -> Tensor:
    """D'Agostino and Stephens 1986, Table 4.9: four branches of exp of a parabola in the modified statistic."""
    a = statistic * (1 + 0.75 / n + 2.25 / n**2)
    upper = torch.exp(1.2937 - 5.709 * a + 0.0186 * a * a).where(a <= 13, 0.0)
    upper = torch.where(a < 0.6, torch.exp(0.9177 - 4.279 * a - 1.38 * a * a), upper)
    lower = torch.where(a < 0.2, -13.436 + 101.14 * a - 223.73 * a * a, -8.318 + 42.796 * a - 59.938 * a * a)
    return torch.where(a < 0.34, 1 - torch.exp(lower), upper)
