import math
import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

import gradlaw as gl
from gradlaw.stats import fit_discrete_power_law
from gradlaw.stats.discrete import _Zeta
from gradlaw.stats.hurwitz import log_zeta, mean_log_ratio

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import powerlaw


@pytest.mark.parametrize("s", [1.0001, 1.03, 1.5, 2.5, 10.0, 40.0, 200.0])
@pytest.mark.parametrize("q", [1, 2, 7, 12, 100, 10**6])
def test_zeta_and_its_derivative_agree_with_mpmath(s, q):
    with mpmath.workdps(60):
        exact = mpmath.log(mpmath.zeta(mpmath.mpf(s), q))
        slope = -mpmath.diff(lambda t: mpmath.log(mpmath.zeta(t, q)), mpmath.mpf(s), h=mpmath.mpf(10) ** -20)
        mean = slope - mpmath.log(q)
    assert float(log_zeta(s, q)) == pytest.approx(float(exact), rel=1e-13, abs=1e-13)
    assert float(mean_log_ratio(s, q)) == pytest.approx(float(mean), rel=1e-11)


def test_zeta_agrees_with_scipy_over_arrays():
    rng = np.random.default_rng(0)
    s, q = rng.uniform(1.01, 20, 500), rng.integers(1, 10_000, 500).astype(float)
    np.testing.assert_allclose(log_zeta(s, q), np.log(special.zeta(s, q)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("beta", "x_min", "size"), [(2.5, 1, 3000), (1.8, 1, 1000), (3.5, 5, 2000), (2.2, 200, 800)])
def test_agrees_with_the_powerlaw_package(beta, x_min, size):
    x = _Zeta(beta, x_min).draw(np.random.default_rng(0), size)
    x = np.r_[x[x < 2**53], np.zeros(50)]
    fit = fit_discrete_power_law(x, x_min=x_min, samples=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package = powerlaw.Fit(x[x > 0].astype(int), discrete=True, xmin=x_min, estimate_discrete=False, verbose=False)
        theirs = package.power_law
        log_likelihood = theirs.loglikelihoods(package.data).sum()
    assert fit.beta == pytest.approx(theirs.alpha, abs=1e-4)  # their optimiser stops there
    assert fit.log_likelihood >= log_likelihood - 1e-8
    assert fit.log_likelihood == pytest.approx(log_likelihood, abs=1e-5)
    assert fit.d_ks == pytest.approx(theirs.D, abs=2e-3)  # they look at one side of every step, ours at both


@given(st.lists(st.integers(1, 60), min_size=2, max_size=40), st.integers(1, 10))
@settings(max_examples=150, deadline=None)
def test_the_fit_is_the_maximum_and_the_distance_the_supremum_over_all_integers(values, x_min):
    x = np.array(values)
    tail = x[x >= x_min]
    if len(tail) < 2 or (tail == tail[0]).all():
        with pytest.raises(gl.InputError, match="reach"):
            fit_discrete_power_law(x, x_min=x_min, samples=20)
        return
    fit = fit_discrete_power_law(-x, x_min=x_min, samples=20)

    def log_likelihood(beta):
        return -len(tail) * np.log(special.zeta(beta, x_min)) - beta * np.log(tail).sum()

    assert fit.k == len(tail)
    assert fit.log_likelihood == pytest.approx(log_likelihood(fit.beta), rel=1e-9)
    step = 1e-3 * (fit.beta - 1)
    assert fit.log_likelihood >= max(log_likelihood(fit.beta - step), log_likelihood(fit.beta + step))
    curvature = (2 * fit.log_likelihood - log_likelihood(fit.beta - step) - log_likelihood(fit.beta + step)) / step**2
    assert fit.beta_standard_error == pytest.approx(curvature**-0.5, rel=1e-2)
    grid = np.arange(x_min - 1, 200)
    cdf = 1 - special.zeta(fit.beta, grid + 1) / special.zeta(fit.beta, x_min)
    empirical = (tail[None] <= grid[:, None]).mean(axis=1)
    assert fit.d_ks == pytest.approx(np.abs(cdf - empirical).max(), abs=1e-9)


@pytest.mark.parametrize(("beta", "x_min"), [(2.5, 1), (1.5, 1), (12.0, 1), (2.2, 30), (40.0, 100)])
def test_draws_follow_the_law(beta, x_min):
    x = _Zeta(beta, x_min).draw(np.random.default_rng(1), 100_000)
    assert x.min() >= x_min
    assert (x == np.rint(x)).all()
    edges = np.unique(np.quantile(x, [0, 0.3, 0.6, 0.9, 0.99, 0.999]))
    survival = np.exp(log_zeta(beta, edges) - log_zeta(beta, x_min))
    expected = np.append(survival[:-1] - survival[1:], survival[-1]) * len(x)
    counts = np.histogram(x, np.append(edges, np.inf))[0]
    likely = expected > 5
    assert stats.chi2.sf(((counts - expected)[likely] ** 2 / expected[likely]).sum(), likely.sum()) > 1e-4


def test_draws_beyond_the_table_follow_the_law():
    law = _Zeta(1.7, 1)
    far = law._far(np.random.default_rng(2), 100_000, 20)
    for x in (20, 21, 40, 400):
        expected = math.exp(float(log_zeta(1.7, x) - log_zeta(1.7, 20)))
        assert (far >= x).mean() == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 1e5))


