import numpy as np
import pytest
import torch
from scipy.linalg import block_diag

from gradlaw.curvature.eigensolver.basis import Basis
from gradlaw.curvature.eigensolver.lanczos import Lanczos
from gradlaw.curvature.operators.base import as_operator
from matrices import power_law, symmetric

N = 150


def started(matrix: np.ndarray, steps: int) -> Lanczos:
    run = Lanczos(as_operator(matrix), Basis(len(matrix), torch.device("cpu")), seed=0)
    for _ in range(steps):
        run.step()
    return run


def relation_error(run: Lanczos, matrix: np.ndarray) -> float:
    """||A Q - Q P - beta next e^T||, for rows Q."""
    q = run.basis.rows(torch.float64).numpy()
    p = run.projection
    chain = np.diag(p.alpha) + np.diag(p.beta[:-1], 1) + np.diag(p.beta[:-1], -1)
    projected = block_diag(np.diag(p.theta), chain)
    kept = len(p.theta)
    projected[:kept, kept] = projected[kept, :kept] = p.arrow
    rest = q @ matrix - projected @ q
    if run.next is not None:
        rest[-1] -= p.beta[-1] * run.next.numpy()
    return float(np.abs(rest).max())


def orthogonality_error(run: Lanczos) -> float:
    rows = run.basis.rows(torch.float64)
    if run.next is not None:
        rows = torch.cat([rows, run.next[None]])
    return float((rows @ rows.T - torch.eye(len(rows))).abs().max())


@pytest.mark.parametrize("panel_rows", [1, 4, 256])
def test_relation_and_orthogonality(panel_rows: int) -> None:
    matrix = symmetric(power_law(N))
    run = Lanczos(as_operator(matrix), Basis(N, torch.device("cpu")), seed=0)
    run.basis.panel_rows = panel_rows
    for steps in (1, 30, 60):
        while run.basis.size < steps:
            run.step()
        assert relation_error(run, matrix) < 1e-13
        assert orthogonality_error(run) < 1e-12


def test_restarts_keep_the_relation() -> None:
    matrix = symmetric(power_law(N))
    run = started(matrix, 40)
    for _ in range(3):
        values, residuals, coefficients = run.ritz_pairs(15, "LA")
        run.restart(values, coefficients, deflate=False)
        vectors = run.basis.rows(torch.float64).numpy()
        exact = np.linalg.norm(vectors @ matrix - values[:, None] * vectors, axis=1)
        np.testing.assert_allclose(residuals, exact, rtol=1e-6, atol=1e-13)
        for _ in range(25):
            run.step()
        assert relation_error(run, matrix) < 1e-12
        assert orthogonality_error(run) < 1e-12


def test_deflation_leaves_out_what_it_says() -> None:
    matrix = symmetric(power_law(N))
    run = started(matrix, 60)
    values, residuals, coefficients = run.ritz_pairs(10, "LA")
    run.restart(values, coefficients, deflate=True)
    run.step()
    assert np.array_equal(run.dropped, residuals)
    assert relation_error(run, matrix) <= residuals.max() + 1e-13
    assert orthogonality_error(run) < 1e-12
    _, after, _ = run.ritz_pairs(11, "LA")
    assert np.isin(residuals, after).all()


def test_invariant_subspaces_are_left_at_random() -> None:
    matrix = np.diag(np.repeat([3.0, -1.0], N // 2))
    run = started(matrix, 2)
    assert run.next is None
    assert run.projection.beta[-1] == 0
    for _ in range(N - 2):
        run.step()
    assert relation_error(run, matrix) < 1e-13
    assert orthogonality_error(run) < 1e-12
    assert run.next is None
