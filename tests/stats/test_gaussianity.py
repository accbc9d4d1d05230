from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import stats
from statsmodels.stats.diagnostic import normal_ad

import gradlaw as gl
from awkward_rows import matrices
from gradlaw.stats import gaussian_pass_rate, gaussian_test_rows
from gradlaw.stats.gaussianity import TESTS, Gaussianity, gaussianity_rows, passing_ceiling

NAMES = [field.name for field in fields(Gaussianity)]


def _anderson_darling(values: np.ndarray) -> float:
    """A^2 as in the textbook, with logarithms of both tails that do not round to -inf."""
    n = len(values)
    z = np.sort((values - values.mean()) / values.std(ddof=1))
    weights = 2 * np.arange(1, n + 1) - 1
    return -n - np.sum(weights * (stats.norm.logcdf(z) + stats.norm.logsf(z[::-1]))) / n


@given(matrices())
@settings(max_examples=300, deadline=None)
def test_shape_and_tests_equal_scipy(matrix):
    result = gaussianity_rows(matrix)
    np.testing.assert_allclose(result.skewness, stats.skew(matrix, axis=1), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.excess_kurtosis, stats.kurtosis(matrix, axis=1), rtol=1e-10, atol=1e-12)
    jarque_bera = stats.jarque_bera(matrix, axis=1)
    np.testing.assert_allclose(result.jarque_bera, jarque_bera.statistic, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.jarque_bera_p_value, jarque_bera.pvalue, rtol=0, atol=1e-12)
    dagostino = stats.normaltest(matrix, axis=1)
    np.testing.assert_allclose(result.dagostino, dagostino.statistic, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.dagostino_p_value, dagostino.pvalue, rtol=0, atol=1e-12)
    assert not result.degenerate.any()


@given(matrices())
@settings(max_examples=300, deadline=None)
def test_anderson_darling_equals_statsmodels(matrix):
    result = gaussianity_rows(matrix)
    np.testing.assert_allclose(result.anderson_darling, [_anderson_darling(row) for row in matrix], rtol=1e-11)
    standard = (matrix - matrix.mean(axis=1, keepdims=True)) / matrix.std(axis=1, ddof=1, keepdims=True)
    for i in np.flatnonzero(np.abs(standard).max(axis=1) < 4):  # farther out 1 - cdf loses statsmodels' digits
        statistic, p_value = normal_ad(matrix[i])
        assert result.anderson_darling[i] == pytest.approx(statistic, rel=1e-10)
        assert result.anderson_darling_p_value[i] == pytest.approx(p_value, abs=1e-10)


@pytest.mark.parametrize("length", [8, 50, 1000, 20_000])
def test_every_branch_of_the_anderson_darling_p_value_equals_statsmodels(length):
    rng = np.random.default_rng(length)
    matrix = np.stack([(1 - mix) * rng.standard_normal(length) + mix * rng.exponential(size=length) ** 2
                       for mix in np.r_[np.zeros(40), np.linspace(0, 0.6, 40)]])  # fmt: skip
    result = gaussianity_rows(matrix)
    for i, row in enumerate(matrix):
        if np.abs(row - row.mean()).max() < 4.5 * row.std():
            statistic, p_value = normal_ad(row)
            assert result.anderson_darling[i] == pytest.approx(statistic, rel=1e-9)
            assert result.anderson_darling_p_value[i] == pytest.approx(p_value, rel=1e-8, abs=1e-12)
    assert result.anderson_darling_p_value.min() >= 0
    assert result.anderson_darling_p_value.min() < 0.01
    assert result.anderson_darling_p_value.max() > 0.9


def test_values_far_out_have_a_finite_statistic_and_no_chance():
    matrix = np.random.default_rng(0).standard_cauchy((20, 50_000))
    result = gaussianity_rows(matrix)
    np.testing.assert_allclose(result.anderson_darling, [_anderson_darling(row) for row in matrix], rtol=1e-11)
    assert (result.anderson_darling > 1000).all()
    for test in TESTS:
        assert (getattr(result, f"{test}_p_value") == 0).all()


def test_all_values_are_tested_as_gaussian_test_rows_would():
    matrix = np.random.default_rng(1).standard_t(8, (30, 500))
    np.testing.assert_allclose(
        gaussianity_rows(matrix).dagostino_p_value, gaussian_test_rows(matrix, k=500), rtol=1e-10, atol=1e-300
    )


