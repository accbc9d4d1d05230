"""Shares, projected gradients, progress, rotation, participation ratios and distances against closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import gradlaw as gl
from gradlaw.curvature import block_densities
from gradlaw.dynamics import (
    Subspace,
    block_distances,
    operator_distance,
    participation_ratios,
    subspace_progress,
    subspace_rotation,
)
from gradlaw.spectra import davis_kahan, gradient_eigenvectors


@pytest.fixture
def problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    data = torch.randn(40, 4).double(), torch.randn(40, 2).double()
    return gl.Problem(model, nn.functional.mse_loss, data)


def _random_rows(k: int, n: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((n, k)))[0].T


def test_shares_are_those_of_the_projector():
    rows, vectors = _random_rows(3, 10), np.random.default_rng(1).standard_normal((5, 10))
    projector = rows.T @ rows
    subspace = Subspace(rows)
    expected = np.square(vectors @ projector).sum(axis=1) / np.square(vectors).sum(axis=1)
    np.testing.assert_allclose(subspace.shares(vectors), expected)
    np.testing.assert_allclose(subspace.project(torch.from_numpy(vectors)).numpy(), vectors @ projector)
    assert len(Subspace(rows, 2)) == 2


@pytest.mark.parametrize("keep", ["dominant", "bulk"])
def test_projected_gradients_are_those_of_the_projector(problem, keep):
    rows = _random_rows(3, problem.dimensions)
    nn.functional.mse_loss(problem.model(problem.data[0]), problem.data[1]).backward()
    before = torch.cat([p.grad.flatten() for p in problem.parameters()]).numpy()
    share = Subspace(rows).project_gradients(problem.parameters(), keep)
    after = torch.cat([p.grad.flatten() for p in problem.parameters()]).numpy()
    within = rows.T @ (rows @ before)
    np.testing.assert_allclose(after, within if keep == "dominant" else before - within, atol=1e-12)
    assert share == pytest.approx(within @ within / (before @ before))


def test_progress_on_a_quadratic_is_its_taylor_expansion():
    """L = mean (x w)^2 = w^T A w: the changes are exact, and so is the interaction 2 (P d)^T A (d - P d)."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 6, generator=generator, dtype=torch.float64)
    model = nn.Linear(6, 1, bias=False, dtype=torch.float64)
    problem = gl.Problem(model, nn.functional.mse_loss, (x, torch.zeros(50, 1, dtype=torch.float64)))
    a, w = (x.T @ x / 50).numpy(), model.weight.detach().numpy()[0].copy()
    rows, step = _random_rows(2, 6), np.random.default_rng(2).standard_normal(6)
    found = subspace_progress(problem, Subspace(rows), torch.from_numpy(step))
    parts = {"whole": step, "within": rows.T @ (rows @ step), "outside": step - rows.T @ (rows @ step)}
    for name, part in parts.items():
        assert getattr(found, name) == pytest.approx((w + part) @ a @ (w + part) - w @ a @ w)
    assert found.loss == pytest.approx(w @ a @ w)
    assert found.interaction == pytest.approx(2 * parts["within"] @ a @ parts["outside"])
    np.testing.assert_array_equal(model.weight.detach().numpy()[0], w)
    grouped = subspace_progress(problem, Subspace(rows), torch.from_numpy(step), batch_size=10)
    assert grouped.whole == pytest.approx(found.whole)


def test_progress_refuses_a_loss_that_is_random(problem):
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.Linear(3, 2)).double()
    random = gl.Problem(model, nn.functional.mse_loss, problem.data, randomness="seeded")
    step = torch.ones(random.dimensions)
    with pytest.raises(gl.InputError, match="two passes at the same parameters"):
        subspace_progress(random, Subspace(_random_rows(2, random.dimensions)), step)
    with pytest.raises(gl.InputError, match="dimensions"):
        subspace_progress(problem, Subspace(_random_rows(2, 5)), torch.ones(problem.dimensions))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 12), st.floats(1e-3, 10.0), st.data())
