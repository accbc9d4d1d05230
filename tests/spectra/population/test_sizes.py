"""Sizes of draws, against those that they were drawn with, and draws that are made equal."""

import numpy as np
import pytest

from gradlaw.spectra.population.draws import drawn_gram
from gradlaw.spectra.population.sizes import distinct, equalized, long_enough, measured_sizes

EIGENVALUES = np.arange(1, 901.0) ** -1.0
LENGTHS = np.exp(np.random.default_rng(0).standard_normal(120))


def _rows(mean: float) -> np.ndarray:
    draws = np.random.default_rng(1).standard_normal((120, 900)) * np.sqrt(EIGENVALUES)
    return LENGTHS[:, None] * draws + mean


def test_equal_draws_are_those_in_parameter_space():
    """The covariance of draws over their lengths, around the mean weighted by one over lengths squared."""
    rows = _rows(mean=3.0)
    mean = (rows / LENGTHS[:, None] ** 2).sum(axis=0) / np.sum(1 / LENGTHS**2)
    expected = np.linalg.svd((rows - mean) / LENGTHS[:, None], compute_uv=False)[:-1] ** 2 / 119
    found = np.linalg.eigvalsh(equalized(rows @ rows.T, LENGTHS**2))[::-1]
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("reference", [1000, 60])
def test_sizes_are_measured_whatever_the_mean(reference, monkeypatch):
    monkeypatch.setattr("gradlaw.spectra.population.sizes.REFERENCE", reference)
    rows = _rows(mean=0.3)
    found = measured_sizes(rows @ rows.T, 0.0)
    errors = np.log(found.values / LENGTHS**2)
    assert errors.std() < 0.16  # of logarithms that spread by 2
    assert found.values.mean() == pytest.approx(1)
    assert found.reference == min(reference, 120)
    moved = _rows(mean=-5.0)
    np.testing.assert_allclose(measured_sizes(moved @ moved.T, 0.0).values, found.values, rtol=1e-3)


def test_lengths_are_divided_out_whole():
    plain, scattered = (drawn_gram(EIGENVALUES, 120, 3, sizes=lengths).numpy() for lengths in (None, LENGTHS))
    sizes = (measured_sizes(gram, 0.0).values for gram in (plain, scattered))
    first, second = (np.linalg.eigvalsh(equalized(*pair)) for pair in zip((plain, scattered), sizes, strict=True))
    np.testing.assert_allclose(first / first.sum(), second / second.sum(), rtol=0.05)


def test_gradients_of_zero_have_no_size():
    rows = _rows(mean=0.0)
    rows[[3, 77]] = 0
    assert np.flatnonzero(~long_enough(rows @ rows.T)).tolist() == [3, 77]


def test_a_minibatch_that_is_drawn_again_is_no_other_draw():
    rows = _rows(mean=0.0)
    rows[[5, 90]] = rows[[4, 4]]
    gram = rows @ rows.T
    once = distinct(gram)
    assert np.flatnonzero(~once).tolist() == [5, 90]
    assert measured_sizes(gram[once][:, once], 0.0) is not None
    assert measured_sizes(gram, 0.0) is None  # the mean is where they are, and nothing holds it back
