import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import gradlaw as gl
import problems
from gradlaw.curvature.operators.base import dense
from gradlaw.curvature.operators.hessian import gauss_newton
from gradlaw.curvature.operators.outer_products import empirical_fisher, gradient_covariance, monte_carlo_fisher


def _sample_gradients(problem: gl.Problem) -> torch.Tensor:
    rows = []
    for i in range(problem.samples):
        loss = problem.loss(problem.model(problem.data[0][i : i + 1]), problem.data[1][i : i + 1])
        rows.append(torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(problem.model.parameters()))]))
    return torch.stack(rows)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("name", ["lnn", "gru"])
def test_empirical_fisher_equals_the_dense_matrix(name, centred):
    problem = problems.make(name, torch.float64)
    rows = _sample_gradients(problem)
    rows = rows - rows.mean(dim=0) if centred else rows
    operator = empirical_fisher(problem, centred=centred)
    torch.testing.assert_close(dense(operator), rows.T @ rows / len(rows), rtol=0, atol=1e-10)
    assert operator.name == ("centred empirical Fisher" if centred else "empirical Fisher")
    assert (operator.describe()["centred"], operator.describe()["rows"]) == (centred, problem.samples)


def test_empirical_fisher_streams_from_disk(small_problem, tmp_path):
    stored = empirical_fisher(small_problem, 30, centred=True, seed=2)
    streamed = empirical_fisher(small_problem, 30, centred=True, seed=2, store=tmp_path / "history")
    vectors = torch.randn(small_problem.dimensions, 4)
    torch.testing.assert_close(streamed @ vectors, stored @ vectors, rtol=1e-5, atol=1e-8)


def test_batch_norm_has_no_sample_gradients():
    with pytest.raises(gl.InputError, match="single value per channel"):
        empirical_fisher(problems.make("fcn"))


@pytest.mark.parametrize("center", [False, True])
def test_gradient_covariance_equals_the_dense_matrix(small_problem, center):
    history = gl.collect(small_problem, 40, 3)
    rows = np.asarray(history, dtype=np.float64)
    expected = np.cov(rows.T, bias=True) if center else rows.T @ rows / len(rows)
    operator = gradient_covariance(history, center)
    assert operator.name == ("gradient covariance" if center else "gradient second moment")
    np.testing.assert_allclose(dense(operator).numpy(), expected, atol=1e-6 * np.abs(expected).max())
    exact = gradient_covariance(rows, center)
    np.testing.assert_allclose(dense(exact).numpy(), expected, atol=1e-12)


def test_a_large_mean_does_not_drown_the_covariance():
    noise = torch.randn(50, 6)
    shifted = dense(gradient_covariance(noise + 1000.0))
    torch.testing.assert_close(shifted, dense(gradient_covariance(noise)), rtol=0, atol=2e-3)


def test_monte_carlo_fisher_estimates_the_gauss_newton_matrix():
    problem = problems.make("lnn", torch.float64)
    vector = torch.randn(problem.dimensions, dtype=torch.float64)
    exact = vector @ (gauss_newton(problem) @ vector)
    operator = monte_carlo_fisher(problem, draws=200)
    squares = (operator.gradients @ vector) ** 2
    error = squares.std() / len(squares) ** 0.5
    found = vector @ (operator @ vector)
    torch.testing.assert_close(found, squares.mean())
    assert abs(found - exact) < 4 * error
    assert error < 0.05 * exact


def test_drawn_labels_are_seeded(small_problem):
    one, same, other = (monte_carlo_fisher(small_problem, 20, seed=seed).gradients for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    twice = monte_carlo_fisher(small_problem, 20, draws=2, seed=1)
    assert twice.gradients.shape[0] == 40


def test_labels_are_drawn_for_plain_cross_entropy_alone():
    inputs, labels = torch.randn(20, 4), torch.randint(3, (20,))
    for loss in (mse_loss, nn.CrossEntropyLoss(label_smoothing=0.1), nn.CrossEntropyLoss(weight=torch.ones(3))):
        with pytest.raises(gl.InputError, match="draws labels from the softmax"):
            monte_carlo_fisher(gl.Problem(nn.Linear(4, 3), loss, (inputs, labels)))
    assert monte_carlo_fisher(gl.Problem(nn.Linear(4, 3), nn.CrossEntropyLoss(), (inputs, labels))).dimensions == 15
    sequence = gl.Problem(nn.Conv1d(4, 3, 1), cross_entropy, (torch.randn(9, 4, 5), torch.randint(3, (9, 5))))
    with pytest.raises(gl.InputError, match=r"logits of shape \(B, classes\)"):
        monte_carlo_fisher(sequence)
