"""Estimates of a population without a law, against their definitions and scikit-learn."""

from itertools import combinations

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf_shrinkage

import gradlaw as gl
from gradlaw.spectra.population.draws import drawn_gram
from gradlaw.spectra.population.halves import cross_validated_spectrum
from gradlaw.spectra.population.moments import spectral_moments
from gradlaw.spectra.population.shrinkage import ledoit_wolf

EIGENVALUES = np.arange(1, 41) ** -1.0


def test_moments_are_means_over_increasing_cycles():
    gram = drawn_gram(EIGENVALUES, 7, seed=1)
    k = gram.numpy()
    found = spectral_moments(gram, orders=3, center=False, groups=3).values.numpy()
    pairs = np.mean([k[i, j] ** 2 for i, j in combinations(range(7), 2)])
    triples = np.mean([k[i, j] * k[j, m] * k[m, i] for i, j, m in combinations(range(7), 3)])
    np.testing.assert_allclose(found, [k.diagonal().mean(), pairs, triples], rtol=1e-12)


def test_moments_are_unbiased_where_those_of_the_sample_are_not():
    true = np.array([np.sum(EIGENVALUES**k) for k in range(1, 5)])
    rows, naive = [], []
    for seed in range(300):
        gram = drawn_gram(EIGENVALUES, 20, seed)
        rows.append(spectral_moments(gram + 9.0, 4).values.numpy())  # a mean that is orthogonal to every draw
        naive.append((np.linalg.eigvalsh(gram.numpy() / 20) ** 2).sum())
    error = np.std(rows, axis=0) / np.sqrt(len(rows))
    assert np.abs((np.mean(rows, axis=0) - true) / error).max() < 3.5
    assert np.mean(naive) > 1.5 * true[1]


def test_standard_errors_of_moments_are_of_the_size_of_their_spread():
    found = [spectral_moments(drawn_gram(EIGENVALUES, 60, seed), 3) for seed in range(60)]
    spread = torch.stack([m.values for m in found]).std(dim=0)
    stated = torch.stack([m.standard_errors for m in found]).mean(dim=0)
    assert ((stated / spread - 1).abs() < 0.35).all()


def test_gradients_of_zeros_have_moments_of_zero():
    assert spectral_moments(torch.zeros(20, 20, dtype=torch.float64)).values.tolist() == [0, 0, 0, 0]


def test_moments_need_iterations():
    with pytest.raises(gl.InputError, match="up to order 9"):
        spectral_moments(torch.eye(9, dtype=torch.float64), orders=9)


def test_the_two_halves_are_those_of_eigenvectors_in_parameter_space():
    gradients = np.random.default_rng(0).standard_normal((12, 30)) * np.arange(1, 31) ** -0.5 + 2
    halves = gradients[0::2], gradients[1::2]

    def along(own: np.ndarray, other: np.ndarray) -> np.ndarray:
        _, _, vectors = np.linalg.svd(own - own.mean(axis=0), full_matrices=False)
        return (other @ vectors[:5].T).var(axis=0, ddof=1)

    expected = (along(*halves) + along(*reversed(halves))) / 2
    found = cross_validated_spectrum(torch.from_numpy(gradients @ gradients.T))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_leading_variances_of_the_other_half_stay_below_the_population():
    rows = [cross_validated_spectrum(drawn_gram(EIGENVALUES, 60, seed)).numpy() for seed in range(40)]
    sums, error = np.cumsum(np.mean(rows, axis=0)), np.std(np.cumsum(rows, axis=1), axis=0) / np.sqrt(40)
    assert (sums[:20] < np.cumsum(EIGENVALUES)[:20] + 2 * error[:20]).all()
    sample = np.linalg.eigvalsh(drawn_gram(EIGENVALUES, 30, 0).numpy() / 30)[::-1]
    assert sample[:10].sum() > EIGENVALUES[:10].sum()  # which the sample itself is above


def test_two_halves_need_iterations():
    with pytest.raises(gl.InputError, match="at least 8 iterations, got 6"):
        cross_validated_spectrum(torch.eye(6, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(15, 60), (80, 20)])
def test_shrinkage_is_that_of_scikit_learn(shape):
    gradients = np.random.default_rng(0).standard_normal(shape) * np.arange(1, shape[1] + 1) ** -0.5 + 1
    found = ledoit_wolf(torch.from_numpy(gradients @ gradients.T), shape[1])
    assert found.intensity == pytest.approx(ledoit_wolf_shrinkage(gradients), rel=1e-9)
    covariance = np.cov(gradients.T, bias=True)
    assert found.target == pytest.approx(np.trace(covariance) / shape[1], rel=1e-12)
    leading = np.linalg.eigvalsh(covariance)[::-1][:3].copy()
    shrunk = (1 - found.intensity) * covariance + found.intensity * found.target * np.eye(shape[1])
    np.testing.assert_allclose(found.shrunk(torch.from_numpy(leading)), np.linalg.eigvalsh(shrunk)[::-1][:3], rtol=1e-9)
