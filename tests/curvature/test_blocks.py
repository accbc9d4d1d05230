"""Densities of blocks, against the blocks of matrices made by plain float64 autograd."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.curvature import dense, gauss_newton, hessian

BLOCKS = {"0": slice(0, 28), "2": slice(28, 43)}
SIZES = {"0": 28, "2": 15}


@pytest.fixture(scope="module")
def problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    return gl.Problem(model, cross_entropy, (torch.randn(50, 6, dtype=torch.float64), torch.randint(3, (50,))))


@pytest.fixture(scope="module")
def matrices(problem) -> dict[str, np.ndarray]:
    history = gl.collect(problem, 40, 2, seed=1)
    return {
        "hessian": dense(hessian(problem)).numpy(),
        "gauss-newton": dense(gauss_newton(problem)).numpy(),
        "covariance": np.cov(history.gradients.numpy().T, bias=True),
    }


def _settings(operator: str) -> dict[str, int]:
    return {"iterations": 40, "batch_size": 2, "seed": 1} if operator == "covariance" else {}


@pytest.mark.parametrize("operator", ["hessian", "gauss-newton", "covariance"])
def test_blocks_are_those_of_the_matrix(problem, matrices, operator):
    found = gl.block_densities(problem, operator, probes=30, steps=40, **_settings(operator))
    assert {name: density.dimensions for name, density in found.items()} == SIZES
    for name, density in found.items():
        block = matrices[operator][BLOCKS[name], BLOCKS[name]]
        values = np.linalg.eigvalsh(block)
        nodes = density.nodes[density.weights > 1e-6]
        assert np.abs(nodes[:, None] - values).min(axis=1).max() < 1e-6 * np.abs(values).max()
        for estimate, exact in ((density.trace, np.trace(block)), (density.trace_of_square, (block**2).sum())):
            assert abs(estimate.value - exact) < 4 * estimate.standard_error
            assert estimate.standard_error < 0.3 * abs(exact) + 1e-12
        middle = float(np.sqrt(np.abs(values).max() * np.abs(values).mean()))
        above = density.count_above(middle)
        assert abs(above.value - (values > middle).sum()) < 4 * above.standard_error


def test_tensors_and_named_groups(problem):
    tensors = gl.block_densities(problem, "gauss-newton", "tensors", probes=2, steps=3)
    assert {name: density.dimensions for name, density in tensors.items()} == {
        "0.weight": 24, "0.bias": 4, "2.weight": 12, "2.bias": 3}  # fmt: skip
    named = gl.block_densities(
        problem, "covariance", {"weights": "*.weight", "ends": ["0.bias", "2.weight"]}, probes=2, steps=3, iterations=10
    )
    assert {name: density.dimensions for name, density in named.items()} == {"weights": 36, "ends": 16}


def test_covariances_of_a_history_on_disk(problem, monkeypatch):
    """Columns that are read from disk are those in memory."""
    settings = {"blocks": {"weights": "*.weight"}, "probes": 2, "steps": 4, "iterations": 30}
    in_memory = gl.block_densities(problem, "covariance", **settings)
    monkeypatch.setattr("gradlaw.history.stores.placement.free_memory", lambda device: 1)
    assert not isinstance(gl.collect(problem, 30, 1).gradients, torch.Tensor)
    on_disk = gl.block_densities(problem, "covariance", **settings)
    np.testing.assert_allclose(on_disk["weights"].nodes, in_memory["weights"].nodes, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"operator": "fisher"}, "operator must be one of covariance, gauss-newton, hessian, got 'fisher'"),
        ({"blocks": "heads"}, "blocks must be one of layers, tensors, got 'heads'"),
        ({"blocks": {}}, "blocks is empty"),
        ({"blocks": {"last": "9.*"}}, "no parameter matches '9\\.\\*'; there are: 0.weight"),
        ({"operator": "covariance", "iterations": 1}, "iterations must be at least 2"),
        ({"probes": 0}, "probes must be at least 1"),
    ],
)
def test_refusals(problem, settings, message):
    with pytest.raises(gl.InputError, match=message):
        gl.block_densities(problem, **settings)
