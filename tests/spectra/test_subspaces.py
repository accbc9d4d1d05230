import numpy as np
import pytest
import torch
from scipy import linalg

import gradlaw as gl
from gradlaw.spectra.eigenvectors import gradient_eigenvectors
from gradlaw.spectra.subspaces import principal_angles, random_overlap, subspace_overlap


def _orthonormal(k, n, rng):
    return np.linalg.qr(rng.standard_normal((n, k)))[0].T


@pytest.mark.parametrize(("k", "m", "n"), [(4, 4, 30), (3, 6, 30), (6, 2, 8), (5, 5, 5), (1, 1, 2)])
def test_angles_equal_scipy(k, m, n):
    rng = np.random.default_rng(0)
    a, b = _orthonormal(k, n, rng), _orthonormal(m, n, rng)
    np.testing.assert_allclose(principal_angles(a, b), linalg.subspace_angles(a.T, b.T)[::-1], atol=3e-8)


def test_overlaps_are_those_of_projectors_for_every_k():
    rng = np.random.default_rng(1)
    a, b = _orthonormal(6, 20, rng), _orthonormal(4, 20, rng)
    result = subspace_overlap(a, b)
    expected = [np.trace(a[:k].T @ a[:k] @ b[:k].T @ b[:k]) / k for k in range(1, 5)]
    np.testing.assert_allclose(result.overlaps, expected, rtol=1e-12)
    np.testing.assert_allclose(result.angles, principal_angles(a[:4], b), rtol=1e-12)
    assert np.mean(np.cos(result.angles) ** 2) == pytest.approx(result.overlaps[-1])
    assert result.dimensions == 20


def test_known_angles():
    angles = np.array([0.1, 0.7, 1.2])
    b = np.hstack([np.diag(np.cos(angles)), np.diag(np.sin(angles))])
    result = subspace_overlap(np.eye(6)[:3], b)
    np.testing.assert_allclose(result.angles, angles, rtol=1e-12)
    np.testing.assert_allclose(result.overlaps, np.cumsum(np.cos(angles) ** 2) / [1, 2, 3], rtol=1e-12)


def test_random_subspaces_overlap_as_expected():
    rng = np.random.default_rng(2)
    draws = [subspace_overlap(_orthonormal(4, 15, rng), _orthonormal(4, 15, rng)) for _ in range(800)]
    overlaps = np.array([draw.overlaps for draw in draws])
    expected, deviations = draws[0].expected, draws[0].deviations
    np.testing.assert_allclose(expected, np.arange(1, 5) / 15)
    assert random_overlap(4, 15) == pytest.approx(4 / 15)
    np.testing.assert_array_less(np.abs(overlaps.mean(axis=0) - expected), 4 * deviations / np.sqrt(800))
    np.testing.assert_allclose(overlaps.std(axis=0), deviations, rtol=0.12)


def test_eigenvectors_of_one_history_and_of_its_halves():
    rng = np.random.default_rng(3)
    gradients = (rng.standard_normal((400, 60)) * np.arange(1, 61) ** -1.5).astype(np.float32)
    pairs = [gradient_eigenvectors(part, 3) for part in (gradients, gradients[::2], gradients[1::2])]
    np.testing.assert_allclose(subspace_overlap(pairs[0], pairs[0]).overlaps, 1, atol=1e-6)
    halves = subspace_overlap(pairs[1], pairs[2])
    assert (halves.overlaps > 0.9).all()
    assert (halves.overlaps < 0.99999).all()


def test_float32_vectors_and_tensors():
    rng = np.random.default_rng(4)
    a, b = _orthonormal(4, 33, rng), _orthonormal(4, 33, rng)
    expected = subspace_overlap(a, b).overlaps
    single = subspace_overlap(torch.from_numpy(a).float(), torch.from_numpy(b).float()).overlaps
    np.testing.assert_allclose(single, expected, atol=1e-6)
    np.testing.assert_allclose(expected[-1], np.sum((a @ b.T) ** 2) / 4, rtol=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (np.eye(3), np.eye(4), "have 3 and 4 dimensions"),
        (2 * np.eye(3), np.eye(3), "not orthonormal: an inner product is off by 3"),
        (np.full((2, 3), np.nan), np.eye(3)[:2], "not orthonormal"),
        (np.ones((4, 3)), np.eye(3), "1 <= k <= n"),
        (np.ones(3), np.eye(3), "two dimensions"),
    ],
)
def test_bad_input(first, second, message):
    for function in (subspace_overlap, principal_angles):
        with pytest.raises(gl.InputError, match=message):
            function(first, second)
