import numpy as np
import pytest
from scipy import stats
from statsmodels.stats._lilliefors import get_lilliefors_table

import gradlaw as gl
from gradlaw.stats import calibrated_critical_distance, critical_distance, fit_power_law_rows, gaussian_pass_rate
from gradlaw.stats.calibration import NullDistribution, _tables, ks_null

LEVELS = _tables()["levels"]


def _pareto_distances(k: int, samples: int, s: float, seed: int) -> np.ndarray:
    """Distances by the product's own fit: the K largest of larger Pareto samples."""
    rng = np.random.default_rng(seed)
    parts = [fit_power_law_rows(rng.random((1000, 2 * k)) ** -s, k).d_ks for _ in range(samples // 1000)]
    return np.concatenate(parts)


@pytest.mark.parametrize(("k", "s"), [(3, 1.0), (11, 0.2), (55, 5.0), (240, 1.3), (1000, 0.5)])
def test_the_table_is_the_null_distribution_of_the_fit(k, s):
    samples = 40_000 if k < 300 else 8_000
    distances = _pareto_distances(k, samples, s, seed=k)
    for alpha in (0.01, 0.05, 0.1, 0.5, 0.9) if k > 10 else (0.01, 0.05, 0.1):  # tiny tails have atoms
        rate = (distances > calibrated_critical_distance(k, alpha)).mean()
        assert abs(rate - alpha) < 4 * np.sqrt(alpha * (1 - alpha) / samples)


def test_p_values_are_uniform_under_the_null():
    p_values = ks_null(77).sf(np.sqrt(77) * _pareto_distances(77, 20_000, 0.8, seed=1))
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_the_published_distance_is_lenient_and_the_calibrated_one_is_not():
    distances = _pareto_distances(200, 20_000, 1.0, seed=2)
    assert 0.993 < (distances < critical_distance(200)).mean() < 0.998
    assert 0.944 < (distances < calibrated_critical_distance(200)).mean() < 0.956


@pytest.mark.parametrize("k", [20, 50, 100, 200])
def test_agrees_with_the_lilliefors_table_for_the_exponential(k):
    # Ours is for K - 1 exponential log ratios and the zero of lambda_min itself, theirs for K exponentials: O(1/K)
    # apart. Around K = 500 to 1000 their interpolation overshoots by 2 to 4%; the simulation above decides.
    theirs = get_lilliefors_table("exp").crit(0.05, k)
    assert calibrated_critical_distance(k) == pytest.approx(theirs, rel=0.002 + 0.08 / k)


def test_survival_and_its_inverse_agree():
    for k in (2, 10, 33, 1000, 123_456):
        null = ks_null(k)
        for alpha in (0.001, 0.0137, 0.05, 0.3, 0.77):
            if k > 2:
                assert null.sf(np.array(null.isf(alpha))) == pytest.approx(alpha, rel=1e-9)
        far = null.sf(np.linspace(0, 4, 200))
        assert (np.diff(far) <= 0).all()
        assert far[0] == 1
        assert 0 <= far[-1] < 1e-6


def test_quantiles_between_the_tabulated_sizes_are_smooth():
    sizes = np.unique(np.geomspace(10, 1e6, 60).astype(int))
    scaled = np.array([ks_null(int(k)).isf(0.05) for k in sizes])
    assert (np.diff(scaled) > -1e-3).all()
    assert scaled[-1] == pytest.approx(1.0935, abs=1e-3)  # the limit


def test_interpolation_between_sizes_costs_less_than_two_in_a_thousand():
    # Twice as coarse a grid moves the 5% quantile by less than 0.2%, and the error of the grid itself is a quarter.
    tables = _tables()
    sizes, five_percent = tables["ks_power_law_sizes"], tables["ks_power_law_quantiles"][:, list(LEVELS).index(0.05)]
    root = sizes**-0.5
    inside = np.flatnonzero(sizes > 12)[:-1]
    for i in inside:
        share = (root[i] - root[i - 1]) / (root[i + 1] - root[i - 1])
        interpolated = (1 - share) * five_percent[i - 1] + share * five_percent[i + 1]
        assert interpolated == pytest.approx(five_percent[i], rel=0.002)


@pytest.mark.parametrize("k", [20, 100, 1500])
def test_gaussian_pass_rate_is_that_of_normal_samples(k):
    samples = 3_000_000 // k
    p_values = stats.normaltest(np.random.default_rng(k).standard_normal((samples, k)), axis=1).pvalue
    assert abs((p_values > 0.05).mean() - gaussian_pass_rate(k)) < 4 * np.sqrt(0.05 / samples)


def test_alpha_outside_the_table_is_refused():
    with pytest.raises(gl.InputError, match="tabulated range"):
        NullDistribution("ks_power_law", 100).isf(1e-9)
