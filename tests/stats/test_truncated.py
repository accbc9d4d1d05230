import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

import gradlaw as gl
from gradlaw.stats import fit_truncated_power_law
from gradlaw.stats.truncated import truncated_cdf, truncated_rates


def _truncated(rng, beta, x_max, size):
    u = rng.random(size)
    return (1 - u * (1 - x_max ** (1 - beta))) ** (1 / (1 - beta))


@given(st.floats(-60, 60), st.floats(1e-6, 50), st.lists(st.floats(0, 1), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_the_distribution_function_is_that_of_a_truncated_exponential(theta, width, shares):
    z = width * np.array(shares)
    ours = truncated_cdf(np.array(theta), np.array(width), z)
    if abs(theta) * width < 1e-8:
        expected = np.array(shares)
    elif theta > 0:
        expected = stats.truncexpon(b=theta * width, scale=1 / theta).cdf(z)
    else:
        expected = 1 - stats.truncexpon(b=-theta * width, scale=-1 / theta).cdf(width - z)
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-9)


@given(st.floats(-40, 40), st.floats(1e-3, 20))
@settings(max_examples=200, deadline=None)
def test_rates_are_recovered_from_their_means(theta, width):
    u = theta * width
    # 1/u - 1/(e^u - 1), by its series where the difference cancels
    share = 0.5 - u / 12 + u**3 / 720 if abs(u) < 1e-2 else 1 / u - 1 / np.expm1(u) if u < 700 else 1 / u
    found = truncated_rates(np.array([share * width]), np.array([width]))[0]
    assert found * width == pytest.approx(u, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("beta", [2.5, 1.0001, 0.4])
@pytest.mark.parametrize("given_end", [True, False])
def test_no_general_optimiser_finds_a_better_fit(beta, given_end):
    values = _truncated(np.random.default_rng(0), beta, 30.0, 3000)
    fit = fit_truncated_power_law(values, 500, 30.0 if given_end else None, samples=20)
    y = np.sort(values)[-500:] / fit.lambda_min
    end = (30.0 if given_end else values.max()) / fit.lambda_min
    assert fit.x_max == pytest.approx(end * fit.lambda_min)
    assert fit.x_max_fitted is not given_end

    def cost(b):
        integral = np.log(end) if abs(b - 1) < 1e-12 else (end ** (1 - b) - 1) / (1 - b)
        return 500 * np.log(integral) + b * np.log(y).sum()

    best = optimize.minimize_scalar(cost, bracket=(beta - 0.5, beta + 0.5), tol=1e-12)
    assert fit.beta == pytest.approx(best.x, abs=1e-5)
    assert fit.log_likelihood == pytest.approx(-best.fun, abs=1e-8)
    assert fit.log_likelihood == pytest.approx(-cost(fit.beta), abs=1e-8)
    plain = gl.fit_power_law(values, 500)
    power_law = 500 * np.log(plain.beta - 1) - plain.beta * np.log(y).sum()
    assert fit.ratio == pytest.approx(power_law - fit.log_likelihood, abs=1e-8)
    assert fit.ratio < 0
    step = 1e-4
    information = (cost(fit.beta + step) - 2 * cost(fit.beta) + cost(fit.beta - step)) / step**2
    assert fit.beta_standard_error == pytest.approx(information**-0.5, rel=1e-3)

    def cdf(x):
        return (1 - x ** (1 - fit.beta)) / (1 - end ** (1 - fit.beta))

    assert fit.d_ks == pytest.approx(stats.kstest(y, cdf).statistic, abs=1e-9)


def test_the_option_of_fit_power_law_is_the_same_fit():
    values = _truncated(np.random.default_rng(1), 2.0, 20.0, 2000)
    beyond = np.r_[values, 500.0, 700.0]
    for chosen in ({"k": 400}, {"threshold": 3.0}):
        option = gl.fit_power_law(beyond, x_max=20.0, **chosen)
        full = fit_truncated_power_law(beyond, x_max=20.0, **chosen)
        assert (option.beta, option.d_ks, option.p_value, option.k, option.x_max) == (
            full.beta, full.d_ks, full.p_value, full.k, 20.0)  # fmt: skip
        assert option.d_critical_calibrated == full.d_critical_calibrated
        np.testing.assert_allclose(option.survival(np.array([option.lambda_min, 20.0, 99.0])), [1, 0, 0], atol=1e-12)
        with pytest.raises(gl.InputError, match="ends at x_max"):
            option.beta_interval()
    assert "<= 20" in str(option)


def test_a_far_end_changes_nothing():
    values = np.random.default_rng(2).random(1000) ** -0.6
    plain, far = gl.fit_power_law(values, 300), gl.fit_power_law(values, 300, x_max=1e200)
    assert (far.beta, far.d_ks) == pytest.approx((plain.beta, plain.d_ks), rel=1e-9)
    assert far.p_value == pytest.approx(plain.p_value, abs=0.06)


def test_truncated_samples_pass_as_truncated_and_power_laws_as_endless():
    rng = np.random.default_rng(3)
    count = 300
    own, end, endless = [], [], []
    for _ in range(count):
        values = _truncated(rng, 2.5, 10.0, 200)
        fit = fit_truncated_power_law(values, 100, samples=99)
        own.append(fit.p_value)
        end.append(fit.truncation_p_value)
        endless.append(fit_truncated_power_law(rng.random(200) ** -0.7, 100, samples=99).truncation_p_value)
    for level in (0.05, 0.2):
        slack = 4 * np.sqrt(level * (1 - level) / count)
        assert np.mean(np.array(own) <= level) < level + slack
        assert np.mean(np.array(endless) <= level) == pytest.approx(level, abs=slack)
    assert np.mean(np.array(end) <= 0.05) > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 3, "samples": 0}, "samples"),
        ({"k": 3, "samples": 10}, "alpha=0.05 needs at least 19 samples"),
        ({"k": 3, "x_max": 0.0}, "x_max must be positive"),
        ({"k": 3, "x_max": 1.5}, "series of 1 values is too short"),
        ({"k": 2, "threshold": 1.0}, "give one of them"),
        ({"k": 3, "tail": "left"}, "only 0 magnitudes are nonzero"),
        ({"k": 3, "seed": -1}, "seed"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(gl.InputError, match=message):
        fit_truncated_power_law(np.array([1.0, 2, 3, 4]), **arguments)


def test_equal_values_are_refused():
    with pytest.raises(gl.InputError, match=r"all equal 2\.0"):
        fit_truncated_power_law(np.full(5, 2.0), 3)
