"""Power-law fits of the tails of samples: maximum likelihood and the Kolmogorov-Smirnov distance."""

import math
from dataclasses import InitVar, asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, significance
from gradlaw.html_repr import html_table
from gradlaw.stats.arrays import Array, as_matrix, as_type_of, refuse_non_finite
from gradlaw.stats.calibration import calibrated_critical_distance, critical_distance, ks_null
from gradlaw.stats.exponent import corrected_exponent, exponent_interval
from gradlaw.stats.nan_policy import NanPolicy, rows_without_nan
from gradlaw.stats.sample import Side, largest, magnitudes, one_side, precision
from gradlaw.stats.survival import SurvivalPoints, draw_survival, survival_points
from gradlaw.stats.tail_kernel import tail_statistics
from gradlaw.stats.tail_values import TailValues, check_size, tail_values
from gradlaw.stats.threshold_null import threshold_critical_distance, threshold_p_value
from gradlaw.stats.ties import Ties, find_ties, fit_notices
from gradlaw.stats.truncated import bootstrapped_fit, log_width, truncated_cdf

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_TRUNCATED_SAMPLES = 1000
_ROUNDING = 1e-12  # relative, of a distance
FIT_COLUMNS = ("beta", "s", "lambda_min", "d_ks", "p_value", "is_power_law", "is_power_law_calibrated", "degenerate")


