"""Is a power law the best description of a tail? Likelihood-ratio tests against four other families of distributions.

Everything is computed from y = x / lambda_min >= 1, so that neither the results nor the accuracy depend on the scale.
Three of the four families contain the power law as a limit of their parameters: the lognormal (mu -> -inf with
-mu / sigma^2 fixed), the stretched exponential (shape -> 0 with shape * rate fixed) and the power law with cut-off
(rate -> 0). Where they differ from common practice:

1. On about half of all true power laws the likelihood of such a family has no maximum: it rises all the way to that
   limit. A general optimiser stops somewhere on the way. Here the limit is recognised (for the first two families:
   mean(ln^2 y) >= 2 mean(ln y)^2) and is the result, with a ratio of exactly zero.
2. Therefore the ratio of these three is never positive. "Favours the power law" can only mean "not significantly
   negative", and only the exponential can lose outright.
3. The fits are roots of monotone one-dimensional functions (the families are exponential families, or concave once one
   parameter is eliminated), bracketed and found to rounding: there are no starting values to depend on.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from scipy import optimize, special

from gradlaw.errors import InputError
from gradlaw.stats.arrays import Array, as_float, as_matrix, by_parts, like, refuse_non_finite
from gradlaw.stats.powerlaw import PowerLawFit, check_k, fit_power_law, fit_power_law_rows

FitStatus = Literal["converged", "power law limit", "not converged"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)
_NEGLIGIBLE = 45.0  # a density e^-45 below its peak adds nothing in float64
_LARGEST_LOG = 709.0  # exp of more overflows
_LARGEST_LOG_RATIO = 600.0  # of a tail, so that sums over it do not overflow
_STEPS = 2.0 ** np.arange(-50, 11)
_BLOCK_BYTES = 2**22  # of float64 values; about a dozen such arrays live at a time
_SMALLEST_LOG_RATE = -650.0  # a rate that cannot be told from zero
_SAME_AS_LIMIT = 1e-10  # curvature of the tail below which family and power law agree to K * 1e-20 in log-likelihood


@dataclass(frozen=True)
class TailAlternative:
    """One family, fitted to the tail by maximum likelihood and compared with the power law.

    ``ratio`` is R, the log-likelihood of the power law minus that of this family: positive favours the power law.
    ``normalized_ratio`` is R / (sigma sqrt(K)) with sigma^2 the variance of the K differences.

    ``p_value`` is the one of Clauset, Shalizi, Newman 2009: two-sided, erfc(abs(R) / (sqrt(2 K) sigma)) (Vuong 1989),
    or P(chi^2_1 > 2 abs(R)) for the power law with cut-off, although the power law lies on the boundary of that family.

    ``nested_p_value`` is the probability of so small an R under a true power law. For the lognormal and the stretched
    exponential that too lies on the boundary (R = 0 half of the time), so it is 1/2 P(chi^2_1 > 2 abs(R)), or 1 where
    R = 0 (Self and Liang 1987). Vuong's test assumes families that are apart: simulated under a power law, it
    rejects 0.1% at a nominal 5%, this one 5%. For the cut-off it is ``p_value``: that rejects 2 to 5%, and its half,
    which is right for beta > 3, 9% at beta = 1.7. For the exponential it is None.

    ``status`` is "power law limit" where no member of the family fits better than the power law, R = 0. Parameters are
    those of x / lambda_min, ``log_likelihood`` is that of x / lambda_min too.
    """

    family: str
    parameters: dict[str, float]
    log_likelihood: float
    ratio: float
    normalized_ratio: float
    p_value: float
    nested_p_value: float | None
    status: FitStatus


@dataclass(frozen=True)
class TailComparison:
    """The power law of a tail beside four other families fitted to the same k values.

    With y = x / lambda_min >= 1, p(y) is proportional to:

    ================================  ======================================  ==================
    power_law                         y^(-beta)                               beta
    lognormal                         exp(-(ln y - mu)^2 / (2 sigma^2)) / y   mu, sigma
    exponential                       exp(-rate y)                            rate
    stretched_exponential             y^(shape - 1) exp(-rate y^shape)        shape, rate
    power_law_with_cutoff             y^(-beta) exp(-rate y)                  beta (any), rate
    ================================  ======================================  ==================

    In units of the data mu is larger by ln lambda_min, sigma, shape and beta are the same, a rate is divided by
    lambda_min (the stretched exponential's by lambda_min^shape), and every log-likelihood is lower by K ln lambda_min.
    """

    k: int
    lambda_min: float
    power_law: PowerLawFit
    log_likelihood: float
    lognormal: TailAlternative
    exponential: TailAlternative
    stretched_exponential: TailAlternative
    power_law_with_cutoff: TailAlternative

    @property
    def alternatives(self) -> tuple[TailAlternative, ...]:
        """All four."""
        return self.lognormal, self.exponential, self.stretched_exponential, self.power_law_with_cutoff


@dataclass(frozen=True)
class ExponentialComparisons:
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


def compare_tails(values: Array, k: int = 1000) -> TailComparison:
    """Compare the power law with four other families on the k largest magnitudes of a sample.

    Args:
        values: array of shape (L,), L >= k.
        k: how many of the largest magnitudes to use; lambda_min is the k-th, and all families are truncated to it.

    Returns:
        The maximum-likelihood fits and the likelihood-ratio tests of Clauset, Shalizi, Newman 2009, section 5 and
        appendix C. Look at ``status`` before a number, and at the sign and the p-value of a ratio together: a large
        p-value says that the data cannot tell the two families apart.

    Raises:
        InputError: k < 2, k > L, a value that is not finite, fewer than k nonzero magnitudes, k equal ones, or
            magnitudes that span more than 260 decades.

    Example:
        >>> import numpy as np
        >>> comparison = compare_tails(np.random.default_rng(0).exponential(size=10_000), k=1000)
        >>> comparison.exponential.ratio < 0, comparison.exponential.p_value < 1e-6
        (True, True)
    """
    fit, tail = fitted_tail(values, k)
    sample = _Tail.of(tail)
    power_law = _power_law_log_density(sample, fit.beta)
    families = {
        "lognormal": _fit_lognormal,
        "exponential": _fit_exponential,
        "stretched_exponential": _fit_stretched_exponential,
        "power_law_with_cutoff": _fit_cutoff,
    }
    alternatives = {name: _compare(name, power_law, fit_family(sample)) for name, fit_family in families.items()}
    return TailComparison(
        k=fit.k, lambda_min=fit.lambda_min, power_law=fit, log_likelihood=float(power_law.sum()), **alternatives
    )


def compare_exponential_rows(matrix: Array, k: int = 1000) -> ExponentialComparisons:
    """:func:`compare_tails` with the exponential alone, for every row of a matrix of shape (m, L), in one go.

    Both maximum-likelihood fits are closed forms, beta = 1 + K / sum ln y and rate = K / sum (y - 1). Arrays of the
    result are float64, of the kind of ``matrix`` and, for a tensor, on its device. Rows are worked on in blocks: some
    50 MB live at a time, or a dozen copies of one tail in float64 where that is more.

    Raises:
        InputError: k < 2, k > L, a value that is not finite, or k values that span more than 260 decades.
    """
    rows = as_matrix(matrix)
    k = check_k(k, rows.shape[1])

    def describe(part: torch.Tensor, first: int) -> dict[str, torch.Tensor]:
        largest = part.abs().topk(k, dim=1).values
        if not torch.isfinite(largest[:, 0]).all():
            refuse_non_finite(rows)
        return _against_exponential(largest, k, first)

    columns = by_parts(rows, _BLOCK_BYTES, describe)
    return ExponentialComparisons(k=k, **{name: like(column, matrix) for name, column in columns.items()})


def _against_exponential(largest: torch.Tensor, k: int, first: int) -> dict[str, torch.Tensor]:
    """The columns of :class:`ExponentialComparisons` for the tails of rows ``first`` onwards, shape (m, k)."""
    fits = fit_power_law_rows(largest, k)
    beta, lambda_min, degenerate = (torch.as_tensor(a) for a in (fits.beta, fits.lambda_min, fits.degenerate))
    scale = lambda_min.where(~degenerate, 1.0)[:, None]
    ratios = largest.double().where(~degenerate[:, None], 1.0) / scale
    if (ratios[:, 0] > math.exp(_LARGEST_LOG_RATIO)).any():
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


def fitted_tail(values: Array, k: int) -> tuple[PowerLawFit, np.ndarray]:
    """The power law of a sample and the k magnitudes it was fitted to, descending, float64; degenerate ones refused."""
    fit = fit_power_law(values, k)
    k = fit.k
    tail: np.ndarray = as_float(values).abs().topk(k).values.double().cpu().numpy()
    if fit.lambda_min == 0:
        raise InputError(f"k={k}, but only {np.count_nonzero(tail)} magnitudes are nonzero: take a smaller k")
    if fit.degenerate:
        raise InputError(f"the k={k} largest magnitudes all equal {fit.lambda_min}: no distribution can be fitted")
    if np.log(tail[0]) - np.log(tail[-1]) > _LARGEST_LOG_RATIO:
        raise InputError(f"the k={k} largest magnitudes span more than 260 decades: they would overflow")
    return fit, tail


@dataclass(frozen=True)
class _Tail:
    """A tail as ln y and y - 1, y = x / lambda_min."""

    log_ratio: np.ndarray
    excess: np.ndarray
    curvature: float  # 1 - mean(ln^2 y) / (2 mean(ln y)^2): 0 for a power law, 1/2 for ln y without spread

    @classmethod
    def of(cls, tail: np.ndarray) -> "_Tail":
        excess = (tail - tail[-1]) / tail[-1]  # without the rounding of y, which would matter close to 1
        log_ratio = np.log1p(excess)
        curvature = 1 - float(np.mean(log_ratio**2) / (2 * log_ratio.mean() ** 2))
        return cls(log_ratio, excess, curvature)


@dataclass(frozen=True)
class _Fitted:
    parameters: dict[str, float]
    log_density: np.ndarray | None  # of each value; None at the power law limit
    status: FitStatus


def _compare(family: str, power_law: np.ndarray, fitted: _Fitted) -> TailAlternative:
    log_density = power_law if fitted.log_density is None else fitted.log_density
    difference = power_law - log_density
    ratio = float(difference.sum())
    spread = math.sqrt(np.square(difference - difference.mean()).sum())
    normalized = ratio / spread if spread > 0 else 0.0
    vuong = math.erfc(abs(normalized) / math.sqrt(2))
    chi2 = float(special.chdtrc(1, 2 * abs(ratio)))
    boundary = 1.0 if fitted.log_density is None else chi2 / 2
    p_value, nested_p_value = {"exponential": (vuong, None), "power_law_with_cutoff": (chi2, chi2)}.get(
        family, (vuong, boundary)
    )
    return TailAlternative(
        family=family,
        parameters=fitted.parameters,
        log_likelihood=float(log_density.sum()),
        ratio=ratio,
        normalized_ratio=normalized,
        p_value=p_value,
        nested_p_value=nested_p_value,
        status=fitted.status,
    )


def _root(function: Callable[[float], float], low: float, high: float) -> tuple[float, FitStatus]:
    """The root of a monotone function between two points of opposite sign."""
    result: Any = optimize.brentq(
        function, low, high, xtol=1e-300, rtol=1e-14, maxiter=200, full_output=True, disp=False
    )
    return float(result[0]), "converged" if result[1].converged else "not converged"


def _power_law_log_density(tail: _Tail, beta: float) -> np.ndarray:
    return math.log(beta - 1) - beta * tail.log_ratio


def _fit_exponential(tail: _Tail) -> _Fitted:
    rate = 1 / float(tail.excess.mean())
    return _Fitted({"rate": rate}, math.log(rate) - rate * tail.excess, "converged")


def _fit_lognormal(tail: _Tail) -> _Fitted:
    """A normal distribution of z = ln y >= 0: its curvature depends on mu / sigma alone, and falls with it."""
    if tail.curvature <= _SAME_AS_LIMIT:
        return _Fitted({"mu": -math.inf, "sigma": math.inf}, None, "power law limit")
    mean, deviation = float(tail.log_ratio.mean()), float(tail.log_ratio.std())
    low, high = -10 - 2 * mean / deviation, 10 + 2 / math.sqrt(tail.curvature)
    start, status = _root(lambda start: _normal_tail(start)[1] - tail.curvature, low, high)
    sigma = mean / _normal_tail(start)[0]
    mu = -start * sigma
    return _Fitted({"mu": mu, "sigma": sigma}, _lognormal_log_density(tail.log_ratio, mu, sigma), status)


def _normal_tail(start: float) -> tuple[float, float]:
    """Of a standard normal distribution beyond ``start``: the mean distance from ``start``, and the curvature.

    With M_j the j-th moment of that distance, M_(j+1) = j M_(j-1) - start M_j. For start > 2 its continued fraction
    M_j / M_(j-1) = j / (start + M_(j+1) / M_j) has positive terms only, so that nothing cancels as start -> inf.
    """
    if start <= 2:
        density_over_survival = math.exp(-(start**2) / 2 - special.log_ndtr(-start)) / math.sqrt(2 * math.pi)
        first = density_over_survival - start
        return first, 1 - (1 - start * first) / (2 * first**2)
    following = 0.0
    for j in range(200, 2, -1):
        following = j / (start + following)  # M_j / M_(j-1)
    second = 2 / (start + following)
    return 1 / (start + second), (following - second) / (start + following)


def _lognormal_log_density(log_ratio: np.ndarray, mu: float, sigma: float) -> np.ndarray:
    start = -mu / sigma
    scaled = log_ratio / sigma
    if start > 0:  # P(ln y > 0) = erfcx(start / sqrt 2) exp(-start^2 / 2) / 2: the exponentials cancel by hand
        log_survival = math.log(special.erfcx(start / math.sqrt(2)) / 2)
    else:
        log_survival = float(special.log_ndtr(-start)) + start**2 / 2
    constant = math.log(sigma) + math.log(2 * math.pi) / 2 + log_survival
    return -log_ratio - scaled * (start + scaled / 2) - constant


def _fit_stretched_exponential(tail: _Tail) -> _Fitted:
    """The likelihood maximised over the rate is concave in the shape: -K ln mean((y^shape - 1) / shape) is concave."""
    if tail.curvature <= _SAME_AS_LIMIT:
        return _Fitted({"shape": 0.0, "rate": math.inf}, None, "power law limit")
    mean = float(tail.log_ratio.mean())

    def score(shape: float) -> float:
        exponent = shape * tail.log_ratio
        weights = tail.log_ratio * np.exp(exponent - exponent[0])  # the first is the largest: no overflow
        integral = weights @ special.exprel(-exponent)
        derivative = (weights * tail.log_ratio) @ special.hyp1f1(1, 3, -exponent) / 2
        return mean - float(derivative / integral)

    high = 1 / mean
    while score(high) > 0:
        high *= 2
    shape, status = _root(score, 0.0, high)
    exponent = shape * tail.log_ratio
    grown = tail.log_ratio * special.exprel(-exponent) * np.exp(exponent - exponent[0])
    log_slope = -float(exponent[0]) - math.log(grown.mean())  # ln(shape * rate)
    log_density = log_slope + (shape - 1) * tail.log_ratio - grown / grown.mean()
    return _Fitted({"shape": shape, "rate": math.exp(log_slope) / shape}, log_density, status)


def _fit_cutoff(tail: _Tail) -> _Fitted:
    """A family exp(-tilt t - rate (e^t - 1 - t)) of t = ln y: match the mean of t by the tilt, of the rest by the rate.

    beta = 1 + tilt - rate. Without the linear term of e^t the two parameters stay apart for values close together too.
    """
    mean_log, mean_growth = float(tail.log_ratio.mean()), float(_growth(tail.log_ratio).mean())
    limit = _Fitted({"beta": 1 + 1 / mean_log, "rate": 0.0}, None, "power law limit")
    if mean_growth * (1 - mean_log) >= mean_log**2 * (1 - _SAME_AS_LIMIT):  # beyond its mean under the power law
        return limit

    def surplus(log_rate: float) -> float:
        rate = math.exp(log_rate)
        return _CutoffTail.of(_cutoff_tilt(mean_log, rate)[0], rate).mean_growth / mean_growth - 1

    low = high = -math.log(mean_growth)
    while surplus(low) <= 0:
        if low == _SMALLEST_LOG_RATE:
            return limit
        low = max(low - 1 - (high - low), _SMALLEST_LOG_RATE)
    while surplus(high) >= 0:
        high += 1 + (high - low)
    log_rate, status = _root(surplus, low, high)
    rate = math.exp(log_rate)
    tilt, tilt_status = _cutoff_tilt(mean_log, rate)
    parameters = {"beta": 1 + tilt - rate, "rate": rate}
    log_density = _cutoff_log_density(tail.log_ratio, tilt, rate)
    return _Fitted(parameters, log_density, status if tilt_status == "converged" else tilt_status)


def _cutoff_tilt(mean_log: float, rate: float) -> tuple[float, FitStatus]:
    """The tilt at which the mean of ln y is the given one."""

    def surplus(tilt: float) -> float:
        return _CutoffTail.of(tilt, rate).mean_log / mean_log - 1

    high = 2 / mean_log  # where even without a cut-off the mean is half as large
    low = high / 2
    while surplus(low) <= 0:
        low -= high - low
    return _root(surplus, low, high)


def _cutoff_log_density(log_ratio: np.ndarray, tilt: float, rate: float) -> np.ndarray:
    return -(1 + tilt) * log_ratio - rate * _growth(log_ratio) - _CutoffTail.of(tilt, rate).log_integral


def _growth(t: np.ndarray) -> np.ndarray:
    """e^t - 1 - t."""
    growth = np.expm1(t) - t
    small = np.abs(t) < 0.5
    growth[small] = t[small] ** 2 / 2 * special.hyp1f1(1, 3, t[small])
    return growth


@dataclass(frozen=True)
class _CutoffTail:
    """The density exp(-tilt t - rate (e^t - 1 - t)) of t = ln y >= 0, by quadrature.

    Its integral is e^rate E_beta(rate) = e^rate rate^(beta - 1) Gamma(1 - beta, rate), beta = 1 + tilt - rate, the
    generalised exponential integral for any real beta. The exponent is concave, so one interval holds all that counts,
    and the same nodes serve the two means.
    """

    log_integral: float
    mean_log: float
    mean_growth: float

    @classmethod
    def of(cls, tilt: float, rate: float) -> "_CutoffTail":
        low = _end_of_density(tilt, rate, -1)
        high = _end_of_density(tilt - 1, rate, 1)  # of the density times e^t, which reaches farther
        edges = np.linspace(low, high, 17 + int(high - low))
        half = (edges[1] - edges[0]) / 2
        t = (edges[:-1, None] + half * (1 + _NODES)).ravel()
        growth = _growth(t)
        exponent = -tilt * t - rate * growth
        largest = float(exponent.max())
        density = np.exp(exponent - largest) * np.tile(half * _WEIGHTS, len(edges) - 1)
        total = density.sum()
        return cls(largest + math.log(total), float(density @ t / total), float(density @ growth / total))


def _end_of_density(tilt: float, rate: float, side: int) -> float:
    """A point, on one side of the mode, beyond which exp(-tilt t - rate (e^t - 1 - t)), t >= 0, is negligible."""
    mode = math.log1p(-tilt / rate) if tilt < 0 else 0.0
    slope, curvature = (0.0, rate - tilt) if mode > 0 else (tilt, rate)  # there
    last = 0.0 if side < 0 else _LARGEST_LOG
    points = np.clip(mode + side * _STEPS, 0.0, _LARGEST_LOG)
    distance = np.minimum(points - mode, 600)  # far beyond the end, and short of overflow
    drop = slope * distance + curvature * _growth(distance)
    return float(points[np.argmax((drop > _NEGLIGIBLE) | (points == last))])
