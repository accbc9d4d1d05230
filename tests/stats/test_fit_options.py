import copy
import dataclasses
import json
import pickle
import warnings

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.diagnostic import lilliefors

import gradlaw as gl
from gradlaw.stats import (
    bootstrap_p_value,
    compare_tails,
    exponent_uncertainty,
    hill_curve,
    hill_rows,
    moment_curve,
    moment_rows,
    scan_tail_start,
)
from gradlaw.stats.exponent import corrected_exponent
from gradlaw.stats.threshold_null import threshold_critical_distance, threshold_p_value
from gradlaw.stats.ties import find_ties

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import powerlaw


# A threshold instead of k


@given(st.integers(0, 2**32), st.floats(1.0, 30.0), st.sampled_from([0.4, 0.8, 3.0]))
@settings(max_examples=100, deadline=None)
def test_a_threshold_is_the_xmin_of_the_powerlaw_package_and_of_kstest(seed, threshold, s):
    values = np.random.default_rng(seed).random(200) ** -s
    reaching = values[values >= threshold]
    if len(reaching) < 2:
        with pytest.raises(gl.InputError, match="is reached by"):
            gl.fit_power_law(values, threshold=threshold)
        return
    fit = gl.fit_power_law(values, threshold=threshold)
    assert (fit.k, fit.lambda_min, fit.threshold) == (len(reaching), threshold, threshold)
    assert fit.beta == pytest.approx(1 + fit.k / np.log(reaching / threshold).sum(), rel=1e-10)
    law = stats.pareto(b=fit.beta - 1, scale=threshold)
    assert fit.d_ks == pytest.approx(stats.kstest(reaching, law.cdf).statistic, abs=1e-12)
    package = powerlaw.Fit(values, xmin=threshold, verbose=False).power_law
    assert fit.beta == pytest.approx(package.alpha, rel=1e-9)
    assert abs(fit.d_ks - package.D) <= 1 / fit.k + 1e-12


def test_a_threshold_at_the_kth_value_is_the_fit_of_k_values():
    values = np.random.default_rng(0).standard_t(3, 5000)
    fit = gl.fit_power_law(values, 300)
    other = gl.fit_power_law(values, threshold=fit.lambda_min)
    assert dataclasses.replace(other, threshold=None, beta=fit.beta, s=fit.s, d_ks=fit.d_ks, p_value=fit.p_value) == fit
    assert (other.beta, other.d_ks, other.p_value) == pytest.approx((fit.beta, fit.d_ks, fit.p_value), rel=1e-9)


@pytest.mark.parametrize("k", [2, 5, 12, 40])
def test_p_values_above_a_threshold_are_uniform(k):
    rng = np.random.default_rng(1)
    x = np.sort(rng.standard_exponential((20_000, k)), axis=1)
    cdf = 1 - np.exp(-x / x.mean(axis=1, keepdims=True))
    rank = np.arange(1, k + 1)
    distances = np.maximum(rank / k - cdf, cdf - (rank - 1) / k).max(axis=1)
    for level in (0.01, 0.05, 0.1):
        rejected = np.mean(distances >= threshold_critical_distance(k, level))
        assert rejected == pytest.approx(level, abs=4 * np.sqrt(level / 20_000) + 0.001)
        assert threshold_p_value(k, np.quantile(distances, 1 - level)) == pytest.approx(level, rel=0.15)


def test_p_value_above_a_threshold_agrees_with_the_lilliefors_test_of_statsmodels():
    values = np.random.default_rng(5).weibull(0.8, 12)
    fit = gl.fit_power_law(np.exp(values), threshold=1.0)
    distance, p_value = lilliefors(values, dist="exp", pvalmethod="table")
    assert fit.d_ks == pytest.approx(distance, abs=1e-12)
    assert fit.p_value == pytest.approx(p_value, abs=0.03)


def test_a_threshold_that_all_values_equal_is_degenerate():
    fit = gl.fit_power_law(np.full(20, 3.0), threshold=3.0)
    assert fit.degenerate
    assert (fit.d_ks, fit.p_value, fit.s, fit.is_power_law) == (1.0, 0.0, 0.0, False)