def test_p_values_of_the_law_are_uniform_and_those_of_others_small():
    rng = np.random.default_rng(0)
    law = _Zeta(2.3, 2)
    p_values = np.array([fit_discrete_power_law(law.draw(rng, 150), x_min=2, samples=99).p_value for _ in range(200)])
    for level in (0.1, 0.3, 0.5):
        assert np.mean(p_values <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 200))
    poisson = fit_discrete_power_law(rng.poisson(9, 2000), x_min=5, samples=99)
    assert (poisson.p_value, poisson.is_power_law_calibrated) == (0.01, False)


def test_where_the_continuous_law_is_wrong_about_integers_this_one_is_right():
    x = np.random.default_rng(0).zipf(2.5, 20_000)
    continuous, discrete = gl.fit_power_law(x, threshold=1.0), fit_discrete_power_law(x, x_min=1, samples=99)
    assert continuous.p_value < 1e-6
    assert abs(continuous.beta - 2.5) > 0.5
    assert "fit_discrete_power_law" in continuous.notices[0]
    assert abs(discrete.beta - 2.5) < 4 * discrete.beta_standard_error
    assert discrete.p_value > 0.05


def test_k_takes_in_all_ties_of_its_smallest_value():
    x = np.r_[np.full(10, 3), np.full(5, 4), [9, 20, 1, 1]]
    fit = fit_discrete_power_law(x, 8, samples=20)
    assert (fit.x_min, fit.k) == (3, 17)
    again = fit_discrete_power_law(np.r_[x, np.nan], x_min=3, samples=20, nan_policy="omit")
    assert again == fit
    assert fit_discrete_power_law(np.r_[x, -50], 8, samples=20, tail="right") == fit_discrete_power_law(
        np.r_[x, 0], 8, samples=20, tail="right"
    )


@pytest.mark.parametrize(
    ("values", "arguments", "message"),
    [
        ([1, 2.5, 3], {"k": 2}, "a magnitude is 2.5"),
        ([1, 2, 2.0**60], {"k": 2}, "beyond 2.53"),
        ([1, 2, 3], {"k": 2, "x_min": 1}, "give one of them"),
        ([1, 2, 3], {"x_min": 0}, "x_min must be at least 1"),
        ([1, 2, 3], {"x_min": 2.0}, "x_min must be an integer"),
        ([1, 2, 3], {"x_min": 3}, "1 values reach x_min=3"),
        ([2, 2, 2], {"x_min": 2}, "0 exceed it"),
        ([5, 5, 5], {"x_min": 2}, "all equal 5"),
        ([1, 0, 0], {"k": 2}, "only 1 magnitudes are nonzero"),
        ([1, 2, 3], {"k": 4}, "k=4"),
        ([1, 2, np.nan], {"k": 2}, "column 2 is nan"),
        ([1, 2, 3], {"k": 2, "samples": 5}, "needs at least 19"),
    ],
)
def test_bad_input_is_refused(values, arguments, message):
    with pytest.raises(gl.InputError, match=message):
        fit_discrete_power_law(np.array(values), **arguments)
