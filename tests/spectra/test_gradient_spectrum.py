import numpy as np
import pytest
import torch

import gradlaw as gl


def _explicit(gradients: np.ndarray, center: bool) -> np.ndarray:
    """Eigenvalues of the n x n matrix itself, descending."""
    g = gradients - gradients.mean(axis=0) if center else gradients
    return np.linalg.eigvalsh(g.T @ g / len(g))[::-1]


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("shape", [(30, 70), (70, 30), (2, 5), (1500, 40)])
def test_equals_the_spectrum_of_the_explicit_matrix(shape, center):
    gradients = np.random.default_rng(0).standard_normal(shape) * np.random.default_rng(1).random(shape[1]) ** -1 + 0.3
    spectrum = gl.gradient_spectrum(gradients, center)
    expected = _explicit(gradients, center)[: min(shape)]
    np.testing.assert_allclose(spectrum.eigenvalues, expected, rtol=1e-10, atol=1e-10 * expected[0])
    assert spectrum.trace == pytest.approx(expected.sum(), rel=1e-10)
    assert spectrum.rank == min(shape[0] - center, shape[1])


def test_history_of_a_problem(small_problem):
    history = gl.collect(small_problem, 40, 4)
    for center in (False, True):
        expected = _explicit(np.asarray(history, dtype=np.float64), center)[:40]
        spectrum = gl.gradient_spectrum(history, center)
        np.testing.assert_allclose(spectrum.eigenvalues, expected, rtol=1e-10, atol=1e-10 * expected[0])


def test_equals_singular_values():
    gradients = torch.randn(50, 200, dtype=torch.float64)
    singular = torch.linalg.svdvals(gradients).square() / 50
    np.testing.assert_allclose(gl.gradient_spectrum(gradients, center=False).eigenvalues, singular, rtol=1e-10)


def test_rank_and_the_refusal_of_a_verdict_on_rounding():
    rng = np.random.default_rng(0)
    low_rank = (rng.standard_normal((100, 37)) @ rng.standard_normal((37, 300))).astype(np.float32)
    spectrum = gl.gradient_spectrum(low_rank, center=False)
    assert spectrum.rank == 37
    with pytest.raises(gl.InputError, match="k=50 but the second moment spectrum has numerical rank 37"):
        spectrum.power_law(50)
    assert spectrum.power_law(20).k == 20


def test_full_batches_have_one_gradient_and_no_noise(small_problem):
    # Every minibatch is the whole data set in another order: all that differs between iterations is rounding.
    history = gl.collect(small_problem, 60, small_problem.samples)
    assert gl.gradient_spectrum(history, center=False).rank == 1
    assert gl.gradient_spectrum(history, center=True).rank == 0


@pytest.mark.parametrize("bad", [-0.5, np.nan])
def test_a_spectrum_has_no_negative_eigenvalues(bad):
    with pytest.raises(gl.InputError, match=f"eigenvalue 3 of 3 is {bad}"):
        gl.Spectrum(np.array([2.0, 1.0, bad]), False, 3, 10, 2.5, 1e-12)


def test_eigengaps_are_over_all_pairs_and_sorted_for_the_fit():
    gradients = np.random.default_rng(0).standard_normal((60, 500)) * np.arange(1, 501) ** -0.8
    spectrum = gl.gradient_spectrum(gradients)
    gaps = gl.eigengaps(spectrum)
    np.testing.assert_array_equal(gaps.values, spectrum.eigenvalues[:-1] - spectrum.eigenvalues[1:])
    assert len(gaps.values) == 59
    assert (np.diff(gaps.sorted) <= 0).all()
    fit = gl.fit_power_law(np.sort(gaps.values)[::-1][:30], 30)
    assert gaps.power_law(30) == fit
    with pytest.raises(gl.InputError, match="k=60 but only 59 eigengaps"):
        gaps.power_law(60)


def test_eigengaps_of_an_exact_power_law():
    # Paper Eq. 4: delta_k = lambda_k (1 - (k / (k + 1))^s).
    ranks = np.arange(1, 400)
    diagonal = np.sqrt(ranks**-1.2)
    spectrum = gl.gradient_spectrum(np.diag(diagonal) * np.sqrt(399), center=False)
    expected = spectrum.eigenvalues[:-1] * (1 - (ranks[:-1] / ranks[1:]) ** 1.2)
    np.testing.assert_allclose(gl.eigengaps(spectrum).values, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (np.ones((1, 5)), "at least 2 iterations"),
        (np.ones(5), "two dimensions"),
        (np.array([[1, 2], [np.nan, 1]]), "row 1, column 0 is nan"),
    ],
)
def test_bad_histories_are_refused(history, message):
    with pytest.raises(gl.InputError, match=message):
        gl.gradient_spectrum(history)