# One side


def test_one_sided_tails_are_those_of_the_clipped_sample():
    values = np.random.default_rng(0).standard_t(2, 4000)
    values[:2000] = np.abs(values[:2000]) ** 1.5
    for tail, sided in (("right", values.clip(min=0)), ("left", (-values).clip(min=0))):
        fit, expected = gl.fit_power_law(values, 300, tail=tail), gl.fit_power_law(sided, 300)
        assert fit == dataclasses.replace(expected, tail=tail)
        rows = gl.fit_power_law_rows(values[None], 300, tail=tail)
        assert (rows.beta[0], rows.d_ks[0]) == (fit.beta, fit.d_ks)
    assert gl.fit_power_law(values, 300, tail="left") != gl.fit_power_law(values, 300)


def test_a_side_with_fewer_values_than_k_is_degenerate():
    fit = gl.fit_power_law(np.r_[np.arange(1.0, 50), -1.0, -2.0], 10, tail="left")
    assert fit.degenerate
    assert "no power law can be fitted" in str(fit)


# NaN


@given(st.lists(st.integers(0, 59), max_size=20, unique=True))
@settings(max_examples=30, deadline=None)
def test_omitted_nan_are_as_if_they_had_not_been_there(missing):
    values = np.random.default_rng(3).standard_cauchy(60)
    values[missing] = np.nan
    left = np.delete(values, missing)
    assert gl.fit_power_law(values, 20, nan_policy="omit") == gl.fit_power_law(left, 20)
    assert gl.fit_power_law(values, threshold=1.0, nan_policy="omit") == gl.fit_power_law(left, threshold=1.0)
    assert compare_tails(values, 20, nan_policy="omit") == compare_tails(left, 20)
    rows = gl.fit_power_law_rows(values[None], 20, nan_policy="omit")
    assert rows.d_ks[0] == gl.fit_power_law(left, 20).d_ks
    for one, curve in ((hill_rows, hill_curve), (moment_rows, moment_curve)):
        expected = one(left[None], 20).index[0]
        assert one(values[None], 20, nan_policy="omit").index[0] == expected
        assert curve(values, [20], nan_policy="omit").index[0] == curve(left, [20]).index[0]
    one, other = scan_tail_start(values, 5, nan_policy="omit"), scan_tail_start(left, 5)
    assert one.best == other.best
    np.testing.assert_array_equal(one.d_ks, other.d_ks)
    assert bootstrap_p_value(values, 5, samples=3, nan_policy="omit") == bootstrap_p_value(left, 5, samples=3)
    assert exponent_uncertainty(values, 20, nan_policy="omit") == exponent_uncertainty(left, 20)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: gl.fit_power_law(x, 3), "row 0, column 2 is nan"),
        (lambda x: gl.fit_power_law(x, 5, nan_policy="omit"), "k=5 .* series of 4 values"),
        (lambda x: gl.fit_power_law(x, 2, nan_policy="propagate"), "take 'raise' or 'omit'"),
        (lambda x: gl.fit_power_law(x, 2, nan_policy="drop"), "nan_policy must be one of raise, omit"),
        (lambda x: gl.fit_power_law(x * np.nan, 2, nan_policy="omit"), "all 5 are NaN"),
        (lambda x: gl.fit_power_law(np.r_[x, np.inf], 2, nan_policy="omit"), "column 5 is inf"),
        (lambda x: gl.fit_power_law_rows(x[None], 5, nan_policy="omit"), "leaves 4 values of row 0, fewer than k=5"),
        (lambda x: gl.fit_power_law(x, 2, threshold=1.0, nan_policy="omit"), "give one of them"),
        (lambda x: gl.fit_power_law(x, threshold=0.0, nan_policy="omit"), "threshold must be positive"),
        (lambda x: gl.fit_power_law(x, threshold=np.nan, nan_policy="omit"), "threshold must be positive"),
        (lambda x: gl.fit_power_law(x, threshold=True, nan_policy="omit"), "threshold must be a positive number"),
        (lambda x: gl.fit_power_law(x, threshold="1", nan_policy="omit"), "threshold must be a positive number"),
        (lambda x: gl.fit_power_law(x, threshold=9.0, nan_policy="omit"), "reached by 0 of 4"),
        (lambda x: gl.fit_power_law(x, 2, x_max=-1.0, nan_policy="omit"), "x_max must be positive"),
        (lambda x: gl.fit_power_law(x, 2, 1e-5, x_max=9.0, nan_policy="omit"), "at least 0.001"),
        (lambda x: gl.fit_power_law(x, 2, tail="up", nan_policy="omit"), "tail must be one of both, right, left"),
        (lambda x: gl.fit_power_law(x, 2.0, nan_policy="omit"), "k must be an integer"),
        (lambda x: gl.fit_power_law_rows(np.r_[x[:2], -np.inf][None], 2, tail="right"), "column 2 is -inf"),
    ],
)
def test_options_that_do_not_fit_are_refused(call, message):
    with pytest.raises(gl.InputError, match=message):
        call(np.array([1.0, 2.0, np.nan, 3.0, 4.0]))


