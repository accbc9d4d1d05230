import dataclasses
import pickle

import numpy as np
import pytest
import torch

import gradlaw as gl
from gradlaw.spectra.eigenvectors import gradient_eigenvectors, gram_eigenpairs
from gradlaw.spectra.gradient import spectrum_of_gram
from gradlaw.spectra.gram.dense import gram_matrix


def _gradients(shape, seed=0):
    """Power-law variances and a mean that matters."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) * np.arange(1, shape[1] + 1) ** -0.8 + rng.standard_normal(shape[1])


def _explicit(gradients, center):
    """The n x n matrix itself."""
    g = gradients - gradients.mean(axis=0) if center else gradients
    return g.T @ g / len(g)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("shape", [(40, 90), (90, 40), (5, 3), (30, 30)])
def test_equals_the_eigenvectors_of_the_explicit_matrix(shape, center):
    gradients = _gradients(shape)
    values, vectors = np.linalg.eigh(_explicit(gradients, center))
    pairs = gradient_eigenvectors(gradients, 3, center)
    np.testing.assert_allclose(pairs.eigenvalues, values[::-1][:3], rtol=1e-11)
    cosines = np.abs(np.sum(pairs.vectors.numpy() * vectors.T[::-1][:3], axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-11)
    assert pairs.centred is center


def test_equals_right_singular_vectors_in_every_block_of_iterations(small_problem, tmp_path):
    history = gl.collect(small_problem, 40, 4, store=tmp_path / "store", band_bytes=4 * 99 * 7)
    assert history.gradients.chunks[0] == 7  # read 7 iterations at a time
    expected = torch.linalg.svd(history.gradients[:].double(), full_matrices=False).Vh[:5]
    vectors = gradient_eigenvectors(history, 5, center=False).vectors.double()
    torch.testing.assert_close(
        (vectors * expected).sum(dim=1).abs(), torch.ones(5, dtype=torch.float64), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(5, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("center", [False, True])
def test_residuals_are_those_in_parameter_space(center):
    gradients = _gradients((25, 70))
    pairs = gradient_eigenvectors(gradients, 4, center)
    matrix, u = _explicit(gradients, center), pairs.vectors.numpy()
    explicit = np.linalg.norm(u @ matrix - pairs.eigenvalues[:, None] * u, axis=1)
    assert (explicit < 1e-13 * pairs.eigenvalues[0] * 25).all()
    assert (pairs.residuals < 1e-13 * pairs.eigenvalues[0] * 25).all()


def test_residual_formula_of_a_wrong_vector(monkeypatch):
    gradients = _gradients((25, 70))
    gram = gram_matrix(torch.from_numpy(gradients))
    rng = np.random.default_rng(1)
    wrong = rng.standard_normal((25, 2))
    values = np.array([3.0, 2.0])
    monkeypatch.setattr("gradlaw.spectra.eigenvectors.linalg.eigh", lambda *a, **k: (values[::-1], wrong[:, ::-1]))
    pairs = gram_eigenpairs(gram, 2, False, 0.0)
    u = (gradients.T @ wrong / np.sqrt(25 * values)).T
    expected = np.linalg.norm(u @ _explicit(gradients, False) - values[:, None] * u, axis=1)
    np.testing.assert_allclose(pairs.residuals, expected, rtol=1e-10)


def test_history_keeps_its_type_and_takes_a_gram_matrix(small_problem):
    history = gl.collect(small_problem, 40, 4)
    gram = gram_matrix(history.gradients)
    pairs = gradient_eigenvectors(history, 3, gram=gram)
    assert pairs.vectors.dtype == torch.float32
    assert pairs.vectors.shape == (3, history.shape[1])
    torch.testing.assert_close(pairs.vectors, gradient_eigenvectors(history, 3).vectors)
    np.testing.assert_allclose(pairs.eigenvalues, gl.gradient_spectrum(history).eigenvalues[:3], rtol=1e-12)
    torch.testing.assert_close(pairs.vectors @ pairs.vectors.T, torch.eye(3), atol=1e-5, rtol=0)


def test_half_precision_gradients_have_float32_vectors():
    gradients = torch.randn(10, 30).bfloat16()
    pairs = gradient_eigenvectors(gradients, 2)
    assert pairs.vectors.dtype == torch.float32
    torch.testing.assert_close(pairs.vectors, gradient_eigenvectors(gradients.float(), 2).vectors)


@pytest.mark.parametrize("center", [False, True])
def test_a_spectrum_knows_its_eigenvectors(small_problem, center):
    history = gl.collect(small_problem, 40, 4)
    spectrum = gl.gradient_spectrum(history, center)
    pairs, expected = spectrum.eigenvectors(3), gradient_eigenvectors(history, 3, center)
    torch.testing.assert_close(pairs.vectors, expected.vectors, rtol=0, atol=0)
    assert pairs.centred is center
    with pytest.raises(gl.InputError, match=f"numerical rank {spectrum.rank}"):
        spectrum.eigenvectors(spectrum.rank + 1)
    array = gl.gradient_spectrum(history.gradients.numpy(), center).eigenvectors(3)
    torch.testing.assert_close(array.vectors, expected.vectors, rtol=0, atol=0)


class _Recomputed:
    """Gradients that are never stored: drawn again in blocks of 7 each time that they are asked for."""

    shape = (25, 70)

    def blocks(self, axis):
        assert axis == "dimension"
        gradients = torch.from_numpy(_gradients(self.shape))
        yield from ((first, gradients[first : first + 7]) for first in range(0, 25, 7))


def test_gradients_that_are_never_stored_have_eigenvectors():
    gradients = _gradients((25, 70))
    gram = gram_matrix(torch.from_numpy(gradients))
    spectrum = spectrum_of_gram(gram, 70, True, 1e-16, _Recomputed())
    torch.testing.assert_close(spectrum.eigenvectors(4).vectors, gradient_eigenvectors(gradients, 4).vectors)


def test_a_stored_spectrum_does_not_know_its_gradients():
    spectrum = gl.gradient_spectrum(_gradients((25, 70)))
    loaded = pickle.loads(pickle.dumps(spectrum))
    np.testing.assert_array_equal(loaded.eigenvalues, spectrum.eigenvalues)
    assert "origin" not in dataclasses.asdict(spectrum)
    for unknowing in (
        loaded,
        spectrum_of_gram(torch.eye(3), 5, False, 0.0),
        gl.Spectrum(**dataclasses.asdict(spectrum)),
    ):
        with pytest.raises(gl.InputError, match="does not know its gradients"):
            unknowing.eigenvectors(1)


def test_rank_is_the_limit():
    rng = np.random.default_rng(0)
    low_rank = (rng.standard_normal((50, 7)) @ rng.standard_normal((7, 200))).astype(np.float32)
    assert gradient_eigenvectors(low_rank, 7, center=False).vectors.shape == (7, 200)
    with pytest.raises(gl.InputError, match="k=8 eigenvectors were asked for, but the second moment has numerical ran"):
        gradient_eigenvectors(low_rank, 8, center=False)
    with pytest.raises(gl.InputError, match="the covariance has numerical rank 4"):
        gradient_eigenvectors(rng.standard_normal((5, 20)), 5)
    with pytest.raises(gl.InputError, match="numerical rank 0"):
        gradient_eigenvectors(np.ones((5, 20)), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"history": np.ones((4, 3)), "k": 0}, "k must be at least 1, got 0"),
        ({"history": np.ones((1, 3)), "k": 1}, "at least 2 iterations"),
        ({"history": np.array([[1.0], [np.nan]]), "k": 1}, "is nan"),
        ({"history": np.ones((4, 3)), "k": 1, "gram": torch.eye(3)}, "Gram matrix of 4 iterations is square"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(gl.InputError, match=message):
        gradient_eigenvectors(**arguments)
