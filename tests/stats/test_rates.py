import numpy as np
import pandas as pd
import pytest
import torch

import gradlaw as gl


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    """(T, n) = (60, 90): heavy and light tails, a dead, a sparse and a constant dimension."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((60, 90)) * rng.random(90) ** -1.5
    values[:, 10] = 0
    values[:, 11] = np.where(np.arange(60) < 10, values[:, 11], 0)
    values[:, 12] = 0.25
    return values.astype(np.float32)


@pytest.mark.parametrize("axis", ["dimension", "iteration"])
@pytest.mark.parametrize("convert", [np.asarray, torch.from_numpy])
def test_each_series_is_tested_as_it_would_be_alone(matrix, axis, convert):
    tests = gl.gradient_tests(convert(matrix), axis, k=20, gaussian_k=30, seed=5)
    series = matrix if axis == "dimension" else matrix.T
    assert (tests.series, tests.length) == series.shape
    p_values = gl.gaussian_test_rows(np.ascontiguousarray(series), k=30, seed=5)
    np.testing.assert_array_equal(tests.gaussian_p_value, p_values)
    for i, row in enumerate(series):
        fit = gl.fit_power_law(row, 20)
        assert (fit.d_ks, fit.s, fit.p_value) == (tests.d_ks[i], tests.s[i], tests.p_value[i])
        assert (fit.is_power_law, fit.is_power_law_calibrated, fit.degenerate) == (
            tests.is_power_law[i], tests.is_power_law_calibrated[i], tests.degenerate_series[i])  # fmt: skip


def test_degenerate_series_count_in_the_rates_and_not_in_the_means(matrix):
    tests = gl.gradient_tests(matrix, "iteration", k=20, gaussian_k=30)
    dead = np.isin(np.arange(90), [10, 11, 12])
    assert np.array_equal(tests.degenerate_series, dead)
    assert tests.degenerate == 3 / 90
    assert tests.mean_d_ks == pytest.approx(tests.d_ks[~dead].mean())
    assert tests.mean_d_ks_all == pytest.approx(tests.d_ks.mean())
    assert tests.mean_p_value == pytest.approx(tests.gaussian_p_value[~dead].mean())
    assert tests.power_law_rate == (tests.d_ks < tests.d_critical)[~dead].sum() / 90
    assert tests.power_law_rate_calibrated == (tests.d_ks < tests.d_critical_calibrated)[~dead].sum() / 90
    assert tests.gaussian_rate == (tests.gaussian_p_value > 0.05)[~dead].sum() / 90
    assert not np.isnan(tests.to_frame().select_dtypes("number")).any().any()


def test_nothing_but_degenerate_series():
    tests = gl.gradient_tests(np.zeros((30, 20)), "iteration", k=10, gaussian_k=10)
    assert (tests.degenerate, tests.power_law_rate, tests.gaussian_rate) == (1, 0, 0)
    assert (tests.mean_d_ks, tests.mean_p_value, tests.mean_s) == (None, None, None)
    assert tests.mean_d_ks_all == 1


def test_the_gaussian_rate_of_noise_meets_its_ceiling():
    noise = np.random.default_rng(0).standard_normal((200, 4000))
    tests = gl.gradient_tests(noise, "iteration", k=50)
    assert tests.gaussian_ceiling == pytest.approx(0.9445, abs=5e-4)
    assert abs(tests.gaussian_rate - tests.gaussian_ceiling) < 4 * np.sqrt(0.0555 * 0.9445 / 4000)


def test_the_gaussian_test_can_be_left_out(matrix):
    tests = gl.gradient_tests(matrix, k=20, gaussian_k=None)
    assert (tests.gaussian_rate, tests.mean_p_value, tests.gaussian_ceiling) == (None, None, None)
    assert "gaussian_p_value" not in tests.to_frame()


def test_frame_has_a_row_a_series(matrix):
    frame = gl.gradient_tests(matrix, "dimension", k=20, gaussian_k=30).to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == 60
    assert {"d_ks", "s", "p_value", "is_power_law", "is_power_law_calibrated", "gaussian_p_value"} <= set(frame)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"axis": "rows"}, "axis must be one of dimension, iteration"),
        ({"k": 91}, "k=91"),
        ({"k": 20, "gaussian_k": 91}, "gaussian_k=91"),
        ({"k": 20, "gaussian_k": 30, "alpha": 2}, "alpha"),
    ],
)
def test_bad_settings_are_refused(matrix, arguments, message):
    with pytest.raises(gl.InputError, match=message):
        gl.gradient_tests(matrix, **arguments)


@pytest.mark.parametrize("axis", ["dimension", "iteration"])
def test_values_that_are_not_finite_are_located_in_the_history(matrix, axis):
    spoiled = matrix.copy()
    spoiled[41, 77] = np.inf
    with pytest.raises(gl.InputError, match="row 41, column 77 is inf"):
        gl.gradient_tests(spoiled, axis, k=20, gaussian_k=30)


def test_default_sizes_are_lowered_to_the_series_with_a_notice():
    history = np.random.default_rng(0).standard_normal((50, 4000))
    across_iterations = gl.gradient_tests(history, "iteration")
    assert (across_iterations.k, across_iterations.gaussian_k) == (16, 50)
    assert across_iterations.notices == (
        "K lowered from 1,000 to 16: a tail is at most a third of the 50 values",
        "Gaussian test on all 50 values of a series instead of 100",
    )
    shown = str(across_iterations).splitlines()
    assert shown[0].startswith("iteration-wise: 4,000 series of 50 values, K = 16: power law in ")
    assert [line for line in shown if "lowered" in line] == [f"note: {across_iterations.notices[0]}"]
    asked = gl.gradient_tests(history, "iteration", k=16, gaussian_k=50)
    assert (asked.notices, asked.scalars()) == ((), across_iterations.scalars())
    assert gl.gradient_tests(history[:, :3000]).notices == ()
    short = gl.gradient_tests(history[:6], "iteration")
    assert (short.k, short.gaussian_k) == (2, None)
    assert short.notices[1] == "Gaussian test left out: it needs 8 values, a series has 6"