@dataclass(frozen=True)
class PowerLawFit:
    """A power law p(x) ~ x^(-beta), x >= lambda_min, fitted to the k largest magnitudes of a sample.

    ``s`` is the exponent of the same law by rank, lambda_r ~ r^(-s). The two verdicts differ in the critical distance:
    ``is_power_law`` takes the published one, which is for a law known beforehand, ``is_power_law_calibrated`` the one
    for an exponent fitted to the same data: it passes up to and with that distance. ``p_value`` is the probability of
    this distance or a larger one under that fitted null, 1 at the smallest distance 1/k, which every sample of two
    has. Below 1e-10 it continues the exact distribution (see
    :class:`~gradlaw.stats.calibration.NullDistribution`). A ``degenerate`` sample has fewer
    than k nonzero magnitudes, or k equal ones: no law can be fitted, and it passes neither.

    ``tail`` is the side that was fitted, ``threshold`` the lambda_min that was chosen beforehand, if one was, and
    ``x_max`` the end of the law, if it was given one; beta may then be any number, and s = 1 / (beta - 1) is no
    exponent by rank. ``ties`` is the share of the k values that equal another of them, ``lattice`` the step of which
    all are multiples, if there is one; ``notices`` says in words what they and the rest mean for the verdicts, and
    ``str`` ends with it.
    """

    k: int
    beta: float
    s: float
    lambda_min: float
    d_ks: float
    d_critical: float
    d_critical_calibrated: float
    p_value: float
    is_power_law: bool
    is_power_law_calibrated: bool
    degenerate: bool
    tail: str = "both"
    threshold: float | None = None
    x_max: float | None = None
    ties: float = 0.0
    lattice: float | None = None
    # Not a field, so that neither comparison nor JSON sees it; replace, copy and pickle keep it.
    ccdf: InitVar[SurvivalPoints | None] = None

    def __post_init__(self, ccdf: SurvivalPoints | None) -> None:
        object.__setattr__(self, "ccdf", ccdf)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a reader of the verdicts has to know; empty if nothing speaks against them."""
        return fit_notices(self.k, self.lambda_min, self.ties, self.lattice)

    @property
    def beta_corrected(self) -> float:
        """The exponent without bias, 1 + (k - 2) / k (beta - 1); with k - 1 above a threshold chosen beforehand.

        Raises:
            InputError: k < 3 (2 above a threshold), a degenerate sample, or a law that ends at x_max.
        """
        self._refuse_without_pivot()
        return corrected_exponent(self.beta, self.k, self.threshold is None)

    def beta_interval(self, level: float = 0.95) -> tuple[float, float]:
        """The interval of confidence ``level`` for beta, equal-tailed and exact under a power law, for a fixed k.

        The sum of the log ratios has a gamma distribution of shape k - 1 (k above a threshold chosen beforehand).
        For a k that was chosen by the data see :func:`tail_start_uncertainty`.

        Raises:
            InputError: level outside (0, 1), a degenerate sample, or a law that ends at x_max.
        """
        self._refuse_without_pivot()
        return exponent_interval(self.beta, self.k, self.threshold is None, level)

    def survival(self, x: np.ndarray) -> np.ndarray:
        """P(X >= x | X >= lambda_min) of the fitted law; 1 below lambda_min and 0 above x_max."""
        if self.degenerate:
            raise InputError("a degenerate sample has no fitted law")
        z = np.log(np.maximum(np.asarray(x, dtype=np.float64), self.lambda_min) / self.lambda_min)
        if self.x_max is None:
            return np.exp(-(self.beta - 1) * z)
        width = np.array(log_width(self.x_max, self.lambda_min))
        return 1 - truncated_cdf(np.array(self.beta - 1), width, np.minimum(z, width))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw P(X >= x) of all magnitudes on logarithmic axes, with the fitted law and lambda_min.

        Of large samples a few hundred points about evenly spaced by the logarithm of their rank are shown: the fit
        keeps no more of its sample.

        Args:
            ax: matplotlib axes to draw on; None makes a new figure.

        Returns:
            The axes.

        Raises:
            InputError: a fit without its points, one that was read from a file.
        """
        points: SurvivalPoints | None = vars(self)["ccdf"]
        if points is None:
            raise InputError("this fit does not hold its sample any more: call fit_power_law again to draw it")
        label = f"degenerate, K = {self.k:,}"
        line = np.empty(0), np.empty(0)
        if not self.degenerate:
            label = rf"$\beta$ = {self.beta:.3g}, $d_{{KS}}$ = {self.d_ks:.3g}, p = {self.p_value:.2g}"
            x = np.geomspace(self.lambda_min, max(points.value), 100)
            line = x, self.survival(x) * self.k / points.length
            kept = line[1] > 0  # a law that ends is zero at its end
            line = line[0][kept], line[1][kept]
        return draw_survival(ax, points, line, label, self.lambda_min)

    def to_frame(self) -> "pd.DataFrame":
        """A table of one row: every field, and ``beta_low`` and ``beta_high``, the 95% interval, where there is one."""
        import pandas as pd  # loaded for those who ask for a table

        row = asdict(self)
        if not self.degenerate and self.x_max is None:
            row["beta_low"], row["beta_high"] = self.beta_interval()
        return pd.DataFrame([row])

    def __repr__(self) -> str:
        if self.degenerate:
            return f"PowerLawFit(k={self.k:,}, degenerate)"
        verdict = f"published={self.is_power_law}, calibrated={self.is_power_law_calibrated}"
        return f"PowerLawFit(k={self.k:,}, beta={self.beta:.4g}, s={self.s:.4g}, d_ks={self.d_ks:.3g}, {verdict})"

    def _repr_html_(self) -> str:
        if self.degenerate:
            notes = {f"note {i}": note for i, note in enumerate(self.notices, 1)}
            return html_table("No power law can be fitted", {"K": f"{self.k:,}", **notes})
        rows: dict[str, object] = {
            "largest values, K": f"{self.k:,}, from {self.lambda_min:.4g}",
            "beta": f"{self.beta:.4g}",
            "s, by rank": f"{self.s:.4g}",
            "d_KS": f"{self.d_ks:.3g}",
            "published": f"{_passes(self.is_power_law)}, critical {self.d_critical:.3g}",
            "calibrated": f"{_passes(self.is_power_law_calibrated)}, critical {self.d_critical_calibrated:.3g}",
            "p": f"{self.p_value:.2g}",
        }
        rows |= {f"note {i}": note for i, note in enumerate(self.notices, 1)}
        return html_table("Power-law fit", rows)

    def __str__(self) -> str:
        if self.degenerate:
            head = f"no power law can be fitted to k = {self.k} values: fewer are nonzero, or all are equal"
            return "\n".join([head, *(f"note: {notice}" for notice in self.notices)])
        end = "" if self.x_max is None else f" <= {self.x_max:.6g}"
        head = f"p(x) ~ x^-{self.beta:.4g}, {self.lambda_min:.6g} <= x{end} (k = {self.k}, s = {self.s:.4g})"
        verdict = "not rejected" if self.is_power_law_calibrated else "rejected"
        test = (
            f"d_ks = {self.d_ks:.4g}, critical {self.d_critical_calibrated:.4g} (published {self.d_critical:.4g}), "
            f"p = {self.p_value:.3g}: {verdict}"
        )
        return "\n".join([head, test, *(f"note: {notice}" for notice in self.notices)])

    def _refuse_without_pivot(self) -> None:
        if self.degenerate:
            raise InputError("a degenerate sample has no exponent")
        if self.x_max is not None:
            raise InputError("a law that ends at x_max has no exact interval; see fit_truncated_power_law")