# Ties


def test_continuous_values_have_no_notice():
    values = np.random.default_rng(0).standard_t(3, 20_000)
    for sample in (values, values.astype(np.float32)):
        fit = gl.fit_power_law(sample, 1000)
        assert (fit.lattice, fit.notices) == (None, ())
        assert fit.ties < 0.005
        assert "note" not in str(fit)


@pytest.mark.parametrize(
    ("transform", "lattice", "words"),
    [
        (np.floor, 1.0, "all are integers"),
        (lambda x: 6 * np.floor(x), 6.0, "all are multiples of 6"),
        (lambda x: np.round(x, 1), 0.1, "all are multiples of 0.1"),
        (lambda x: np.round(x * 2) / 2, 0.5, "multiples of 0.5"),
        (lambda x: np.round(x, 1).astype(np.float32), 0.1, "multiples of 0.1"),
        (lambda x: np.round(x) * 0.37e-30, 0.37e-30, "multiples of 3.7e-31"),
        (lambda x: torch.from_numpy(x).bfloat16(), None, "values are rounded"),
    ],
)
def test_lattices_are_found_and_said(transform, lattice, words):
    fit = gl.fit_power_law(transform(np.random.default_rng(0).pareto(1.5, 5000) + 1), 1000)
    assert fit.ties > 0.3
    assert fit.lattice == (None if lattice is None else pytest.approx(lattice, rel=1e-6))
    assert words in fit.notices[0]
    assert f"note: {fit.notices[0]}" in str(fit)


@given(st.lists(st.floats(1.0, 100.0), min_size=2, max_size=50), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_ties_are_counted_as_by_hand(pool, seed):
    values = np.random.default_rng(seed).choice(pool, 60)
    found = find_ties(values)
    assert found.share == pytest.approx(np.mean([(values == v).sum() > 1 for v in values]))
    if found.lattice is not None:
        multiples = values / found.lattice
        assert np.abs(multiples - np.rint(multiples)).max() <= 1e-3


def test_large_integers_far_apart_are_no_reason_for_a_notice():
    values = np.rint(1e9 * (np.random.default_rng(0).pareto(1.5, 5000) + 1))
    fit = gl.fit_power_law(values, 1000)
    assert (fit.ties < 0.01, fit.lattice, fit.notices) == (True, 1.0, ())


# The exponent without bias, and its interval


@pytest.mark.parametrize("threshold", [None, 1.0])
def test_the_corrected_exponent_has_no_bias_and_the_interval_its_coverage(threshold):
    rng = np.random.default_rng(0)
    count, k, beta = 4000, 6, 2.5
    fits = [gl.fit_power_law(row, None if threshold else k, threshold=threshold)
            for row in rng.random((count, k if threshold else 8)) ** (-1 / (beta - 1))]  # fmt: skip
    corrected = np.array([fit.beta_corrected for fit in fits])
    assert abs(corrected.mean() - beta) < 4 * corrected.std() / np.sqrt(count)
    plain = np.mean([fit.beta for fit in fits])
    assert plain == pytest.approx(1 + 1.5 * (k / (k - 1) if threshold else k / (k - 2)), abs=0.08)
    inside = np.mean([low < beta < high for low, high in (fit.beta_interval(0.9) for fit in fits)])
    assert inside == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / count))


