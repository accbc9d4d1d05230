import numpy as np
import pytest
from scipy import integrate, stats

import gradlaw as gl
from gradlaw.stats import compare_tails, goodness_of_fit

RNG = np.random.default_rng(0)
SAMPLES = {
    "lognormal": RNG.lognormal(0, 1, 3000),
    "pareto": RNG.pareto(1.5, 3000) + 1,
    "weibull": RNG.weibull(0.6, 3000),
    "normal": RNG.normal(size=3000),
}
FAMILIES = ("lognormal", "exponential", "stretched_exponential", "power_law_with_cutoff")


def _cdf(family, p):
    if family == "lognormal":
        law = stats.lognorm(p["sigma"], scale=np.exp(p["mu"]))
        return lambda y: 1 - law.sf(y) / law.sf(1)
    if family == "exponential":
        return lambda y: 1 - np.exp(-p["rate"] * (y - 1))
    if family == "stretched_exponential":
        return lambda y: 1 - np.exp(-p["rate"] * (y ** p["shape"] - 1))

    def weight(z):
        return np.exp((1 - p["beta"]) * z - p["rate"] * np.expm1(z))

    def mass(low, high):
        return integrate.quad(weight, low, high, epsrel=1e-11)[0]

    end = np.log(100 / p["rate"])
    total = mass(0, end / 2) + mass(end / 2, end)
    return np.vectorize(lambda y: mass(0, np.log(y)) / total)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("family", FAMILIES)
def test_distances_are_those_of_kstest_from_the_reported_parameters(name, family):
    values = SAMPLES[name]
    result = goodness_of_fit(values, 300, family, samples=5)
    single = getattr(compare_tails(values, 300), family)
    assert result.status == single.status
    y = np.sort(np.abs(values))[-300:] / result.lambda_min
    if result.status == "power law limit":
        assert result.d_ks == pytest.approx(gl.fit_power_law(values, 300).d_ks, abs=1e-10)
        return
    assert result.parameters == pytest.approx(single.parameters, rel=1e-5, abs=1e-6)
    assert result.d_ks == pytest.approx(stats.kstest(y, _cdf(family, result.parameters)).statistic, abs=1e-7)


def test_the_power_law_is_that_of_fit_power_law():
    fit = gl.fit_power_law(SAMPLES["normal"], 300)
    result = goodness_of_fit(SAMPLES["normal"], 300, "power_law")
    assert (result.d_ks, result.p_value, result.parameters["beta"]) == pytest.approx(
        (fit.d_ks, fit.p_value, fit.beta), rel=1e-9
    )


def test_tabulated_exponential_agrees_with_the_bootstrap():
    values = np.random.default_rng(3).weibull(1.15, 400)
    table = goodness_of_fit(values, 100, "exponential")
    rng = np.random.default_rng(4)
    tails = np.sort(rng.standard_exponential((20_000, 100)), axis=1)
    tails[:, 0] = 0
    cdf = 1 - np.exp(-tails / tails.mean(axis=1, keepdims=True))
    rank = np.arange(1, 101)
    distances = np.maximum(rank / 100 - cdf, cdf - (rank - 1) / 100).max(axis=1)
    assert table.p_value == pytest.approx((distances >= table.d_ks).mean(), abs=0.015)


def _draw(family, rng):
    """The 60 largest of tails that the family describes exactly above 1."""
    e = rng.standard_exponential(60)
    if family == "lognormal":
        return np.exp(np.abs(rng.normal(size=60)))
    if family == "stretched_exponential":
        return (1 + e / 2) ** (1 / 0.6)
    candidates = rng.random(2000) ** (-1 / 0.8)
    return candidates[rng.random(2000) < np.exp(-0.1 * (candidates - 1))][:60]


@pytest.mark.parametrize("family", ["lognormal", "stretched_exponential", "power_law_with_cutoff"])
def test_p_values_of_the_own_family_hold_their_level(family):
    rng = np.random.default_rng(5)
    count = 150
    p_values = np.array([goodness_of_fit(_draw(family, rng), 60, family, samples=99).p_value for _ in range(count)])
    for level in (0.1, 0.4):
        assert np.mean(p_values <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / count))


def test_other_families_are_rejected():
    pareto = np.random.default_rng(6).random(3000) ** -1.0
    assert goodness_of_fit(pareto, 3000, "exponential").p_value < 1e-6
    # A density that falls in two steps is none of the families.
    rng = np.random.default_rng(6)
    steps = rng.choice([1.0, 30.0], 2000, p=[0.8, 0.2]) * (1 + 0.1 * rng.random(2000))
    for family in ("lognormal", "stretched_exponential", "power_law_with_cutoff"):
        assert goodness_of_fit(steps, 2000, family, samples=19).p_value == 0.05


def test_the_seed_decides_and_nan_are_left_out():
    values = SAMPLES["normal"]
    one = goodness_of_fit(values, 100, samples=50, seed=1)
    assert one == goodness_of_fit(np.r_[values, np.nan], 100, samples=50, seed=1, nan_policy="omit")
    assert one.d_ks == goodness_of_fit(values, 100, samples=50, seed=2).d_ks


@pytest.mark.parametrize(
    ("values", "k", "family", "message"),
    [
        (np.arange(9.0), 3, "normal", "family must be one of power_law, lognormal"),
        (np.ones(5), 3, "lognormal", "all equal 1.0"),
        (np.array([0.0, 0, 0, 1, 2]), 3, "lognormal", "only 2 magnitudes are nonzero"),
        (np.array([1e-200, 1e200, 1e100]), 3, "lognormal", "260 decades"),
        (np.array([1.0, np.nan]), 2, "lognormal", "column 1 is nan"),
    ],
)
def test_bad_input_is_refused(values, k, family, message):
    with pytest.raises(gl.InputError, match=message):
        goodness_of_fit(values, k, family)