def _passes(passed: bool) -> str:
    return "passes" if passed else "rejected"


@dataclass(frozen=True, eq=False)
class PowerLawFits(ByValue):
    """:class:`PowerLawFit` of m samples: arrays of shape (m,), and the scalars that they share.

    No entry is NaN. A degenerate sample carries the limits that a vanishing lambda_min or a vanishing spread leads to:
    with z of its k largest magnitudes nonzero, d_ks = max(1 - z/k, z/k - exp(-k/z)) and s = inf, or d_ks = 1 and
    s = 0 for k equal ones; its p-value is 0.
    """

    k: int
    alpha: float
    d_critical: float
    d_critical_calibrated: float
    beta: Array
    s: Array
    lambda_min: Array
    d_ks: Array
    p_value: Array
    is_power_law: Array
    is_power_law_calibrated: Array
    degenerate: Array


def fit_power_law(
    values: Array,
    k: int | None = None,
    alpha: float = 0.05,
    *,
    threshold: float | None = None,
    x_max: float | None = None,
    tail: Side = "both",
    nan_policy: NanPolicy = "raise",
) -> PowerLawFit:
    """Fit a power law to the k largest magnitudes of a sample and test the fit.

    Args:
        values: array of shape (L,), L >= k.
        k: how many of the largest magnitudes to use, 1000 by default; lambda_min is the k-th.
        alpha: significance level of both verdicts.
        threshold: use all magnitudes from here on instead of k of them; k is then their number and lambda_min this
            value, the ``xmin`` of Clauset, Shalizi, Newman 2009.
        x_max: the law ends here, in the units of the values: larger magnitudes are left out, and beta is that of the
            truncated law. Its p-value and calibrated distance come from 1,000 synthetic tails (seed 0), so that alpha
            may not be below 0.001. See :func:`fit_truncated_power_law`.
        tail: "both" takes magnitudes, "right" the positive values, "left" the magnitudes of the negative ones.
        nan_policy: "raise" refuses NaN, "omit" leaves them out.

    Returns:
        The fit: beta by maximum likelihood (paper Eq. 8; Clauset, Shalizi, Newman 2009), the Kolmogorov-Smirnov
        distance (paper Eq. 7), equal to ``scipy.stats.kstest(x, scipy.stats.pareto(b=beta - 1,
        scale=lambda_min).cdf).statistic`` of those k values x, and both verdicts.

    Raises:
        InputError: k < 2, k > L, alpha outside (0, 1), a value that is not finite, k and threshold both given, or a
            threshold or x_max that does not leave two magnitudes.

    Example:
        >>> import numpy as np
        >>> fit = fit_power_law(np.random.default_rng(0).pareto(1.5, 100_000) + 1, k=20_000)
        >>> round(fit.beta, 1), fit.is_power_law_calibrated
        (2.5, True)
        >>> low, high = fit.beta_interval()
        >>> low < 2.5 < high
        True
    """
    sample = magnitudes(values, tail, nan_policy, x_max)
    significance(alpha)
    if threshold is None and x_max is None:
        return _fit_of_largest(sample, check_size(k, len(sample)), alpha, tail, precision(values))
    chosen = tail_values(sample, k, threshold)
    numbers = _of_threshold(chosen, alpha) if x_max is None else _of_truncated(chosen, x_max, alpha)
    ties = find_ties(chosen.values, precision(values))
    size = len(chosen.values)
    return PowerLawFit(
        k=size,
        s=1 / (numbers["beta"] - 1) if numbers["beta"] != 1 else math.inf,
        lambda_min=chosen.lambda_min,
        d_critical=critical_distance(size, alpha),
        is_power_law=not numbers["degenerate"] and numbers["d_ks"] < critical_distance(size, alpha),
        tail=tail,
        threshold=None if threshold is None else chosen.lambda_min,
        x_max=None if x_max is None else float(x_max),
        ties=ties.share,
        lattice=ties.lattice,
        ccdf=survival_points(sample, chosen.values),
        **numbers,
    )


