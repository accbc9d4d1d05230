"""What draws are expected to show, against draws."""

import numpy as np
import pytest

from gradlaw.spectra.population.draws import drawn_gram
from gradlaw.spectra.population.log_determinants import (
    Draws,
    Weighted,
    expected_log_determinants,
    log_determinants,
    sizing_shift,
    sizing_variance,
)
from gradlaw.spectra.population.sizes import equalized, measured_sizes

ITERATIONS, DIMENSIONS, DRAWS = 60, 240, 400
TAUS = np.geomspace(0.3, 0.003, 4)


@pytest.mark.parametrize("s", [0.5, 1.0, 2.0])
def test_means_and_covariances_are_those_of_draws(s):
    eigenvalues = np.arange(1, DIMENSIONS + 1.0) ** -s
    expected = expected_log_determinants(Weighted(eigenvalues, np.ones(DIMENSIONS)), Draws(ITERATIONS), TAUS)
    rows = []
    for seed in range(DRAWS):
        gram = drawn_gram(eigenvalues, ITERATIONS, seed) / ITERATIONS
        rows.append(log_determinants(np.linalg.eigvalsh(gram.numpy()), TAUS))
    errors = np.sqrt(expected.covariance.diagonal() / DRAWS)
    assert np.abs((np.mean(rows, axis=0) - expected.means) / errors).max() < 3.5
    ratios = np.cov(np.array(rows).T) / expected.covariance
    assert np.abs(ratios - 1).max() < 5 * np.sqrt(2 / DRAWS)


@pytest.mark.parametrize("s", [0.5, 2.0])
def test_measured_sizes_move_the_means_by_what_their_errors_have_in_common_with_the_draws(s):
    """Of the same draws with sizes known and with sizes measured: the mean difference, and the errors' variance."""
    eigenvalues = np.arange(1, DIMENSIONS + 1.0) ** -s
    population, lengths = Weighted(eigenvalues, np.ones(DIMENSIONS)), np.geomspace(0.1, 10, ITERATIONS)
    moved, expected, errors = [], [], []
    for seed in range(150):
        gram = drawn_gram(eigenvalues, ITERATIONS, seed, sizes=lengths).numpy()
        sizes = measured_sizes(gram, 0.0)
        error = np.log(sizes.values / lengths**2)
        level = np.exp(error.mean())
        draws = Draws(ITERATIONS - 1, sizes.tau * level, sizes.reference)
        known, found = (
            log_determinants(np.linalg.eigvalsh(equalized(gram, w)), TAUS) for w in (lengths**2, sizes.values / level)
        )
        moved.append(found - known)
        expected.append(sizing_shift(population, draws, TAUS))
        errors.append((error.var(ddof=1), sizing_variance(population, draws)))
    assert np.mean(errors, axis=0)[0] == pytest.approx(np.mean(errors, axis=0)[1], rel=0.12)
    mean, shift = np.mean(moved, axis=0), np.mean(expected, axis=0)
    np.testing.assert_allclose(mean, shift, atol=0.15 * np.abs(shift).max())
    deviation = np.sqrt(expected_log_determinants(population, Draws(ITERATIONS - 1), TAUS).covariance.diagonal())
    assert (np.abs(shift).max() > 0.3 * deviation.min()) == (s == 2.0)  # where without it intervals would be off


def test_equal_values_may_be_counted():
    values, counts = np.array([3.0, 0.5]), np.array([4.0, 30.0])
    taus, draws = np.array([1.0, 0.1]), Draws(20, 0.2, 15)
    grouped = expected_log_determinants(Weighted(values, counts), draws, taus)
    single = Weighted(np.repeat(values, counts.astype(int)), np.ones(34))
    one_by_one = expected_log_determinants(single, draws, taus)
    np.testing.assert_allclose(grouped.means, one_by_one.means, rtol=1e-9)
    np.testing.assert_allclose(grouped.covariance, one_by_one.covariance, rtol=1e-9)


def test_the_log_determinant_of_a_wishart_matrix():
    """As tau goes to 0, n >= T and equal eigenvalues: the sum of digammas, and of trigammas for the variance."""
    from scipy.special import polygamma, psi

    iterations, dimensions, tau = 40, 100, 1e-9
    found = expected_log_determinants(
        Weighted(np.ones(1), np.array([float(dimensions)])), Draws(iterations), np.array([tau])
    )
    halves = (dimensions - np.arange(iterations)) / 2
    mean = np.sum(psi(halves) + np.log(2)) - iterations * np.log(iterations * tau)
    assert found.means[0] == pytest.approx(mean, abs=2e-3)
    assert found.covariance[0, 0] == pytest.approx(np.sum(polygamma(1, halves)), rel=0.02)
