import numpy as np
import pytest
import torch
from scipy import stats

import gradlaw as gl
from gradlaw.stats.uncertainty import exponent_uncertainty


def _tolerance(level: float, count: int) -> float:
    return 4 * np.sqrt(level * (1 - level) / count)


def test_closed_forms():
    values = np.random.default_rng(0).pareto(1.5, 5000) + 1
    k, level = 300, 0.9
    fit, result = gl.fit_power_law(values, k), exponent_uncertainty(values, k, level)
    assert (result.k, result.level, result.beta, result.s) == (k, level, fit.beta, fit.s)
    assert result.beta_standard_error == pytest.approx((fit.beta - 1) / np.sqrt(k), rel=1e-14)
    assert result.s_standard_error == pytest.approx(fit.s / np.sqrt(k), rel=1e-14)
    total = np.log(np.sort(values)[-k:] / fit.lambda_min).sum()
    chi2 = stats.chi2(2 * (k - 1))  # twice the sum of k - 1 exponentials of mean one
    assert result.s_interval == pytest.approx((2 * total / chi2.ppf(0.95), 2 * total / chi2.ppf(0.05)), rel=1e-10)
    assert result.beta_interval == pytest.approx([1 + 1 / end for end in result.s_interval[::-1]], rel=1e-14)


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(1).lognormal(0, 2, 2000)
    k = 200
    log_ratios = np.log(np.sort(values)[-k:] / np.sort(values)[-k])
    ours = exponent_uncertainty(values, k, samples=20_000)
    theirs = stats.bootstrap(
        (log_ratios,), np.mean, n_resamples=20_000, method="percentile", random_state=np.random.default_rng(2)
    ).confidence_interval
    # An end of the interval is a quantile of 20,000 means: its standard error is about 0.019 of their spread.
    tolerance = 6 * 0.019 * log_ratios.std() / np.sqrt(k)
    assert ours.s_bootstrap_interval == pytest.approx((theirs.low, theirs.high), abs=tolerance)


@pytest.mark.parametrize(("k", "s", "level"), [(2, 0.7, 0.95), (5, 2.0, 0.9), (100, 0.3, 0.95), (400, 1.0, 0.5)])
def test_the_pivotal_interval_covers_the_exponent_exactly(k, s, level):
    rng = np.random.default_rng(k)
    count = 2000
    results = [exponent_uncertainty(rng.random(2 * k) ** -s, k, level, samples=1) for _ in range(count)]
    for true, name in ((s, "s_interval"), (1 + 1 / s, "beta_interval")):
        intervals = np.array([getattr(result, name) for result in results])
        covered = (intervals[:, 0] < true) & (true < intervals[:, 1])
        assert abs(covered.mean() - level) < _tolerance(level, count)
        below = (intervals[:, 1] < true).mean()
        assert abs(below - (1 - level) / 2) < _tolerance((1 - level) / 2, count)


def test_the_bootstrap_interval_covers_the_exponent_of_a_long_tail():
    rng = np.random.default_rng(9)
    count, level, k, s = 400, 0.9, 500, 0.8
    intervals = [exponent_uncertainty(rng.random(k) ** -s, k, level, samples=400).s_bootstrap_interval
                 for _ in range(count)]  # fmt: skip
    covered = np.mean([low < s < high for low, high in intervals])
    assert abs(covered - level) < _tolerance(level, count) + 0.01  # the bootstrap's own error is O(1/k)


def test_standard_errors_are_the_spread_of_the_estimates():
    rng = np.random.default_rng(10)
    results = [exponent_uncertainty(rng.random(300) ** -0.5, 300, samples=1) for _ in range(2000)]
    for name in ("s", "beta"):
        spread = np.std([getattr(result, name) for result in results])
        assert np.mean([getattr(result, f"{name}_standard_error") for result in results]) == pytest.approx(
            spread, rel=4 / np.sqrt(2 * 2000) + 0.01
        )


def test_the_bootstrap_sees_that_a_tail_is_no_power_law():
    uniform = exponent_uncertainty(np.random.default_rng(11).random(1000) + 3, 1000)
    exact, resampled = (np.ptp(interval) for interval in (uniform.s_interval, uniform.s_bootstrap_interval))
    assert resampled < 0.7 * exact  # log ratios with less spread than exponentials of their mean


def test_seeds_scale_sign_and_kind_of_array():
    values = np.random.default_rng(12).standard_t(2, 1000)
    one = exponent_uncertainty(values, 100)
    assert one == exponent_uncertainty(-values * 2.0**50, 100)
    assert one == exponent_uncertainty(torch.from_numpy(values), 100)
    other = exponent_uncertainty(values, 100, seed=1)
    assert one.s_interval == other.s_interval
    assert one.s_bootstrap_interval != other.s_bootstrap_interval
    assert exponent_uncertainty(values * 1e-30, 100).s_interval == pytest.approx(one.s_interval, rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(5), 1), "k=1 .* k from 2 to 5"),
        ((np.ones(5), 6), "k=6 .* k from 2 to 5"),
        ((np.arange(5.0), 3, 1.0), "level"),
        ((np.arange(5.0), 3, 0.9, 0), "samples"),
        ((np.ones((2, 5)), 3), "one dimension"),
        ((np.array([1, 2, np.nan, 4, 5]), 3), "column 2 is nan"),
        ((np.ones(5), 3), "all equal 1.0"),
        ((np.array([0.0, 0, 0, 1, 2]), 3), "only 2 magnitudes are nonzero"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(gl.InputError, match=message):
        exponent_uncertainty(*arguments)
