"""What draws are expected to show, against draws."""

import numpy as np
import pytest

from gradlaw.spectra.population.draws import drawn_gram
from gradlaw.spectra.population.log_determinants import Weighted, expected_log_determinants, log_determinants

ITERATIONS, DIMENSIONS, DRAWS = 60, 240, 400


@pytest.mark.parametrize(("s", "spread"), [(0.5, 0.0), (1.0, 0.7), (2.0, 0.0), (2.0, 0.7)])
def test_means_and_covariances_are_those_of_draws(s, spread):
    eigenvalues = np.arange(1, DIMENSIONS + 1.0) ** -s
    scales = np.exp(spread * np.random.default_rng(0).standard_normal(ITERATIONS))
    taus = np.geomspace(0.3, 0.003, 4)
    expected = expected_log_determinants(
        Weighted(eigenvalues, np.ones(DIMENSIONS)), Weighted(scales, np.ones(ITERATIONS)), taus
    )
    rows = []
    for seed in range(DRAWS):
        gram = drawn_gram(eigenvalues, ITERATIONS, seed, sizes=np.sqrt(scales)) / ITERATIONS
        rows.append(log_determinants(np.linalg.eigvalsh(gram.numpy()), taus))
    errors = np.sqrt(expected.covariance.diagonal() / DRAWS)
    assert np.abs((np.mean(rows, axis=0) - expected.means) / errors).max() < 3.5
    ratios = np.cov(np.array(rows).T) / expected.covariance
    assert np.abs(ratios - 1).max() < 5 * np.sqrt(2 / DRAWS)


def test_equal_values_may_be_counted():
    values, counts = np.array([3.0, 0.5]), np.array([4.0, 30.0])
    scales, taus = Weighted(np.ones(1), np.array([20.0])), np.array([1.0, 0.1])
    grouped = expected_log_determinants(Weighted(values, counts), scales, taus)
    single = Weighted(np.repeat(values, counts.astype(int)), np.ones(34))
    one_by_one = expected_log_determinants(single, Weighted(np.ones(20), np.ones(20)), taus)
    np.testing.assert_allclose(grouped.means, one_by_one.means, rtol=1e-9)
    np.testing.assert_allclose(grouped.covariance, one_by_one.covariance, rtol=1e-9)


def test_the_log_determinant_of_a_wishart_matrix():
    """As tau goes to 0, n >= T and equal eigenvalues: the sum of digammas, and of trigammas for the variance."""
    from scipy.special import polygamma, psi

    iterations, dimensions, tau = 40, 100, 1e-9
    found = expected_log_determinants(
        Weighted(np.ones(1), np.array([float(dimensions)])), Weighted(np.ones(1), np.array([40.0])), np.array([tau])
    )
    halves = (dimensions - np.arange(iterations)) / 2
    mean = np.sum(psi(halves) + np.log(2)) - iterations * np.log(iterations * tau)
    assert found.means[0] == pytest.approx(mean, abs=2e-3)
    assert found.covariance[0, 0] == pytest.approx(np.sum(polygamma(1, halves)), rel=0.02)
