"""Batch sharpness and the edge of stability against closed forms of quadratic losses."""

import numpy as np
import pytest
import torch
from torch import nn

import gradlaw as gl
from gradlaw.dynamics import batch_sharpness, edge_of_stability
from gradlaw.minibatches import Minibatches


def _regression(samples: int = 60, inputs: int = 5) -> tuple[gl.Problem, np.ndarray, np.ndarray, np.ndarray]:
    """Least squares in float64: the problem, its inputs, its residuals and its weights."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, inputs, generator=generator, dtype=torch.float64) * torch.arange(1.0, inputs + 1)
    y = torch.randn(samples, 1, generator=generator, dtype=torch.float64)
    model = nn.Linear(inputs, 1, bias=False, dtype=torch.float64)
    problem = gl.Problem(model, nn.functional.mse_loss, (x, y))
    residuals = (model(x) - y).detach().numpy()[:, 0]
    return problem, x.numpy(), residuals, model.weight.detach().numpy()[0]


def _by_hand(x: np.ndarray, residuals: np.ndarray, batches: Minibatches) -> tuple[np.ndarray, np.ndarray]:
    """Gradients and Hessians of the minibatches of mean (x w - y)^2."""
    gradients = np.stack([2 * residuals[b] @ x[b] / len(b) for b in batches])
    return gradients, np.stack([2 * x[b].T @ x[b] / len(b) for b in batches])


def test_batch_sharpness_of_least_squares_is_the_quotient_of_its_matrices():
    problem, x, residuals, _ = _regression()
    gradients, hessians = _by_hand(x, residuals, Minibatches(60, 4, 50, seed=3))
    curvatures = np.einsum("ti,tij,tj->t", gradients, hessians, gradients)
    norms = np.square(gradients).sum(axis=1)
    found = batch_sharpness(problem, 4, minibatches=50, seed=3)
    np.testing.assert_allclose(found.quotients, curvatures / norms, rtol=1e-10)
    assert found.value.value == pytest.approx((curvatures / norms).mean())
    assert found.value.standard_error == pytest.approx((curvatures / norms).std(ddof=1) / np.sqrt(50))
    assert found.ratio_of_means.value == pytest.approx(curvatures.mean() / norms.mean())
    assert found.batch_size == 4


def test_the_batch_sharpness_of_all_samples_at_once_is_a_rayleigh_quotient_of_the_hessian():
    problem, x, residuals, _ = _regression()
    gradients, hessians = _by_hand(x, residuals, Minibatches(60, 60, 2))
    found = batch_sharpness(problem, 60, minibatches=2)
    expected = gradients[0] @ hessians[0] @ gradients[0] / (gradients[0] @ gradients[0])
    np.testing.assert_allclose(found.quotients, [expected, expected], rtol=1e-10)
    assert expected <= np.linalg.eigvalsh(hessians[0])[-1]


def test_the_delta_method_agrees_with_the_bootstrap():
    problem, x, residuals, _ = _regression(400)
    gradients, hessians = _by_hand(x, residuals, Minibatches(400, 4, 100))
    curvatures = np.einsum("ti,tij,tj->t", gradients, hessians, gradients)
    norms = np.square(gradients).sum(axis=1)
    drawn = np.random.default_rng(0).integers(100, size=(4000, 100))
    spread = (curvatures[drawn].mean(axis=1) / norms[drawn].mean(axis=1)).std()
    found = batch_sharpness(problem, 4, minibatches=100).ratio_of_means
    assert found.standard_error == pytest.approx(spread, rel=0.1)


def test_the_edge_has_the_top_eigenvector_and_the_noise_along_it():
    problem, x, residuals, _ = _regression()
    gradients, _ = _by_hand(x, residuals, Minibatches(60, 6, 40, seed=1))
    values, vectors = np.linalg.eigh(2 * x.T @ x / 60)
    found = edge_of_stability(problem, 6, 0.05, minibatches=40, tol=1e-10, seed=1)
    along = gradients @ vectors[:, -1]
    noise = np.trace(np.cov(gradients.T))
    assert found.threshold == 40
    assert found.top_eigenvalue == pytest.approx(values[-1])
    assert abs(found.gradient_along.value) == pytest.approx(abs(along.mean()))
    assert found.noise_along.value == pytest.approx(along.var(ddof=1))
    assert found.noise_share == pytest.approx(along.var(ddof=1) / noise)
    assert "2/eta = 40" in str(found)


def test_batch_norm_in_training_mode_has_the_curvature_of_its_minibatches():
    """Against the dense Hessian by autograd, of the loss that couples the samples; running statistics stay."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)).double()
    data = torch.randn(24, 3).double(), torch.randn(24, 1).double()
    problem = gl.Problem(model, nn.functional.mse_loss, data)
    before = model[1].running_mean.clone()
    found = batch_sharpness(problem, 8, minibatches=3)
    assert torch.equal(model[1].running_mean, before)
    with pytest.raises(gl.InputError, match="batch norm"):
        edge_of_stability(problem, 8, 0.1, minibatches=2)
    edge = edge_of_stability(problem, 8, 0.1, minibatches=3, hessian_by_minibatches=True, tol=1e-8)
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    theta = torch.cat([p.detach().flatten() for p in model.parameters()])

    def loss(flat: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        parts = [p.view(s) for p, s in zip(flat.split([s.numel() for s in shapes]), shapes, strict=True)]
        state = dict(zip(names, parts, strict=True))
        outputs = torch.func.functional_call(model, state, (data[0][batch],))
        return (outputs - data[1][batch]).square().mean()

    whole = torch.zeros(len(theta), len(theta), dtype=torch.float64)
    for t, indices in enumerate(Minibatches(24, 8, 3)):
        batch = torch.from_numpy(indices)
        gradient = torch.autograd.functional.jacobian(lambda flat, b=batch: loss(flat, b), theta)
        hessian = torch.autograd.functional.hessian(lambda flat, b=batch: loss(flat, b), theta)
        assert found.quotients[t] == pytest.approx(float(gradient @ hessian @ gradient / gradient.square().sum()))
        whole += hessian / 3
    assert edge.top_eigenvalue == pytest.approx(float(torch.linalg.eigvalsh(whole)[-1]))


def test_refusals():
    problem, x, *_ = _regression()
    with pytest.raises(gl.InputError, match="larger than the data set"):
        batch_sharpness(problem, 61)
    with pytest.raises(gl.InputError, match="minibatches"):
        batch_sharpness(problem, 4, minibatches=1)
    with pytest.raises(gl.InputError, match="learning_rate must be positive"):
        edge_of_stability(problem, 4, 0.0)
    fitted = nn.Linear(5, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        fitted.weight.zero_()
    zero = gl.Problem(fitted, nn.functional.mse_loss, (torch.from_numpy(x), torch.zeros(60, 1, dtype=torch.float64)))
    with pytest.raises(gl.InputError, match="gradient of minibatch 0 is zero"):
        batch_sharpness(zero, 4)
    model = nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.5), nn.Linear(5, 1)).double()
    with pytest.raises(gl.InputError, match="random"):
        batch_sharpness(gl.Problem(model, nn.functional.mse_loss, problem.data), 4)