def _fit_of_largest(sample: Tensor, k: int, alpha: float, tail: str, eps: float) -> PowerLawFit:
    fits = fit_power_law_rows(sample[None], k, alpha)
    row = {name: getattr(fits, name)[0].item() for name in FIT_COLUMNS}
    # A zero is no value of a law: a tail that reaches it is degenerate, whatever its ties.
    values = largest(sample, k).numpy()
    ties = find_ties(values, eps) if row["lambda_min"] > 0 else Ties(0.0, None)
    return PowerLawFit(
        k=k,
        d_critical=fits.d_critical,
        d_critical_calibrated=fits.d_critical_calibrated,
        tail=tail,
        ties=ties.share,
        lattice=ties.lattice,
        ccdf=survival_points(sample, values),
        **row,
    )


def _of_threshold(chosen: TailValues, alpha: float) -> dict[str, Any]:
    """The law above a threshold that was chosen beforehand."""
    logs = chosen.log_ratio
    k, total = len(logs), float(logs.sum())
    d_critical = threshold_critical_distance(k, alpha)
    numbers: dict[str, Any] = {"d_critical_calibrated": d_critical, "degenerate": bool(logs[0] == logs[-1])}
    if numbers["degenerate"]:
        beta = math.inf if total == 0 else 1 + k / total
        return numbers | {"beta": beta, "d_ks": 1.0, "p_value": 0.0, "is_power_law_calibrated": False}
    cdf = -np.expm1(-k / total * logs)
    rank = np.arange(k, 0, -1)  # of the ascending order
    d_ks = float(max((rank / k - cdf).max(), (cdf - (rank - 1) / k).max()))
    p_value = threshold_p_value(k, d_ks)
    return numbers | {
        "beta": 1 + k / total,
        "d_ks": d_ks,
        "p_value": p_value,
        "is_power_law_calibrated": d_ks <= d_critical * (1 + _ROUNDING),
    }


def _of_truncated(chosen: TailValues, x_max: float, alpha: float) -> dict[str, Any]:
    """The law from lambda_min to a given x_max."""
    if alpha * (1 + _TRUNCATED_SAMPLES) < 1:
        raise InputError(f"with x_max alpha must be at least 0.001, got {alpha}; see fit_truncated_power_law")
    chosen.refuse_degenerate()
    width = log_width(float(x_max), chosen.lambda_min)
    fit = bootstrapped_fit(chosen.log_ratio, width, chosen.pinned, _TRUNCATED_SAMPLES, seed=0)
    d_critical = float(np.quantile(fit.synthetic, 1 - alpha, method="higher"))
    return {
        "beta": 1 + fit.theta,
        "d_ks": fit.d_ks,
        "d_critical_calibrated": d_critical,
        "p_value": fit.p_value,
        "is_power_law_calibrated": fit.p_value > alpha,
        "degenerate": False,
    }


def fit_power_law_rows(
    matrix: Array, k: int = 1000, alpha: float = 0.05, *, tail: Side = "both", nan_policy: NanPolicy = "raise"
) -> PowerLawFits:
    """:func:`fit_power_law` of every row of a matrix of shape (m, L), in one go.

    Arrays of the result are of the kind of ``matrix`` and, for a tensor, on its device. ``tail`` and ``nan_policy`` are
    those of :func:`fit_power_law`; with "omit" no row may have fewer than k values that are not NaN. Ties are not
    looked for.

    Args:
        matrix: (m, L), an array or tensor.
        k: how many of the largest magnitudes of each row to fit, 2 to L.
        alpha: significance level, inside (0, 1).
        tail: ``"both"`` for magnitudes, ``"right"`` or ``"left"`` for one side.
        nan_policy: ``"raise"``, or ``"omit"`` to leave NaN out.

    Raises:
        InputError: as :func:`fit_power_law`; or a row with fewer than k values that are not NaN.
    """
    rows = as_matrix(matrix)
    rows = rows_without_nan(rows, check_k(k, rows.shape[1]), nan_policy)
    return fit_series(rows if tail == "both" else _one_side_of_rows(rows, tail), k, alpha, matrix)


def _one_side_of_rows(rows: Tensor, tail: str) -> Tensor:
    if not torch.isfinite(rows).all():
        refuse_non_finite(rows)  # an infinity of the other side would vanish
    return one_side(rows, tail)


