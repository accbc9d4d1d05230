import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import special

import gradlaw as gl
from gradlaw.stats import tail_index
from gradlaw.stats.tail_index import hill_curve, hill_rows, moment_curve, moment_rows


def _log_excesses(values: np.ndarray, k: int) -> list[float]:
    """As published: ln(x_i / x_(k+1)), i = 1..k, of the descending magnitudes."""
    magnitudes = sorted((abs(float(value)) for value in values), reverse=True)
    return [math.log(magnitudes[i] / magnitudes[k]) for i in range(k)]


def _hill(values: np.ndarray, k: int) -> float:
    return 1 / (math.fsum(_log_excesses(values, k)) / k)


def _moments(values: np.ndarray, k: int) -> tuple[float, float]:
    logs = _log_excesses(values, k)
    return math.fsum(logs) / k, math.fsum(log * log for log in logs) / k


@st.composite
def samples(draw):
    """Values with ties, of any sign and scale, none of them zero, and a k that fits."""
    length = draw(st.integers(3, 60))
    pool = draw(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=12, unique=True))
    picks = draw(hnp.arrays(np.int64, length, elements=st.integers(0, len(pool) - 1)))
    noise = draw(st.sampled_from([0.0, 0.3])) * draw(hnp.arrays(np.float64, length, elements=st.floats(-1, 1)))
    signs = draw(hnp.arrays(np.int64, length, elements=st.sampled_from([-1, 1])))
    values = signs * np.array(pool)[picks] * (1 + noise) * 10.0 ** draw(st.integers(-30, 30))
    return values.astype(draw(st.sampled_from([np.float64, np.float32]))), draw(st.integers(2, length - 1))


@given(samples())
@settings(max_examples=300, deadline=None)
def test_estimates_equal_the_published_formulas(sample):
    values, k = sample
    hill, moment = hill_rows(values[None], k), moment_rows(values[None], k)
    descending = np.sort(np.abs(values))[::-1]
    assert hill.degenerate[0] == (descending[0] == descending[k])
    assert moment.degenerate[0] == (descending[0] == descending[k - 1])
    if not hill.degenerate[0]:
        m1, m2 = _moments(values, k)
        if m1 > 1e-3:  # a quotient of closer values is good to fewer digits than the estimator
            assert hill.index[0] == pytest.approx(_hill(values, k), rel=1e-12)
        if 1 - m1 * m1 / m2 > 1e-3 and m1 > 1e-3:  # or the difference loses the reference's digits
            assert moment.index[0] == pytest.approx(m1 + 1 - 0.5 / (1 - m1 * m1 / m2), rel=1e-9, abs=1e-9)


@given(samples())
@settings(deadline=None, max_examples=40)
def test_curves_equal_rows_at_every_k(sample):
    values, _ = sample
    ks = np.random.default_rng(0).permutation(np.arange(2, len(values)))
    for curve, rows in ((hill_curve, hill_rows), (moment_curve, moment_rows)):
        whole = curve(values, ks)
        np.testing.assert_array_equal(whole.k, ks)
        for i, k in enumerate(ks):
            one = rows(values[None], int(k))
            assert whole.degenerate[i] == one.degenerate[0]
            np.testing.assert_allclose(whole.index[i], one.index[0], rtol=1e-12)
            np.testing.assert_allclose(whole.standard_error[i], one.standard_error[0], rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 2.5])
def test_pareto_quantiles_give_the_closed_form(alpha):
    length, ks = 2000, np.array([1, 2, 10, 500, 1999])
    values = (np.arange(1, length + 1) / length) ** (-1 / alpha)
    # sum of ln(x_i / x_(k+1)) = (k ln(k+1) - ln k!) / alpha
    expected = alpha * ks / (ks * np.log(ks + 1) - special.gammaln(ks + 1))
    curve = hill_curve(values, ks)
    np.testing.assert_allclose(curve.index, expected, rtol=1e-11)
    np.testing.assert_allclose(curve.standard_error, expected / np.sqrt(ks), rtol=1e-11)


