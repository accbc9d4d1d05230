import numpy as np
import pytest

import gradlaw as gl
from gradlaw.spectra.davis_kahan import davis_kahan


def _pair(sizes=(60, 45), n=80, seed=0, decay=1.0):
    rng = np.random.default_rng(seed)
    scale, mean = np.arange(1, n + 1) ** -decay, rng.standard_normal(n)
    return tuple(rng.standard_normal((t, n)) * scale + mean for t in sizes)


def _explicit(gradients, center):
    g = gradients - gradients.mean(axis=0) if center else gradients
    matrix = g.T @ g / len(g)
    values, vectors = np.linalg.eigh(matrix)
    return matrix, values[::-1], vectors.T[::-1]


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(("sizes", "n"), [((60, 45), 80), ((50, 70), 20), ((12, 12), 12), ((4, 9), 30)])
def test_equals_the_explicit_matrices(sizes, n, center):
    first, second = _pair(sizes, n)
    result = davis_kahan(first, second, k=3, center=center)
    (c, values, u), (d, _, v) = _explicit(first, center), _explicit(second, center)
    norm = np.linalg.norm(c - d, 2)
    assert result.perturbation == pytest.approx(norm, rel=1e-10)
    delta = np.concatenate([[np.inf], values[:-1] - values[1:]])
    gaps = np.minimum(delta[:3], delta[1:4])
    cosines = np.abs(np.sum(u[:3] * v[:3], axis=1))
    np.testing.assert_allclose(result.gaps, gaps, rtol=1e-9)
    np.testing.assert_allclose(result.bounds, 2 * norm / gaps, rtol=1e-9)
    np.testing.assert_allclose(result.sines, np.sqrt(1 - cosines**2), atol=1e-7)
    np.testing.assert_allclose(result.eigenvalues, values[:3], rtol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_no_sine_is_above_its_bound(seed):
    result = davis_kahan(*_pair((500, 500), 20, seed, decay=1.5), k=8)
    assert (result.sines <= result.bounds).all()
    assert result.bounds[0] < 0.8  # a bound that says something


def test_known_rotation():
    # Covariances diag(4, 1) and the same turned by 0.3: sin 0.3, ||C - C~|| = 3 sin 0.3, gap 3.
    axes = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]]) * np.sqrt(2)
    turn = np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    result = davis_kahan(axes, axes @ turn, k=2)
    np.testing.assert_allclose(result.sines, np.sin(0.3), rtol=1e-9)
    assert result.perturbation == pytest.approx(3 * np.sin(0.3))
    np.testing.assert_allclose(result.bounds, 2 * np.sin(0.3), rtol=1e-9)


def test_equation_6():
    first, second = _pair((300, 300), 200, decay=0.6)
    result = davis_kahan(first, second, k=5, fit_k=100)
    spectrum = gl.gradient_spectrum(first)
    s = spectrum.power_law(100).s
    assert (result.s, result.fit_k) == (pytest.approx(s), 100)
    k = np.arange(1, 6)
    expected = 2 * result.perturbation * (k + 1) ** (s + 1) / spectrum.eigenvalues[0]
    np.testing.assert_allclose(result.approximations, expected, rtol=1e-10)


@pytest.mark.parametrize(("iterations", "expected"), [(60, 29), (4, 2)])
def test_the_exponent_is_fitted_well_above_the_last_eigenvalues(iterations, expected):
    first, second = _pair((iterations, 45), 200, decay=0.6)
    result = davis_kahan(first, second, k=2)
    assert result.fit_k == expected
    with pytest.raises(gl.InputError, match=f"k={iterations} but the covariance spectrum has numerical rank"):
        davis_kahan(first, second, k=2, fit_k=iterations)


def test_default_is_the_two_halves_of_one_history(small_problem):
    history = gl.collect(small_problem, 41, 4)
    halves = davis_kahan(history, k=3)
    two = davis_kahan(history.gradients[:20], history.gradients[20:40], k=3)
    np.testing.assert_allclose(halves.sines, two.sines)
    np.testing.assert_allclose(halves.bounds, two.bounds)
    frame = halves.to_frame()
    assert list(frame.index) == [1, 2, 3]
    assert list(frame.columns) == ["eigenvalue", "gap", "sine", "bound", "approximation"]


def test_a_history_with_itself():
    first, _ = _pair()
    result = davis_kahan(first, first, k=3)
    assert result.perturbation < 1e-13 * result.eigenvalues[0] * 100
    assert (result.sines < 1e-7).all()


def test_bad_input():
    first, second = _pair()
    with pytest.raises(gl.InputError, match="80 and 79 dimensions"):
        davis_kahan(first, second[:, 1:])
    with pytest.raises(gl.InputError, match="covariance has numerical rank 44"):
        davis_kahan(first, second, k=45)
    with pytest.raises(gl.InputError, match="got 3 iterations"):
        davis_kahan(first[:3])
    with pytest.raises(gl.InputError, match=r"rank 1; Eq\. 6 needs at least 2"):
        davis_kahan(first[:2], second, k=1)