def test_corrections_follow_their_formulas():
    fit = gl.fit_power_law(np.random.default_rng(0).random(500) ** -0.5, 100)
    assert fit.beta_corrected - 1 == pytest.approx(98 / 100 * (fit.beta - 1), rel=1e-14)
    low, high = fit.beta_interval(0.8)
    pivot = stats.gamma(99)
    total = 100 / (fit.beta - 1)
    assert (low - 1, high - 1) == pytest.approx((pivot.ppf(0.1) / total, pivot.ppf(0.9) / total), rel=1e-10)
    with pytest.raises(gl.InputError, match="no mean"):
        corrected_exponent(2.0, 2, pinned=True)
    with pytest.raises(gl.InputError, match="level"):
        fit.beta_interval(1.0)
    with pytest.raises(gl.InputError, match="degenerate"):
        _ = gl.fit_power_law(np.zeros(5), 3).beta_corrected


# The picture, and the fit as a value


@pytest.fixture
def agg():
    backend = mpl.get_backend()
    mpl.use("agg")
    yield
    from matplotlib import pyplot

    pyplot.close("all")
    mpl.use(backend)


def test_the_plot_shows_the_sample_the_law_and_where_it_begins(agg):
    values = np.random.default_rng(0).standard_t(3, 5000)
    fit = gl.fit_power_law(values, 500)
    ax = fit.plot()
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    points, line, start = ax.get_lines()
    magnitudes = np.abs(values)
    for x, y in zip(*points.get_data(), strict=True):
        assert y == pytest.approx((magnitudes >= x).mean(), abs=1e-12)
    assert points.get_xdata().min() == magnitudes.min()
    assert points.get_xdata().max() == magnitudes.max()
    x, y = line.get_data()
    np.testing.assert_allclose(y, 0.1 * (x / fit.lambda_min) ** (1 - fit.beta), rtol=1e-9)
    assert start.get_xdata()[0] == fit.lambda_min
    ax.figure.canvas.draw()
    same = ax.figure.subplots()
    assert gl.fit_power_law(np.r_[values, np.zeros(99)], 500, x_max=8.0).plot(same) is same
    assert gl.fit_power_law(np.ones(9), 3).plot().figure is not ax.figure


@pytest.mark.parametrize(
    "options", [{"threshold": 9.0}, {"k": 50, "x_max": 30.0}, {"threshold": 99.0, "tail": "right"}]
)
def test_every_fit_goes_through_json(options):
    values = np.r_[np.random.default_rng(0).pareto(1.5, 2000).clip(max=50) + 1, 99.0, 99.0]
    fit = gl.fit_power_law(values, **options)
    assert gl.PowerLawFit(**json.loads(json.dumps(dataclasses.asdict(fit)))) == fit


def test_a_fit_stays_small_and_is_a_plain_value():
    fit = gl.fit_power_law(np.random.default_rng(0).pareto(1.5, 200_000) + 1, 1000)
    assert len(pickle.dumps(fit)) < 10_000
    for same in (pickle.loads(pickle.dumps(fit)), copy.deepcopy(fit), dataclasses.replace(fit)):
        assert same == fit
        assert hash(same) == hash(fit)
        assert same.ccdf == fit.ccdf
    record = json.loads(json.dumps(dataclasses.asdict(fit)))
    loaded = gl.PowerLawFit(**record)
    assert loaded == fit
    with pytest.raises(gl.InputError, match="call fit_power_law again"):
        loaded.plot()
