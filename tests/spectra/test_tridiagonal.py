import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigvalsh_tridiagonal

from gradlaw.spectra.gradient import spectra_of_gram, spectrum_of_gram
from gradlaw.spectra.gram.band import band_of, tridiagonal_of_band
from gradlaw.spectra.gram.tridiagonal import both_eigenvalues

EPS = float(np.finfo(np.float64).eps)


def _centred(gram: torch.Tensor) -> torch.Tensor:
    projection = torch.eye(len(gram), dtype=gram.dtype) - 1 / len(gram)
    return projection @ gram @ projection


def _check(gram: torch.Tensor) -> None:
    """Directly, and by way of a band."""
    tolerance = 4 * len(gram) * EPS * float(torch.linalg.matrix_norm(gram, 2))
    expected = [torch.linalg.eigvalsh(matrix).numpy() for matrix in (gram, _centred(gram))]
    for by_band in (2, len(gram) + 1):
        for found, right in zip(both_eigenvalues(gram, by_band), expected, strict=True):
            assert np.abs(found - right).max() <= tolerance


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(1, 20), st.integers(1, 30), st.integers(1, 80), st.integers(0, 2**31))
def test_a_band_and_its_tridiagonal_form_are_similar_to_the_matrix(size, width, rows, dimensions, seed):
    gradients = torch.from_numpy(np.random.default_rng(seed).standard_normal((size, dimensions)))
    gram = gradients @ gradients.T
    band = band_of(gram.clone(), width, rows)
    assert band.shape == (size, min(width, size - 1) + 1)
    assert band[0, 0] == pytest.approx(float(gram[0, 0]))  # the first coordinates are left alone
    whole = np.zeros((size, size))
    for below in range(band.shape[1]):
        whole += np.diag(band[: size - below, below], -below)
    whole += np.tril(whole, -1).T
    diagonal, beside = tridiagonal_of_band(band)
    assert diagonal[0] == pytest.approx(float(gram[0, 0]))
    expected = torch.linalg.eigvalsh(gram).numpy()
    tolerance = 4 * size * EPS * expected[-1]
    for found in (np.linalg.eigvalsh(whole), eigvalsh_tridiagonal(diagonal, beside)):
        assert np.abs(found - expected).max() <= tolerance


@given(st.integers(2, 40), st.integers(1, 60), st.floats(-8, 8), st.integers(0, 2**31))
def test_equal_those_of_both_matrices(iterations, dimensions, decades, seed):
    rng = np.random.default_rng(seed)
    scales = 10 ** (decades * rng.random(dimensions))
    gradients = torch.from_numpy(rng.standard_normal((iterations, dimensions)) * scales + rng.standard_normal())
    _check(gradients @ gradients.T)


@pytest.mark.parametrize("iterations", [2, 3, 700])
def test_one_gradient_many_times_has_no_covariance(iterations):
    row = torch.randn(50, dtype=torch.float64)
    gram = row.expand(iterations, -1) @ row.expand(iterations, -1).T
    _check(gram)
    second, covariance = spectra_of_gram(gram, 50, 1e-7)
    assert (second.rank, covariance.rank) == (1, 0)


def test_rows_of_very_different_lengths():
    rng = np.random.default_rng(0)
    lengths = 10.0 ** rng.uniform(-12, 3, 400)
    gradients = torch.from_numpy(rng.standard_normal((400, 900)) * lengths[:, None])
    _check(gradients @ gradients.T)


def test_the_norm_is_met_to_thirteen_digits():
    rng = np.random.default_rng(1)
    gradients = torch.from_numpy(rng.standard_normal((1000, 1500)) * np.arange(1, 1501) ** -1.3 + 0.01)
    gram = gradients @ gradients.T
    for found, center in zip(spectra_of_gram(gram, 1500, 1e-16), (False, True), strict=True):
        expected = spectrum_of_gram(gram, 1500, center, 1e-16)
        assert np.abs(found.eigenvalues - expected.eigenvalues).max() <= 1e-13 * expected.eigenvalues[0]
        assert found.rank == expected.rank
        assert (found.floor, found.trace) == pytest.approx((expected.floor, expected.trace), rel=1e-12)


def test_no_more_eigenvalues_than_dimensions():
    gradients = torch.randn(30, 7, dtype=torch.float64)
    for spectrum in spectra_of_gram(gradients @ gradients.T, 7, 1e-16):
        assert len(spectrum.eigenvalues) == spectrum.rank == 7


def test_zero_gradients():
    for spectrum in spectra_of_gram(torch.zeros(12, 12, dtype=torch.float64), 20, 1e-7):
        assert spectrum.rank == 0
