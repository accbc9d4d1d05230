import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

import gradlaw as gl


def _kstest(values: np.ndarray, k: int, fit: gl.PowerLawFit) -> float:
    tail = np.sort(np.abs(values))[-k:]
    return stats.kstest(tail, stats.pareto(b=fit.beta - 1, scale=fit.lambda_min).cdf).statistic


@st.composite
def samples(draw):
    """Values with ties, of any sign and scale, and a k that fits."""
    length = draw(st.integers(2, 60))
    pool = draw(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=12, unique=True))
    picks = draw(hnp.arrays(np.int64, length, elements=st.integers(0, len(pool) - 1)))
    spread = draw(st.sampled_from([0.0, 1e-6, 0.3]))
    noise = draw(hnp.arrays(np.float64, length, elements=st.floats(-1, 1)))
    signs = draw(hnp.arrays(np.int64, length, elements=st.sampled_from([-1, 1])))
    values = signs * np.array(pool)[picks] * (1 + spread * noise) * 10.0 ** draw(st.integers(-30, 30))
    return values.astype(draw(st.sampled_from([np.float64, np.float32]))), draw(st.integers(2, length))


@given(samples())
@settings(max_examples=500, deadline=None)
def test_distance_equals_kstest(sample):
    values, k = sample
    fit = gl.fit_power_law(values, k)
    tail = np.sort(np.abs(values.astype(np.float64)))[-k:]
    assert fit.degenerate == (tail[0] == tail[-1])
    if not fit.degenerate:
        assert fit.beta == pytest.approx(1 + k / np.log(tail / tail[0]).sum(), rel=1e-9)
        assert fit.s == pytest.approx(1 / (fit.beta - 1), rel=1e-9)
        assert fit.lambda_min == tail[0]
        assert abs(fit.d_ks - _kstest(values.astype(np.float64), k, fit)) < 1e-12


@given(samples(), st.integers(-20, 20))
@settings(deadline=None)
def test_scale_does_not_matter(sample, exponent):
    values, k = sample[0].astype(np.float64), sample[1]
    one, other = gl.fit_power_law(values, k), gl.fit_power_law(values * 2.0**exponent, k)
    assert (one.s, one.d_ks, one.p_value) == (other.s, other.d_ks, other.p_value)


def test_rows_equal_single_fits_for_arrays_and_tensors():
    matrix = np.random.default_rng(0).standard_t(2, (7, 300)).astype(np.float32)
    rows, tensors = gl.fit_power_law_rows(matrix, 40), gl.fit_power_law_rows(torch.from_numpy(matrix), 40)
    assert isinstance(rows.d_ks, np.ndarray)
    assert isinstance(tensors.d_ks, torch.Tensor)
    for i, row in enumerate(matrix):
        fit = gl.fit_power_law(row, 40)
        assert (fit.beta, fit.d_ks, fit.p_value, fit.is_power_law) == (
            rows.beta[i], rows.d_ks[i], rows.p_value[i], rows.is_power_law[i])  # fmt: skip
        assert fit.d_ks == tensors.d_ks[i].item()


def test_exact_quantiles_give_the_closed_form():
    k, s = 1000, 0.7
    values = np.arange(1, k + 1) ** -s  # lambda_r = r^(-s)
    fit = gl.fit_power_law(values, k)
    # sum ln(x_i / x_k) = s (k ln k - ln k!), so that s is recovered up to ln(2 pi k) / 2k by Stirling's formula.
    assert fit.s == pytest.approx(s * (1 - np.log(2 * np.pi * k) / (2 * k)), rel=1e-5)
    assert fit.d_ks < 2 / np.sqrt(k) / 10
    assert fit.is_power_law_calibrated


@pytest.mark.parametrize("s", [0.3, 1.0, 2.5])
def test_exponent_of_a_pareto_sample(s):
    values = np.random.default_rng(3).random(200_000) ** -s
    fit = gl.fit_power_law(values, 20_000)
    assert fit.s == pytest.approx(s, rel=4 / np.sqrt(20_000))  # four standard errors
    assert fit.is_power_law_calibrated


def test_agrees_with_the_powerlaw_package():
    values = np.random.default_rng(1).standard_t(3, 5000)
    fit = gl.fit_power_law(values, 200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import powerlaw

        other = powerlaw.Fit(np.abs(values), xmin=fit.lambda_min, verbose=False).power_law
    assert fit.beta == pytest.approx(other.alpha, rel=1e-10)
    assert abs(fit.d_ks - other.D) <= 1 / 200


@pytest.mark.parametrize(
    ("values", "nonzero_share", "s", "d_ks"),
    [
        (np.zeros(20), 0.0, np.inf, 1.0),
        (np.r_[np.zeros(18), 1.0, 5.0], 0.2, np.inf, 0.8),
        (np.r_[np.zeros(11), np.arange(1.0, 10.0)], 0.9, np.inf, 0.9 - np.exp(-10 / 9)),
        (np.full(20, -3.0), 1.0, 0.0, 1.0),
    ],
)
def test_degenerate_samples_carry_limits_not_nan(values, nonzero_share, s, d_ks):
    fit = gl.fit_power_law(values, 10)
    assert fit.degenerate
    assert not fit.is_power_law
    assert not fit.is_power_law_calibrated
    assert (fit.p_value, fit.s) == (0.0, s)
    assert fit.d_ks == pytest.approx(d_ks, abs=1e-12)
    if 0 < nonzero_share < 1:  # the limit of a vanishing lambda_min, approached
        near = np.abs(values)
        near[near == 0] = 1e-300
        near[0] = 1.0001e-300
        assert gl.fit_power_law(near, 10).d_ks == pytest.approx(d_ks, abs=0.01)


def test_critical_distances_of_the_paper():
    for k, published, calibrated in ((1000, 0.0430, 0.0344), (200, 0.0962, 0.0765)):
        fit = gl.fit_power_law(np.random.default_rng(0).pareto(1, 5000), k)
        assert round(fit.d_critical, 4) == published
        assert round(fit.d_critical_calibrated, 4) == calibrated


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(5), 1), "k=1 .* k from 2 to 5"),
        ((np.ones(5), 6), "k=6 .* k from 2 to 5"),
        ((np.ones((2, 5)), 3), "one dimension"),
        ((np.ones(5), 3, 0.0), "alpha"),
        ((np.ones(5), 3, 1.5), "alpha"),
        ((np.ones(5) * 1j, 3), "complex"),
        ((np.array([1, 2, np.nan, 4, 5]), 3), "row 0, column 2 is nan"),
        ((np.array([1, -np.inf, 2, 4, 5]), 3), "row 0, column 1 is -inf"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(gl.InputError, match=message):
        gl.fit_power_law(*arguments)


def test_values_too_far_apart_for_a_quotient():
    fit = gl.fit_power_law(np.array([1e-200, 1e100, 1e200]), 3)
    assert fit.s == pytest.approx(700 / 3 * np.log(10))
    assert 0 < fit.d_ks < 1


def test_read_only_memory_is_read_without_a_copy_or_a_warning():
    values = np.random.default_rng(0).pareto(1, 100)
    values.flags.writeable = False
    assert gl.fit_power_law(values, 50).k == 50
