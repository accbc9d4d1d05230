"""Variances of means of dependent series, and the levels of the intervals made of them."""

import numpy as np
import pytest

from gradlaw.stats.blocks import _dependence, block_length, block_means
from gradlaw.stats.intervals import DifferenceEstimate, MeanEstimate, RateEstimate, holm


def autoregressive(rng: np.random.Generator, length: int, phi: float, rows: int = 1) -> np.ndarray:
    """Series of unit variance, shape (rows, T)."""
    from scipy.signal import lfilter

    noise = rng.standard_normal((rows, length + 200)) * np.sqrt(1 - phi**2)
    return lfilter([1], [1, -phi], noise, axis=1)[:, 200:]


def test_the_variance_is_that_of_a_drawn_circular_block_bootstrap():
    series = autoregressive(np.random.default_rng(0), 60, 0.7)[0]
    found = block_means(series)
    assert 2 <= found.block <= 20
    rng = np.random.default_rng(1)
    blocks = 60 // found.block
    doubled = np.concatenate([series, series])
    starts = rng.integers(60, size=(40_000, blocks))
    drawn = np.stack([doubled[starts + i] for i in range(found.block)]).mean(axis=(0, 2))
    # Of blocks * block values instead of 60, and without the correction for the estimated mean.
    bootstrap = drawn.var() * blocks * found.block / 60 * 60 / 59
    flat_top = _dependence(series)[1] * series.var() / 59
    assert found.covariance[0, 0] == pytest.approx(max(bootstrap, flat_top), rel=0.03)
    with_it = np.stack([series, 2 * series], axis=1)
    np.testing.assert_allclose(block_means(with_it).covariance, found.covariance * np.array([[1, 2], [2, 4]]))


def test_block_lengths_follow_the_optimal_one():
    rng = np.random.default_rng(0)
    assert np.median([block_length(rng.standard_normal(1000)) for _ in range(30)]) <= 2
    for phi in (0.5, 0.9):
        slope = 2 * phi / (1 - phi**2)  # sum |k| R(k) over sum R(k) of this process
        best = (1.5 * slope**2 * 1000) ** (1 / 3)
        lengths = [block_length(row) for row in autoregressive(rng, 1000, phi, 30)]
        assert 0.6 * best < np.median(lengths) < 1.6 * best
    assert block_length(np.ones(100)) == 1
    assert block_length(np.arange(4.0)) == 1


def test_a_constant_and_repelling_series_are_not_worth_more_than_independent_ones():
    constant = block_means(np.full(50, 0.1))
    assert (constant.covariance[0, 0], constant.inflation[0]) == (pytest.approx(0, abs=1e-30), 1)
    repelling = np.tile([1.0, -1.0], 100) + 0.1 * np.random.default_rng(0).standard_normal(200)
    assert block_means(repelling).covariance[0, 0] >= repelling.var() / 200


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("rate", [0.03, 0.5, 0.98])
def test_intervals_of_rates_of_correlated_series_hold_their_level(phi, rate):
    from scipy.stats import norm

    length, runs = 600, 300
    series = autoregressive(np.random.default_rng(0), length, phi, runs)
    covered = 0
    for row in series:
        passed = row > norm.isf(rate)
        means = block_means(np.stack([passed, row], axis=1))
        estimate = RateEstimate(means.values[0], length / means.inflation.max(), means.degrees)
        low, high = estimate.interval(0.95)
        covered += low <= rate <= high
    assert covered / runs >= 0.93


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_differences_of_paired_series_are_found_at_their_level(phi):
    length, runs, common = 600, 300, 0.6
    rng = np.random.default_rng(0)
    a, b, c = (autoregressive(rng, length, phi, runs) for _ in range(3))
    rejected = 0
    for i in range(runs):
        first, second = (common * c[i] + np.sqrt(1 - common**2) * own[i] for own in (a, b))
        means = block_means(np.stack([first > 0.5, second > 0.5], axis=1))
        rho = means.covariance[0, 1] / np.sqrt(means.covariance.diagonal().prod())
        estimates = [
            RateEstimate(v, length / f, means.degrees) for v, f in zip(means.values, means.inflation, strict=True)
        ]
        rejected += DifferenceEstimate(*estimates, rho).p_value() < 0.05
    assert rejected / runs <= 0.075
    assert rejected / runs >= 0.01


def test_wilson_and_newcombe_are_those_of_the_books():
    # Newcombe (1998), Statistics in Medicine 17: 56/70 against 48/80, method 10: 0.0524 to 0.3339.
    first, second = RateEstimate(48 / 80, 80, np.inf), RateEstimate(56 / 70, 70, np.inf)
    difference = DifferenceEstimate(first, second, 0.0)
    np.testing.assert_allclose(difference.interval(0.95), (0.0524, 0.3339), atol=5e-5)
    level = 1 - difference.p_value()
    assert difference.interval(level).low == pytest.approx(0, abs=1e-9)
    from scipy.stats import binomtest

    wilson = binomtest(0, 30).proportion_ci(0.9, method="wilson")
    np.testing.assert_allclose(RateEstimate(0.0, 30, np.inf).interval(0.9), wilson, atol=1e-12)


def test_two_means_differ_as_a_z_test_says():
    from scipy.stats import norm

    difference = DifferenceEstimate(MeanEstimate(1.0, 0.3, np.inf), MeanEstimate(2.0, 0.4, np.inf), 0.0)
    assert difference.p_value() == pytest.approx(2 * norm.sf(2.0), rel=1e-6)
    worst = DifferenceEstimate(MeanEstimate(1.0, 0.3, np.inf), MeanEstimate(2.0, 0.4, np.inf), -1.0)
    assert worst.p_value() == pytest.approx(2 * norm.sf(1 / 0.7), rel=1e-6)
    assert DifferenceEstimate(MeanEstimate(1.0, 0.3, 5), MeanEstimate(1.0, 0.4, 5), 0.0).p_value() == 1


def test_holm_is_that_of_statsmodels():
    from statsmodels.stats.multitest import multipletests

    p = np.array([0.01, 0.2, 0.03, 0.005, 0.9, 0.03])
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
