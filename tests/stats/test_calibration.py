import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats._lilliefors import get_lilliefors_table

import gradlaw as gl
from gradlaw.stats import calibrated_critical_distance, critical_distance, fit_power_law_rows, gaussian_pass_rate
from gradlaw.stats.calibration import _tables, ks_null

LEVELS = _tables()["ks_power_law_levels"]


@pytest.fixture(scope="module")
def exact_null():
    """The module of the tools by which the table was made."""
    path = Path(__file__).parents[2] / "tools/exact_null.py"
    spec = importlib.util.spec_from_file_location("exact_null", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _pareto_distances(k: int, samples: int, s: float, seed: int) -> np.ndarray:
    """Distances by the product's own fit: the K largest of larger Pareto samples."""
    rng = np.random.default_rng(seed)
    parts = [fit_power_law_rows(rng.random((1000, 2 * k)) ** -s, k).d_ks for _ in range(samples // 1000)]
    return np.concatenate(parts)


@pytest.mark.parametrize(("k", "s"), [(3, 1.0), (11, 0.2), (55, 5.0), (240, 1.3), (1000, 0.5)])
def test_the_table_is_the_null_distribution_of_the_fit(k, s):
    samples = 40_000 if k < 300 else 8_000
    distances = _pareto_distances(k, samples, s, seed=k)
    for alpha in (0.01, 0.05, 0.1, 0.5, 0.9) if k > 10 else (0.01, 0.05, 0.1):  # tiny tails have an atom below
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
    sizes, five_percent = (
        tables["ks_power_law_sizes"],
        tables["ks_power_law_quantiles"][:, np.argmin(abs(LEVELS - 0.05))],
    )
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


def _exact_three(d: float) -> float:
    """P(D <= d) of three values: with u_1 uniform on (0, 1/2), u_2 = 1 - u_1 and F(u) = 1 - exp(-3 u), four steps."""
    u = (np.arange(2_000_000) + 0.5) / 4_000_000
    low, high = -np.expm1(-3 * u), -np.expm1(-3 * (1 - u))
    steps = [np.full(len(u), 1 / 3), 2 / 3 - low, low - 1 / 3, 1 - high, high - 2 / 3]
    return float((np.max(steps, axis=0) <= d + 1e-12).mean())


def test_three_values_have_the_closed_distribution_with_its_atom():
    null = ks_null(3)
    assert null.sf(np.sqrt(3) / 3) == 1  # P(D >= 1/3), although 46% of all samples are there
    atom = 2 * (np.log(3) - np.log(3 / 2)) / 3
    assert _exact_three(1 / 3) == pytest.approx(atom, abs=1e-6)
    assert null.sf(np.sqrt(3) * (1 / 3 + 1e-9)) == pytest.approx(1 - atom, abs=1e-6)
    for d in (0.34, 0.4, 0.5, 0.6, 0.66):
        assert null.sf(np.sqrt(3) * d) == pytest.approx(1 - _exact_three(d), rel=0.01)  # between levels
    for left in (1e-6, 1e-12):  # near the largest distance p falls in proportion
        assert null.sf(np.sqrt(3) * (2 / 3 - left)) == pytest.approx(2 / 3 * left, rel=0.02)


@pytest.mark.parametrize("k", [2, 3, 4, 5, 6])
def test_small_samples_hold_their_level_with_the_atom_counted(k):
    samples = 40_000
    fits = fit_power_law_rows(np.random.default_rng(k).pareto(1.5, (samples, k)) + 1, k)
    smallest = fits.d_ks == 1 / k
    assert smallest.mean() == pytest.approx(1 - _tables()["ks_power_law_above_smallest"][k - 2], abs=0.01)
    assert (fits.p_value[smallest] == 1).all()
    assert fits.is_power_law_calibrated[smallest].all()
    assert ((fits.p_value >= 0.05) == fits.is_power_law_calibrated).all()
    for alpha in (0.01, 0.05, 0.3):  # P(p <= alpha) = alpha, or none where the atom is in the way
        reached = alpha if alpha < 1 - smallest.mean() else 0.0
        assert (fits.p_value <= alpha).mean() == pytest.approx(reached, abs=4 * np.sqrt(alpha / samples))


@pytest.mark.parametrize("k", [4, 12, 60])
def test_tails_beyond_the_reach_of_simulation_are_exact(k, exact_null):
    null = ks_null(k)
    for alpha in (1e-3, 1e-5, 1e-7, 1e-9):
        d = null.isf(alpha) / np.sqrt(k)
        assert 1 - exact_null.distance_cdf(k, d) == pytest.approx(alpha, rel=0.02)


@pytest.mark.parametrize("k", [3, 5, 25, 700])
def test_the_exact_distribution_is_that_of_simulated_tails(k, exact_null):
    samples = 40_000 if k < 100 else 4_000
    distances = _pareto_distances(k, samples, 1.0, seed=100 + k)
    for quantile in (0.6, 0.95, 0.995):
        d = float(np.quantile(distances, quantile))
        share = (distances <= d).mean()
        assert exact_null.distance_cdf(k, d) == pytest.approx(
            share, abs=4 * np.sqrt(share * (1 - share) / samples) + 1e-4
        )


@pytest.mark.parametrize("k", [2, 3, 10, 1000, 10**6])
def test_any_alpha_inside_the_unit_interval_is_answered(k):
    alphas = [1 - 1e-9, 0.5, 1e-4, 1e-6, 1e-10, 1e-15, 1e-100, 1e-300]
    distances = [calibrated_critical_distance(k, alpha) for alpha in alphas]
    assert distances == sorted(distances)
    assert distances[-1] <= 1 - 1 / k
    for alpha, distance in zip(alphas, distances, strict=True):
        if 1 / k * (1 + 1e-9) < distance < (1 - 1 / k) * (1 - 1e-6):
            assert np.log(ks_null(k).sf(np.sqrt(k) * distance)) == pytest.approx(np.log(alpha), rel=1e-6)
    few = fit_power_law_rows(np.random.default_rng(0).exponential(size=(1, 5000)), min(k, 1000), alpha=0.05 / 20_000)
    assert few.d_critical_calibrated > calibrated_critical_distance(min(k, 1000)) or k == 2


@pytest.mark.parametrize("alpha", [0, 1, -1, 2, np.nan, "0.05", None])
def test_levels_that_are_none_are_refused_everywhere(alpha):
    for function in (calibrated_critical_distance, critical_distance, gaussian_pass_rate):
        with pytest.raises(gl.InputError, match="alpha must lie between 0 and 1"):
            function(20, alpha)


@pytest.mark.parametrize("k", [1, 0, -3, 2.5, 20.0, "20", True])
def test_sizes_that_are_none_are_refused_everywhere(k):
    for function in (calibrated_critical_distance, critical_distance, gaussian_pass_rate):
        with pytest.raises(gl.InputError, match="k must be"):
            function(k)