def fit_series(
    rows: Tensor, k: int, alpha: float, kind: Array, first: int = 0, transposed: bool = False
) -> PowerLawFits:
    """:func:`fit_power_law_rows` of a part of a larger matrix, for the place of a value that is not finite.

    ``rows`` are the rows ``first`` onwards of that matrix, or its columns if ``transposed``; ``kind`` is an array of
    the kind to return.
    """
    k, alpha = check_k(k, rows.shape[1]), significance(alpha)
    tails = _on_host(rows, k) if rows.device.type == "cpu" else _on_device(rows, k)
    if not tails.finite.all():
        refuse_non_finite(rows, first, transposed)
    columns = _fits(tails, k)
    d_critical, d_calibrated = critical_distance(k, alpha), calibrated_critical_distance(k, alpha)
    d_ks, degenerate = columns["d_ks"], columns["degenerate"]
    p_value = torch.from_numpy(ks_null(k).sf(math.sqrt(k) * d_ks.cpu().numpy())).to(d_ks.device)
    columns["p_value"] = p_value.where(~degenerate, 0.0)
    columns["is_power_law"] = (d_ks < d_critical) & ~degenerate
    # At d_calibrated itself the p-value is alpha, or more where the distribution has its atom: that is no rejection.
    columns["is_power_law_calibrated"] = (d_ks <= d_calibrated * (1 + _ROUNDING)) & ~degenerate
    return PowerLawFits(
        k=k,
        alpha=alpha,
        d_critical=d_critical,
        d_critical_calibrated=d_calibrated,
        **{name: as_type_of(column, kind) for name, column in columns.items()},
    )


def check_k(k: int, length: int) -> int:
    """K as a Python integer that fits series of ``length`` values."""
    return check_size(k, length)


class _Tails(NamedTuple):
    """What a fit needs of the tails of m series, float64: see :class:`~gradlaw.stats.tail_kernel.TailStatistics`."""

    lambda_min: Tensor
    log_sum: Tensor
    nonzero: Tensor
    d_ks: Tensor
    finite: Tensor


def _fits(tails: _Tails, k: int) -> dict[str, Tensor]:
    has_zero = tails.nonzero < k
    degenerate = has_zero | (tails.log_sum == 0)
    rate = k / tails.log_sum.where(~degenerate, 1.0)  # beta - 1
    share = tails.nonzero / k
    limit_at_zero = torch.maximum(1 - share, share - torch.exp(-1 / share))
    d_ks = torch.where(has_zero, limit_at_zero, torch.where(degenerate, 1.0, tails.d_ks))
    rate = torch.where(has_zero, 0.0, torch.where(degenerate, torch.inf, rate))
    return {"beta": 1 + rate, "s": 1 / rate, "lambda_min": tails.lambda_min, "d_ks": d_ks, "degenerate": degenerate}


def _on_host(rows: Tensor, k: int) -> _Tails:
    lambda_min, log_sum, nonzero, d_ks, finite = (torch.from_numpy(c) for c in tail_statistics(rows.numpy(), k))
    return _Tails(lambda_min, log_sum, nonzero.double(), d_ks, finite)


def _on_device(rows: Tensor, k: int) -> _Tails:
    """The same by torch, on the device of the rows."""
    largest = rows.abs().topk(k, dim=1).values.double()  # descending; a NaN counts as largest
    lambda_min = largest[:, -1]
    positive = lambda_min > 0
    ratios = largest / lambda_min.where(positive, 1.0)[:, None]
    # A quotient, since a difference of logarithms loses the digits of close values; but it may overflow.
    logs = torch.where(ratios.isinf(), largest.log() - lambda_min.log()[:, None], ratios.log())
    logs = logs.where(positive[:, None], 0.0)
    log_sum = logs.sum(dim=1)
    rate = k / log_sum.where(log_sum > 0, 1.0)
    # F_hat steps at every point from (i-1)/k to i/k: the supremum over the real line sees both sides.
    cdf = torch.expm1(logs.mul_(-rate[:, None])).neg_()
    rank = torch.arange(k, 0, -1, dtype=torch.float64, device=rows.device)  # of the ascending order
    d_ks = torch.maximum((rank / k - cdf).amax(dim=1), (cdf - (rank - 1) / k).amax(dim=1))
    return _Tails(lambda_min, log_sum, (largest > 0).sum(dim=1).double(), d_ks, torch.isfinite(largest[:, 0]))
