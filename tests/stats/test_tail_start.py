import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import gradlaw as gl
from gradlaw.stats.calibration import ks_null
from gradlaw.stats.powerlaw import fit_power_law_rows
from gradlaw.stats.tail_start import bootstrap_p_value, scan_tail_start

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import powerlaw


def _kinked(length: int, in_tail: int, s: float, seed: int) -> np.ndarray:
    """A power law above 1, uniform below."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.random(in_tail) ** -s, rng.random(length - in_tail)])


def _distance(tail: np.ndarray) -> float:
    rate = len(tail) / np.log(tail / tail.min()).sum()
    return stats.kstest(tail, stats.pareto(b=rate, scale=tail.min()).cdf).statistic


def _every_tail(values: np.ndarray, smallest: int) -> dict[int, float]:
    """The distances of all x >= lambda_min, for every lambda_min in the data, by SciPy."""
    magnitudes = np.abs(values)
    tails = [magnitudes[magnitudes >= start] for start in np.unique(magnitudes[magnitudes > 0])]
    return {len(t): _distance(t) for t in tails if len(t) >= smallest and t.max() > t.min()}


@given(st.integers(0, 2**32), st.sampled_from([0, 1, 2]), st.floats(0.1, 3), st.integers(-90, 90))
@settings(max_examples=40, deadline=None)
def test_the_full_scan_equals_kstest_for_every_lambda_min(seed, decimals, s, exponent):
    values = np.round(_kinked(80, 40, s, seed), decimals + 1)  # with ties
    expected = _every_tail(values, smallest=10)
    scan = scan_tail_start(values * 2.0**exponent, smallest=10, points=None)
    assert scan.k.tolist() == sorted(expected)
    np.testing.assert_allclose(scan.d_ks, [expected[k] for k in scan.k], rtol=0, atol=1e-12)
    assert scan.best.d_ks == pytest.approx(min(expected.values()), abs=1e-12)


@pytest.mark.parametrize("points", [2, 30, 200, None])
def test_every_point_of_a_scan_is_the_fit_at_that_k(points):
    values = _kinked(3000, 1000, 0.7, seed=1).astype(np.float32)
    scan = scan_tail_start(values, smallest=20, largest=1500, points=points)
    assert (scan.k[0], scan.k[-1]) == (20, 1500)
    assert len(scan.k) == 1481 if points is None else len(scan.k) <= points
    assert (np.diff(scan.k) > 0).all()
    for i in range(0, len(scan.k), 50 if points is None else 1):
        fit = gl.fit_power_law(values, int(scan.k[i]))
        assert scan.d_ks[i] == pytest.approx(fit.d_ks, abs=1e-12)
        assert scan.s[i] == pytest.approx(fit.s, rel=1e-11)
    assert scan.best == gl.fit_power_law(values, int(scan.k[scan.d_ks.argmin()]))


def test_the_start_of_a_tail_is_found():
    scan = scan_tail_start(_kinked(20_000, 4000, 0.5, seed=2))
    assert 2500 < scan.best.k < 4200
    assert scan.best.s == pytest.approx(0.5, rel=4 / np.sqrt(scan.best.k))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_agrees_with_the_powerlaw_package(capsys):
    values = _kinked(400, 200, 0.6, seed=3)
    package = powerlaw.Fit(values, verbose=False)
    ours = scan_tail_start(values, smallest=2, points=None)
    sizes = len(values) - np.arange(len(package.xmins))
    at = np.searchsorted(ours.k, sizes)
    np.testing.assert_array_equal(ours.k[at], sizes)
    np.testing.assert_allclose(1 + 1 / ours.s[at], package.alphas, rtol=1e-10)
    assert (np.abs(ours.d_ks[at] - package.Ds) <= 1 / sizes + 1e-12).all()  # theirs sees one side of each step
    capsys.readouterr()


def test_tensors_come_back_as_tensors():
    values = _kinked(500, 200, 0.6, seed=4)
    arrays, tensors = scan_tail_start(values), scan_tail_start(torch.from_numpy(values))
    for name in ("k", "d_ks", "s"):
        assert isinstance(getattr(tensors, name), torch.Tensor)
        np.testing.assert_array_equal(getattr(tensors, name), getattr(arrays, name))
    assert arrays.best == tensors.best
    assert bootstrap_p_value(values, samples=20) == bootstrap_p_value(torch.from_numpy(values), samples=20)


def test_the_bootstrap_agrees_with_a_plain_one():
    values, smallest, samples = _kinked(60, 30, 0.7, seed=5), 10, 80
    distances = _every_tail(values, smallest)
    k, observed = min(distances.items(), key=lambda item: item[1])
    ordered = np.sort(values)[::-1]
    tail, body = ordered[:k], ordered[k:]
    s = np.log(tail / tail[-1]).mean()
    rng = np.random.default_rng(6)
    plain = 0
    for _ in range(samples):
        from_tail = rng.random(60) < k / 60
        synthetic = np.where(from_tail, tail[-1] * rng.random(60) ** -s, rng.choice(body, 60))
        plain += min(_every_tail(synthetic, smallest).values()) >= observed
    ours = bootstrap_p_value(values, smallest, points=None, samples=4 * samples, seed=1)
    p = plain / samples
    assert abs(ours - p) < 4 * np.sqrt(p * (1 - p) * 1.25 / samples)
    assert ours == bootstrap_p_value(values, smallest, points=None, samples=4 * samples, seed=1)
    assert ours != bootstrap_p_value(values, smallest, points=None, samples=4 * samples, seed=2)


def test_the_bootstrap_keeps_power_laws_and_rules_out_others():
    p_values = [bootstrap_p_value(_kinked(200, 100, 0.7, seed), points=20, samples=60, seed=seed) for seed in range(60)]
    level = 0.1
    rejected = np.mean([p <= level for p in p_values])
    assert rejected < level + 4 * np.sqrt(level * (1 - level) / 60)
    exponential = np.random.default_rng(7).exponential(size=1000)
    assert bootstrap_p_value(exponential, smallest=300, points=20, samples=100) == pytest.approx(1 / 101)


def test_the_verdict_of_a_chosen_k_is_too_kind():
    """Why the scan's own p-value must not be used: under a power law it should be uniform."""
    p_values = [scan_tail_start(_kinked(400, 200, 0.7, seed), points=50).best.p_value for seed in range(100)]
    assert np.mean(np.array(p_values) < 0.5) < 0.5 - 4 * np.sqrt(0.25 / 100)


