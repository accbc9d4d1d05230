"""What is compared: its value in a run, with an interval where a valid one can be given, and on what runs must agree.

The intervals of single runs are about the minibatches: what would other draws of the same size give at the same
parameters? They say nothing about another initialisation; for that there are seeds.

Across dimensions every iteration is one test, and the iterations are resampled in blocks. Across iterations every
dimension is one test, but all dimensions see the same T iterations, so that their number says nothing about the error:
with the p-values alone there is no interval for the power law, which uses all T values. The Gaussian test draws g of
the T values anew for each dimension. Of two functions of such draws from independent iterations the correlation is at
most g/T (each term of their Hoeffding decompositions takes part only where both draws hold all of its iterations), so
that n dimensions are worth at least 1 / (1/n + g/T) independent ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlaw.analyze import Analysis
from gradlaw.by_value import ByValue
from gradlaw.spectra.noise import Estimate
from gradlaw.stats import GradientTests
from gradlaw.stats.blocks import block_means
from gradlaw.stats.intervals import MeanEstimate, Measured, RateEstimate

NO_HISTORY = (
    "no interval from eigenvalues alone, which are dependent: keep the gradients (--store FOLDER) and pass histories"
)
ALL_DIMENSIONS_TOGETHER = (
    "no interval: all dimensions see the same iterations, so their number says nothing about the error; compare seeds"
)


@dataclass(frozen=True, eq=False)
class Value(ByValue):
    """A quantity in one run.

    Attributes:
        value: None where it was not measured.
        estimate: what gives its interval; None where no valid one can be given.
        reason: why there is no value, or no interval; else how the interval was made.
        series: (T, 2), of which the value is the mean of the first column and whose second has the dependence of the
            first or more; for runs of the same minibatches.
        rate: whether it lies between 0 and 1.
        replicates: the value with each of g blocks of iterations left out, shape (g,); for the same.
    """

    value: float | None
    estimate: Measured | None
    reason: str
    series: np.ndarray | None = None
    rate: bool = False
    replicates: np.ndarray | None = None


@dataclass(frozen=True)
class Quantity:
    """One thing to compare.

    Attributes:
        name: as a column has it.
        label: in words, short.
        of: its value in a run.
        needs: settings on which two runs must agree, by name in words, for a difference to mean something.
        inverse: ``of`` gives the inverse of what is shown, whose error is nearly normal.
    """

    name: str
    label: str
    of: Callable[[Analysis], Value]
    needs: dict[str, Callable[[Analysis], Any]]
    inverse: bool = False


def missing(reason: str) -> Value:
    """A quantity that a run has no value of."""
    return Value(None, None, reason)


def series_value(series: np.ndarray, rate: bool = False) -> Value:
    """The mean of the first column of (T, 2) series over the iterations, with the error of a block bootstrap."""
    means = block_means(series)
    value, inflation = float(means.values[0]), float(means.inflation.max())
    how = f"block bootstrap over {means.length:,} iterations, blocks of {means.block}"
    if rate:
        return Value(value, RateEstimate(value, means.length / inflation, means.degrees), how, series, rate=True)
    error = float(np.sqrt(means.covariance[0, 0]))
    if error == 0:
        return Value(value, None, "no interval: the same in every iteration", series)
    return Value(value, MeanEstimate(value, error, means.degrees), how, series)


def _loss(run: Analysis) -> Value:
    return series_value(np.stack([run.losses, run.losses], axis=1))


def _dimension_power_law(run: Analysis) -> Value:
    t = run.tests["dimension"]
    if t.no_verdict_calibrated is not None:
        return missing(f"no verdict: {t.no_verdict_calibrated}")
    return series_value(np.stack([t.is_power_law_calibrated, t.d_ks], axis=1), rate=True)


def _dimension_gaussian(run: Analysis) -> Value:
    t = run.tests["dimension"]
    if t.gaussian_p_value is None:
        return missing("without a Gaussian test")
    passed = (t.gaussian_p_value > t.alpha) & ~t.degenerate_series
    return series_value(np.stack([passed, t.gaussian_p_value], axis=1), rate=True)


def _dimension_distance(run: Analysis) -> Value:
    t = run.tests["dimension"]
    if t.degenerate_series.any():
        return Value(t.mean_d_ks, None, f"no interval: {t.degenerate_series.sum():,} iterations cannot be tested")
    return series_value(np.stack([t.d_ks, t.d_ks], axis=1))


def _iteration_power_law(run: Analysis) -> Value:
    t = run.tests["iteration"]
    if t.no_verdict_calibrated is not None:
        return missing(f"no verdict: {t.no_verdict_calibrated}")
    return Value(t.power_law_rate_calibrated, None, ALL_DIMENSIONS_TOGETHER, rate=True)


def _iteration_gaussian(run: Analysis) -> Value:
    t = run.tests["iteration"]
    if t.gaussian_rate is None or t.gaussian_k is None or t.gaussian_p_value is None:
        return missing("without a Gaussian test")
    if run.settings["transforms"]:
        return Value(t.gaussian_rate, None, "no interval: transforms make iterations dependent", rate=True)
    if (t.degenerate_series & (t.gaussian_p_value > t.alpha)).any():  # decided by all T values, not by those drawn
        return Value(
            t.gaussian_rate, None, "no interval: Gaussian dimensions are degenerate for the other test", rate=True
        )
    count = gaussian_count(t)
    how = f"{t.series:,} dimensions, each with {t.gaussian_k} drawn of {t.length:,} iterations: worth {count:.0f}"
    return Value(t.gaussian_rate, RateEstimate(t.gaussian_rate, count, np.inf), how, rate=True)


def gaussian_count(tests: GradientTests) -> float:
    """How many independent series the dimensions of an iteration-wise Gaussian test are worth at least."""
    assert tests.gaussian_k is not None
    return 1 / (1 / tests.series + min(1.0, tests.gaussian_k / tests.length))


def _exponent(matrix: str) -> Callable[[Analysis], Value]:
    def of(run: Analysis) -> Value:
        verdict = next(v for v in run.spectral_verdicts() if v.matrix == matrix)
        if verdict.fit is None:
            return missing(f"no fit: {verdict.refused}")
        return Value(float(verdict.fit.s), None, NO_HISTORY)

    return of


def _outliers(run: Analysis) -> Value:
    verdict = next(v for v in run.spectral_verdicts() if v.matrix == "covariance")
    if verdict.outliers is None:
        return missing("no line to stand above")
    return Value(float(verdict.outliers), None, "no interval: a count of eigenvalues; compare seeds")


def of_noise(run: Analysis, column: str) -> Estimate | str:
    """An estimate of the whole model's noise table, or why there is none."""
    if run.noise is None:
        return "gradient noise was not measured"
    row = run.noise.iloc[0]
    return "the gradients do not vary above rounding" if row["degenerate"] else estimate_in(row, column)