def test_a_mean_far_from_zero_costs_no_digits():
    values = np.random.default_rng(0).standard_normal((20, 100))
    shifted = (values * 2.0**-30 + 1.0) - 1.0  # what of the values survives next to 1
    near, far = gaussianity_rows(shifted), gaussianity_rows(shifted + 1.0)
    for name in NAMES:
        np.testing.assert_allclose(getattr(far, name), getattr(near, name), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1.7e308])
def test_scale_does_not_matter(scale):
    values = np.random.default_rng(2).uniform(-1, 1, (10, 60))
    one, other = gaussianity_rows(values), gaussianity_rows(values * scale)
    for name in NAMES:
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-9, atol=1e-12)


def test_float32_is_computed_on_in_float64():
    matrix = np.random.default_rng(3).standard_normal((10, 1000)).astype(np.float32) * np.float32(1e-30)
    single, double = gaussianity_rows(matrix), gaussianity_rows(matrix.astype(np.float64))
    for name in NAMES:
        np.testing.assert_array_equal(getattr(single, name), getattr(double, name))


def test_constant_rows_carry_limits_not_nan():
    matrix = np.stack([np.zeros(100), np.full(100, 0.1), np.full(100, -1e300), np.arange(100.0)])
    result = gaussianity_rows(matrix)
    assert result.degenerate.tolist() == [True, True, True, False]
    assert (result.skewness[:3] == 0).all()
    assert np.isposinf(result.excess_kurtosis[:3]).all()
    for test in TESTS:
        assert np.isposinf(getattr(result, test)[:3]).all()
        assert (getattr(result, f"{test}_p_value")[:3] == 0).all()
        assert np.isfinite(getattr(result, test)[3])


@pytest.mark.parametrize("length", [8, 9, 60])
def test_one_value_apart_is_no_constant_row(length):
    result = gaussianity_rows(np.r_[np.ones(length - 1), 1 + 2.0**-52][None])
    assert not result.degenerate[0]
    assert result.skewness[0] == pytest.approx((length - 2) / np.sqrt(length - 1), rel=1e-12)
    assert all(np.isfinite(getattr(result, name)[0]) for name in NAMES)


def test_arrays_and_tensors_give_the_same_in_any_number_of_parts():
    matrix = np.random.default_rng(4).standard_t(5, (37, 300)).astype(np.float32)
    whole, tensors = gaussianity_rows(matrix), gaussianity_rows(torch.from_numpy(matrix))
    parts = gaussianity_rows(matrix, block_bytes=10_000)
    for name in NAMES:
        assert isinstance(getattr(whole, name), np.ndarray)
        assert isinstance(getattr(tensors, name), torch.Tensor)
        np.testing.assert_array_equal(getattr(whole, name), getattr(tensors, name).numpy())
        np.testing.assert_allclose(getattr(whole, name), getattr(parts, name), rtol=1e-10)
    assert gaussianity_rows(matrix[:0]).skewness.shape == (0,)


def test_ceilings_of_true_gaussian_series():
    samples = 20_000
    error = np.sqrt(0.05 * 0.95 / samples)
    assert passing_ceiling("dagostino", 100, samples=samples) == pytest.approx(gaussian_pass_rate(100), abs=4 * error)
    # Anderson-Darling p-values come from a fitted formula; that of Jarque-Bera is too large for short series.
    assert passing_ceiling("anderson_darling", 100, samples=samples) == pytest.approx(0.95, abs=0.002 + 4 * error)
    assert 0.952 < passing_ceiling("jarque_bera", 100, samples=samples) < 0.963
    assert passing_ceiling("dagostino", 20, samples=50, seed=1) == passing_ceiling("dagostino", 20, samples=50, seed=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gaussianity_rows(np.ones((2, 7))), "7 values is too short"),
        (lambda: gaussianity_rows(np.ones(9)), "two dimensions"),
        (lambda: gaussianity_rows(np.array([[1.0] * 8, [1, 2, 3, np.inf, 5, 6, 7, 8]])), "row 1, column 3 is inf"),
        (lambda: passing_ceiling("shapiro", 100), "jarque_bera, anderson_darling, dagostino, got 'shapiro'"),
        (lambda: passing_ceiling("dagostino", 7), "length must be at least 8"),
        (lambda: passing_ceiling("dagostino", 8, samples=0), "samples must be at least 1"),
        (lambda: passing_ceiling("dagostino", 8, alpha=1.0), "alpha"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(gl.InputError, match=message):
        call()