def test_relation_to_the_power_law_fit_and_to_the_powerlaw_package():
    values, k = np.random.default_rng(1).standard_t(3, 5000), 199
    alpha = hill_rows(values[None], k).index[0]
    fit = gl.fit_power_law(values, k + 1)
    assert alpha == pytest.approx((fit.beta - 1) * k / (k + 1), rel=1e-12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import powerlaw

        other = powerlaw.Fit(np.abs(values), xmin=fit.lambda_min, verbose=False).power_law
    assert alpha == pytest.approx((other.alpha - 1) * k / (k + 1), rel=1e-10)


@pytest.mark.parametrize(
    ("draw", "gamma", "bias"),  # the bias of k = 200 of 10,000 values: seen, not derived
    [
        (lambda rng, shape: rng.random(shape), -1.0, 0.04),
        (lambda rng, shape: rng.standard_exponential(shape), 0.0, 0.03),
        (lambda rng, shape: rng.random(shape) ** -0.5, 0.5, 0.02),
        (lambda rng, shape: rng.random(shape) ** -1.5, 1.5, 0.02),
    ],
)
def test_moment_estimates_scatter_as_their_standard_errors_say(draw, gamma, bias):
    k, repeats = 200, 600
    index = moment_rows(draw(np.random.default_rng(0), (repeats, 10_000)), k).index
    expected = tail_index._moment_variance(torch.tensor(gamma, dtype=torch.float64)).sqrt().item() / np.sqrt(k)
    assert index.mean() == pytest.approx(gamma, abs=bias)
    assert index.std() == pytest.approx(expected, rel=4 / np.sqrt(2 * repeats))  # four standard errors of a deviation


def test_the_variance_has_its_published_values_at_minus_one_and_is_continuous_at_zero():
    variance = tail_index._moment_variance(torch.tensor([-1.0, -1e-9, 0.0, 2.0], dtype=torch.float64)).numpy()
    np.testing.assert_allclose(variance, [4.8, 1.0, 1.0, 5.0], rtol=1e-7)


def test_hill_of_pareto_samples_has_its_exact_mean_and_deviation():
    alpha, k, repeats = 1.5, 100, 2000
    hill = hill_rows(np.random.default_rng(2).random((repeats, 500)) ** (-1 / alpha), k)
    # The reciprocal of a Gamma(k) mean: k / (k-1) alpha, with deviation mean / sqrt(k-2).
    mean = alpha * k / (k - 1)
    assert hill.index.mean() == pytest.approx(mean, abs=4 * mean / np.sqrt((k - 2) * repeats))
    assert hill.index.std() == pytest.approx(mean / np.sqrt(k - 2), rel=4 / np.sqrt(2 * repeats))
    assert hill.standard_error.mean() == pytest.approx(hill.index.std(), rel=0.1)


def test_the_moment_estimator_tells_a_power_law_from_a_gaussian():
    rng = np.random.default_rng(3)
    gaussian, cauchy = moment_rows(np.stack([rng.standard_normal(50_000), rng.standard_cauchy(50_000)]), 1000).index
    assert gaussian < 0.1
    assert cauchy == pytest.approx(1, abs=4 * np.sqrt(2 / 1000))


def test_a_narrow_tail_under_an_outlier_keeps_its_digits():
    values = np.r_[1e200, 1 + np.arange(50, 0, -1) ** 2 * 2.0**-40, 1.0]
    excesses = [math.log1p(float(value - 1)) for value in values[1:-1]]
    plain = hill_rows(values[None, 1:], 50)
    assert plain.index[0] == pytest.approx(50 / math.fsum(excesses), rel=1e-13)
    mean = math.fsum(excesses) / 50
    variance = math.fsum((excess - mean) ** 2 for excess in excesses) / 50
    gamma = mean + 0.5 - mean**2 / (2 * variance)
    assert moment_rows(values[None, 1:], 50).index[0] == pytest.approx(gamma, rel=1e-12)
    assert hill_curve(values, [1, 51]).index[1] == pytest.approx(
        51 / (math.fsum(excesses) + math.log(1e200)), rel=1e-13
    )


@pytest.mark.parametrize(
    ("values", "alpha", "gamma"),
    [
        (np.zeros(20), 0.0, np.inf),
        (np.r_[np.zeros(12), np.arange(1.0, 9.0)], 0.0, np.inf),  # 8 nonzero magnitudes, 11 needed
        (np.full(20, -3.0), np.inf, -np.inf),
        (np.r_[np.full(10, 3.0), np.ones(10)], 1 / np.log(3), -np.inf),
    ],
)
def test_degenerate_series_carry_limits_not_nan(values, alpha, gamma):
    matrix = np.stack([values, np.random.default_rng(0).pareto(1, 20)])
    hill, moment = hill_rows(matrix, 10), moment_rows(matrix, 10)
    assert hill.index[0] == pytest.approx(alpha)
    assert moment.index[0] == gamma
    assert list(moment.degenerate) == [True, False]
    assert hill.degenerate[0] == (not 0 < alpha < np.inf)
    assert moment.standard_error[0] == np.inf
    assert (hill.standard_error[0] == np.inf) == hill.degenerate[0]
    curves = hill_curve(values, range(1, 20)), moment_curve(values, range(2, 20))
    for result in (hill, moment, *curves):
        assert not np.isnan(result.index).any()
        assert not np.isnan(result.standard_error).any()


def test_the_widest_range_stays_finite():
    values = np.array([[1e308, -1e200, 3.0, 1e-200, 5e-324]])
    ratios = np.log([1e308, 1e200, 3.0, 1e-200]) - np.log(5e-324)
    assert hill_rows(values, 4).index[0] == pytest.approx(4 / ratios.sum(), rel=1e-12)


@pytest.mark.parametrize("function", [hill_rows, moment_rows])
def test_arrays_and_tensors_give_the_same_in_any_number_of_parts(function):
    matrix = np.random.default_rng(0).standard_t(2, (37, 300)).astype(np.float32)
    whole, tensors = function(matrix, 40), function(torch.from_numpy(matrix), 40)
    parts = function(matrix, 40, block_bytes=10_000)
    for name in ("index", "standard_error", "degenerate"):
        assert isinstance(getattr(whole, name), np.ndarray)
        assert isinstance(getattr(tensors, name), torch.Tensor)
        np.testing.assert_array_equal(getattr(whole, name), getattr(tensors, name).numpy())
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    assert whole.index.dtype == np.float64
    assert function(matrix[:0], 40).index.shape == (0,)


def test_curves_of_tensors_are_tensors():
    curve = moment_curve(torch.arange(1.0, 50.0), torch.tensor([5, 20]))
    assert isinstance(curve.k, torch.Tensor)
    assert curve.index.shape == (2,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hill_rows(np.ones((2, 5)), 0), "k=0 .* k from 1 to 4"),
        (lambda: hill_rows(np.ones((2, 5)), 5), "k=5 .* k from 1 to 4"),
        (lambda: moment_rows(np.ones((2, 5)), 1), "k=1 .* k from 2 to 4"),
        (lambda: hill_rows(np.ones(5), 2), "two dimensions"),
        (lambda: hill_curve(np.ones((2, 5)), [2]), "one dimension"),
        (lambda: hill_curve(np.ones(5), []), "list of integers"),
        (lambda: hill_curve(np.ones(5), [1.5]), "list of integers"),
        (lambda: moment_curve(np.ones(5), [1, 2]), "k=1 .* k from 2 to 4"),
        (lambda: moment_curve(np.ones(5), [2, 7]), "k=7 .* k from 2 to 4"),
        (lambda: hill_rows(np.array([[1.0, 2, 3], [1, 2, np.nan]]), 1), "row 1, column 2 is nan"),
        (lambda: hill_curve(np.array([1.0, -np.inf, 3]), [1]), "row 0, column 1 is -inf"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(gl.InputError, match=message):
        call()