def estimate_in(row: Any, column: str) -> Estimate:
    """A column of a noise table with its standard error; ``"inverse"`` is signal over noise of one sample."""
    if column == "inverse":
        factor = row["trace"] / row["sample_trace"]
        return Estimate(float(factor * row["signal_to_noise"]), float(factor * row["signal_to_noise_error"]))
    return Estimate(float(row[column]), float(row[f"{column}_error"]))


def noise_value(found: Estimate, run: Analysis) -> Value:
    """A jackknife estimate of a run as a value."""
    if not np.isfinite(found.standard_error) or found.standard_error <= 0:
        return Value(found.value, None, "no interval: no finite standard error")
    estimate = MeanEstimate(found.value, found.standard_error, run.settings["iterations"] - 1)
    return Value(found.value, estimate, "jackknife over iterations")


def _noise(column: str) -> Callable[[Analysis], Value]:
    def of(run: Analysis) -> Value:
        found = of_noise(run, column)
        if isinstance(found, str):
            return missing(found)
        return noise_value(found, run)

    return of


def _setting(name: str) -> Callable[[Analysis], Any]:
    return lambda run: run.settings[name]


def _of_axis(name: str, axis: str) -> Callable[[Analysis], Any]:
    return lambda run: run.settings[name][axis]


def _dimensions(run: Analysis) -> Any:
    return run.provenance["problem"]["dimensions"]


def _loss_name(run: Analysis) -> Any:
    return run.provenance["problem"]["loss"]


_ACROSS_DIMENSIONS = {"n": _dimensions, "K": _of_axis("k_of_series", "dimension"), "alpha": _setting("alpha")}
_ACROSS_ITERATIONS = {"T": _setting("iterations"), "K": _of_axis("k_of_series", "iteration"),
                      "alpha": _setting("alpha")}  # fmt: skip
_OF_SPECTRA = {"T": _setting("iterations"), "K": _setting("k")}
_GAUSSIAN = "drawn values"

QUANTITIES = (
    Quantity("loss", "loss", _loss, {"loss function": _loss_name}),
    Quantity("dimension_power_law_rate", "power law, across dimensions", _dimension_power_law, _ACROSS_DIMENSIONS),
    Quantity("dimension_mean_d_ks", "mean d_KS, across dimensions", _dimension_distance, _ACROSS_DIMENSIONS),
    Quantity("dimension_gaussian_rate", "Gaussian, across dimensions", _dimension_gaussian,
             {_GAUSSIAN: _of_axis("gaussian_k", "dimension"), "alpha": _setting("alpha")}),
    Quantity("iteration_power_law_rate", "power law, across iterations", _iteration_power_law, _ACROSS_ITERATIONS),
    Quantity("iteration_gaussian_rate", "Gaussian, across iterations", _iteration_gaussian,
             {_GAUSSIAN: _of_axis("gaussian_k", "iteration"), "alpha": _setting("alpha")}),
    Quantity("second_moment_s", "s of the second moment", _exponent("second moment"), _OF_SPECTRA),
    Quantity("covariance_s", "s of the covariance", _exponent("covariance"), _OF_SPECTRA),
    Quantity("eigengaps_s", "s of the eigengaps", _exponent("eigengaps"), _OF_SPECTRA),
    Quantity("outliers", "outliers of the covariance", _outliers, _OF_SPECTRA),
    Quantity("signal", "signal |g|^2", _noise("mean_square_unbiased"), {"loss function": _loss_name}),
    Quantity("noise", "noise of a sample", _noise("sample_trace"), {"loss function": _loss_name}),
    Quantity("noise_scale", "noise scale", _noise("inverse"), {}, inverse=True),
)  # fmt: skip
