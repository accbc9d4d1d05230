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
from dataclasses import dataclass

import numpy as np
from scipy import special

from gradlaw.stats.alternatives.families import FAMILIES
from gradlaw.stats.alternatives.tail import FitStatus, Fitted, Tail, fitted_tail, power_law_log_density
from gradlaw.stats.arrays import Array, as_float
from gradlaw.stats.nan_policy import NanPolicy, without_nan
from gradlaw.stats.powerlaw import PowerLawFit


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


def compare_tails(values: Array, k: int = 1000, *, nan_policy: NanPolicy = "raise") -> TailComparison:
    """Compare the power law with four other families on the k largest magnitudes of a sample.

    Args:
        values: array of shape (L,), L >= k.
        k: how many of the largest magnitudes to use; lambda_min is the k-th, and all families are truncated to it.
        nan_policy: "raise" refuses NaN, "omit" leaves them out.

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
    fit, tail = fitted_tail(values if nan_policy == "raise" else without_nan(as_float(values), nan_policy), k)
    sample = Tail.of(tail)
    power_law = power_law_log_density(sample, fit.beta)
    alternatives = {name: _compare(name, power_law, family.fit(sample)) for name, family in FAMILIES.items()}
    return TailComparison(
        k=fit.k, lambda_min=fit.lambda_min, power_law=fit, log_likelihood=float(power_law.sum()), **alternatives
    )


def _compare(family: str, power_law: np.ndarray, fitted: Fitted) -> TailAlternative:
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
