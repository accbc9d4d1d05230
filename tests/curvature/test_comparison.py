import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.curvature.comparison import compare_curvature, quadratic_forms, split_hessian
from gradlaw.curvature.eigensolver.eigenpairs import eigenpairs
from gradlaw.curvature.operators.base import dense
from gradlaw.curvature.operators.hessian import gauss_newton, hessian
from gradlaw.curvature.operators.outer_products import gradient_covariance
from gradlaw.spectra import gradient_spectrum

B, K = 8, 20


@pytest.fixture
def gradients() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((60, 40)) * np.arange(1, 41) ** -0.7


@pytest.fixture
def proportional(gradients):
    """A covariance C, and the eigenpairs of H = B C."""
    matrix = dense(gradient_covariance(gradients))
    return eigenpairs(B * matrix, K, tol=1e-10), gradient_spectrum(gradients)


def test_a_hessian_proportional_to_the_covariance_has_ratios_of_one_and_no_angles(proportional):
    found = compare_curvature(*proportional, batch_size=B, k=K, vectors=5)
    np.testing.assert_allclose(found.ratios, 1, rtol=1e-8)
    np.testing.assert_allclose(found.overlap.overlaps, 1, atol=1e-6)
    assert found.overlap.angles.max() < 1e-4
    assert found.hessian_fit.s == pytest.approx(found.covariance_fit.s, rel=1e-6)
    frame = found.to_frame()
    assert list(frame.columns) == [
        "hessian", "covariance", "ratio", "overlap", "overlap_random", "principal_angle",
    ]  # fmt: skip
    assert (frame.index[0], len(frame), frame["overlap"].notna().sum()) == (1, K, 5)


def test_a_comparison_refuses_what_does_not_belong_together(proportional, gradients):
    pairs, covariance = proportional
    with pytest.raises(gl.InputError, match="40 dimensions and the gradients have 39"):
        compare_curvature(pairs, gradient_spectrum(gradients[:, :39]), B, K)
    with pytest.raises(gl.InputError, match="k=21 but of the 20 eigenvalues"):
        compare_curvature(pairs, covariance, B, 21)
    with pytest.raises(gl.InputError, match="covariance spectrum has numerical rank 9"):
        compare_curvature(pairs, gradient_spectrum(gradients[:10]), B, K)
    smallest = eigenpairs(np.diag(np.arange(40.0)), 3, "SA")
    with pytest.raises(gl.InputError, match="which='SA'"):
        compare_curvature(smallest, covariance, B, 3)
    with pytest.raises(gl.InputError, match="vectors=21 were to be compared, and 20"):
        compare_curvature(pairs, covariance, B, K, vectors=21)


def test_the_split_adds_up_and_finds_the_extreme_eigenvalues_of_the_residual():
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    problem = gl.Problem(model, cross_entropy, (torch.randn(50, 5).double(), torch.randint(3, (50,))))
    h, g = hessian(problem), gauss_newton(problem)
    split = split_hessian(h, g, eigenpairs(h, 8), k=3, probes=400)
    np.testing.assert_allclose(split.gauss_newton + split.residual, split.eigenvalues, atol=1e-9)
    residual = np.linalg.eigvalsh((dense(h) - dense(g)).numpy())
    np.testing.assert_allclose(split.largest.eigenvalues, residual[:-4:-1], atol=1e-5)
    np.testing.assert_allclose(np.sort(split.smallest.eigenvalues), residual[:3], atol=1e-5)
    for operator, trace in ((h, split.trace), (g, split.gauss_newton_trace), (h - g, split.residual_trace)):
        assert abs(dense(operator).trace() - trace.value) < 4 * trace.standard_error
    frame = split.to_frame()
    np.testing.assert_allclose(frame["gauss_newton_share"], split.gauss_newton / split.eigenvalues)


def test_quadratic_forms_of_eigenvectors_are_eigenvalues(gradients):
    operator = gradient_covariance(gradients)
    pairs = eigenpairs(operator, 35, tol=1e-10)
    frame = quadratic_forms(pairs.vectors, [operator])
    np.testing.assert_allclose(frame["gradient covariance"], pairs.eigenvalues, atol=1e-9)