@pytest.mark.parametrize(("k", "d_ks"), [(12, 0.2), (50, 0.12), (200, 0.05), (1000, 0.0344)])
def test_the_bootstrap_at_a_fixed_k_agrees_with_the_table(k, d_ks):
    samples = 20_000 if k < 1000 else 8000
    rng, larger = np.random.default_rng(0), 0
    for _ in range(10):
        tails = np.exp(rng.standard_exponential((samples // 10, k)))
        tails[:, 0] = 1.0  # lambda_min
        larger += (fit_power_law_rows(tails, k).d_ks >= d_ks).sum()
    p = float(ks_null(k).sf(np.array(np.sqrt(k) * d_ks)))
    assert abs(larger / samples - p) < 4 * np.sqrt(p * (1 - p) / samples)


def test_zeros_stay_outside_every_tail():
    values = np.concatenate([np.zeros(40), _kinked(60, 30, 0.7, seed=8)])
    assert scan_tail_start(values, points=None).k[-1] == 60
    assert 0 < bootstrap_p_value(values, largest=55, points=20, samples=50) <= 1
    assert 0 < bootstrap_p_value(np.concatenate([np.zeros(40), values[-12:]]), samples=50) <= 1  # some have no tail


@pytest.mark.parametrize("function", [scan_tail_start, bootstrap_p_value])
@pytest.mark.parametrize(
    ("values", "settings_", "message"),
    [
        (np.arange(50.0), {"smallest": 1}, "smallest=1 to largest=49"),
        (np.arange(50.0), {"smallest": 30, "largest": 20}, "smallest=30 to largest=20"),
        (np.arange(50.0), {"largest": 50}, "49 nonzero values allows 2 to 49"),
        (np.arange(5.0), {}, "4 nonzero"),
        (np.arange(50.0), {"points": 1}, "points must be at least 2"),
        (np.ones(50), {}, "two different magnitudes"),
        (np.ones((5, 5)), {}, "one dimension"),
        (np.array([*np.arange(50.0), np.nan]), {}, "column 50 is nan"),
    ],
)
def test_bad_input_is_refused(function, values, settings_, message):
    with pytest.raises(gl.InputError, match=message):
        function(values, **settings_)


def test_bad_samples_are_refused():
    with pytest.raises(gl.InputError, match="samples"):
        bootstrap_p_value(np.arange(50.0), samples=0)


@pytest.mark.parametrize("exponent", [1000, -1000, 350])
def test_the_ends_of_the_range_scan_like_the_middle(exponent):
    values = _kinked(300, 150, 1.2, seed=10)
    plain, scaled = scan_tail_start(values, points=30), scan_tail_start(values * 2.0**exponent, points=30)
    np.testing.assert_array_equal(scaled.d_ks, plain.d_ks)
    np.testing.assert_array_equal(scaled.s, plain.s)
    assert scaled.best.lambda_min == plain.best.lambda_min * 2.0**exponent
    p_values = [bootstrap_p_value(v, points=20, samples=20) for v in (values, values * 2.0**exponent)]
    assert p_values[0] == p_values[1]


def test_values_farther_apart_than_a_quotient_reaches():
    values = np.geomspace(1e-308, 1e308, 60)
    scan = scan_tail_start(values, smallest=5, points=None)
    logs = np.log(values[::-1])
    for k, s, d_ks in zip(scan.k, scan.s, scan.d_ks, strict=True):
        excess = logs[:k] - logs[k - 1]
        assert s == pytest.approx(excess.mean(), rel=1e-12)
        assert d_ks == pytest.approx(stats.kstest(excess, stats.expon(scale=excess.mean()).cdf).statistic, abs=1e-12)
    assert scan.best == gl.fit_power_law(values, int(scan.k[scan.d_ks.argmin()]))
    assert 0 < bootstrap_p_value(values, smallest=5, samples=10) <= 1


def test_the_bootstrap_of_nearly_constant_values_returns():
    nearly = 1 + 2.0**-52 * np.random.default_rng(11).integers(0, 200, 60)
    assert 0 < bootstrap_p_value(nearly, samples=20) <= 1
    assert bootstrap_p_value(nearly, samples=20) == bootstrap_p_value(nearly * 2.0**900, samples=20)


def test_a_bootstrap_that_finds_no_tails_says_so():
    values = np.concatenate([np.ones(400), [2.0]])  # the one tail holds all values, and synthetic ones have no second
    with pytest.raises(gl.InputError, match="different magnitudes"):
        bootstrap_p_value(values, smallest=10, largest=10, samples=5)


def test_a_long_series_is_scanned_in_little_memory():
    values = np.random.default_rng(12).pareto(1.5, 2_000_000)
    tracemalloc.start()
    scan = scan_tail_start(values, points=8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * values.nbytes + 30 * 2**20
    assert scan.d_ks[-1] == pytest.approx(gl.fit_power_law(values, int(scan.k[-1])).d_ks, abs=1e-12)