def test_the_davis_kahan_bound_holds_for_random_symmetric_matrices(seed, n, size, data):
    rng = np.random.default_rng(seed)
    k = data.draw(st.integers(1, n - 1))
    first, second = (sum((m, m.T)) for m in rng.standard_normal((2, n, n)))
    second = first + size * second
    pairs = [gl.eigenpairs(matrix, n, tol=1e-10) for matrix in (first, second)]
    found = subspace_rotation(*pairs, k, operator_distance(first, second))
    assert found.perturbation == pytest.approx(np.linalg.norm(first - second, 2), rel=1e-2)
    assert found.perturbation >= np.linalg.norm(first - second, 2) * (1 - 1e-9)
    values = np.linalg.eigvalsh(first)[::-1]
    assert found.gap == pytest.approx(values[k - 1] - values[k], rel=1e-6, abs=1e-8)
    leading = [np.linalg.eigh(matrix)[1][:, ::-1][:, :k] for matrix in (first, second)]
    sines = np.linalg.norm(leading[1] - leading[0] @ (leading[0].T @ leading[1]), 2)
    assert found.sine == pytest.approx(sines, abs=1e-5)
    assert found.sine <= found.bound + 1e-6
    assert found.vacuous == (found.bound >= 1)


def test_a_known_rotation_has_its_angle_and_overlap():
    angle = 0.3
    turned = np.eye(3)
    turned[:2, :2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    values = np.diag([5.0, 2.0, 1.0])
    first, second = gl.eigenpairs(values, 2, tol=1e-12), gl.eigenpairs(turned.T @ values @ turned, 2, tol=1e-12)
    found = subspace_rotation(first, second, 1, operator_distance(values, turned.T @ values @ turned))
    assert found.sine == pytest.approx(np.sin(angle), abs=1e-6)
    assert found.overlap == pytest.approx(np.cos(angle) ** 2, abs=1e-6)
    assert found.perturbation == pytest.approx(3 * np.sin(angle), rel=1e-3)  # (5 - 2) sin
    assert found.bound == pytest.approx(2 * np.sin(angle), rel=1e-3)


def test_the_perturbation_of_histories_is_that_of_the_paper_s_bound():
    rows = np.random.default_rng(0).standard_normal((60, 8)) * np.arange(8, 0, -1)
    halves = rows[:30], rows[30:]
    pairs = [gradient_eigenvectors(half, 4) for half in halves]
    matrices = [np.cov(half.T, bias=True) for half in halves]
    found = subspace_rotation(*pairs, 3, davis_kahan(*halves, k=4).perturbation)
    assert found.perturbation == pytest.approx(operator_distance(*matrices, tol=1e-8), rel=1e-6)
    assert found.sine <= found.bound


def test_rotation_refuses_what_has_no_gap_to_know():
    matrix = np.diag([3.0, 2.0, 1.0])
    pairs = gl.eigenpairs(matrix, 2)
    with pytest.raises(gl.InputError, match="needs 3 eigenvalues"):
        subspace_rotation(pairs, pairs, 2, 0.1)
    with pytest.raises(gl.InputError, match="which='LA'"):
        subspace_rotation(gl.eigenpairs(matrix, 2, "SA"), pairs, 1, 0.1)
    with pytest.raises(gl.InputError, match="needs eigenvalues"):
        subspace_rotation(np.eye(3)[:2], pairs, 1, 0.1)
    with pytest.raises(gl.InputError, match="must be a norm"):
        subspace_rotation(pairs, pairs, 1, float("nan"))


def test_participation_ratios_of_random_vectors_have_their_moments():
    n, draws = 30, 20_000
    vectors = np.random.default_rng(0).standard_normal((draws, n))
    found = participation_ratios(vectors)
    assert (1 / found.values).mean() == pytest.approx(1 / found.gaussian, rel=0.01)
    assert found.scores.mean() == pytest.approx(0, abs=0.03)
    assert found.scores.std() == pytest.approx(1, rel=0.05)


def test_the_null_of_tensors_keeps_their_shares(problem):
    """Vectors on one tensor alone are localised by the first null, and random by the second."""
    rng, part = np.random.default_rng(0), problem.layout[0]
    vectors = np.zeros((4000, problem.dimensions))
    vectors[:, part.start : part.stop] = rng.standard_normal((4000, part.stop - part.start))
    found = participation_ratios(vectors, problem.layout)
    np.testing.assert_allclose(found.by_tensor, (part.stop - part.start + 2) / 3)
    assert found.scores_by_tensor.mean() == pytest.approx(0, abs=0.06)
    assert found.scores_by_tensor.std() == pytest.approx(1, rel=0.08)
    assert found.scores.mean() > 1
    frame = found.to_frame()
    assert list(frame.columns) == ["participation_ratio", "gaussian", "score", "by_tensor", "score_by_tensor"]
    one = participation_ratios(np.eye(problem.dimensions)[-1:], problem.layout)
    assert one.values[0] == 1


def test_distances_of_known_spectra():
    same, apart = np.array([1.0, 2.0, 3.0]), np.array([-100.0, 50.0, 70.0])
    found = block_distances({"a": same, "b": same.copy(), "c": apart})
    np.testing.assert_allclose(found.distances, [[0, 0, 1], [0, 0, 1], [1, 1, 0]], atol=1e-12)
    assert found.mean == pytest.approx(2 / 3)
    half = block_distances({"a": np.array([1.0, 100.0]), "b": np.array([1.0, -100.0])})
    assert half.mean == pytest.approx(np.sqrt(0.5))  # half of the mass in common: a divergence of half a bit
    scaled = block_distances({"a": same, "b": 1e4 * same})
    assert scaled.mean == 1
    assert block_distances({"a": same, "b": 1e4 * same}, normalise=True).mean == pytest.approx(0)
    with pytest.raises(gl.InputError, match="two blocks"):
        block_distances({"a": same})
    with pytest.raises(gl.InputError, match="zero"):
        block_distances({"a": same, "b": np.zeros(3)})


def test_distances_of_densities_are_nearly_those_of_the_eigenvalues(problem):
    """Quadrature of all steps has the eigenvalues of a small block as nodes."""
    whole = gl.curvature.dense(gl.hessian(problem)).numpy()
    densities = block_densities(problem, "hessian", "tensors", probes=50, steps=12)
    exact = {p.name: np.linalg.eigvalsh(whole[p.start : p.stop, p.start : p.stop]) for p in problem.layout}
    found, expected = block_distances(densities), block_distances(exact)
    assert found.names == expected.names
    np.testing.assert_allclose(found.distances, expected.distances, atol=0.15)
    assert found.to_frame().loc["0.weight", "2.weight"] == found.distances[0, 2]


def test_subspaces_refuse_what_is_none(problem):
    with pytest.raises(gl.InputError, match="not orthonormal"):
        Subspace(np.ones((2, 4)))
    with pytest.raises(gl.InputError, match="keep_vectors"):
        Subspace(gl.eigenpairs(np.eye(3), 1, keep_vectors=False))
    with pytest.raises(gl.InputError, match="k=4"):
        Subspace(np.eye(5)[:3], 4)
    with pytest.raises(gl.InputError, match="vector 0 is zero"):
        Subspace(np.eye(5)[:3]).shares(np.zeros((1, 5)))
    with pytest.raises(gl.InputError, match="have no gradient"):
        Subspace(_random_rows(2, problem.dimensions)).project_gradients(problem.parameters(), "bulk")
    with pytest.raises(gl.InputError, match="keep"):
        Subspace(np.eye(5)[:3]).project_gradients([], "both")
    with pytest.raises(gl.InputError, match="is zero"):
        participation_ratios(np.zeros((1, 3)))
