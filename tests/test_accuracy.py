"""The accuracy that an analysis says is that of the model on the samples of its minibatches, or there is none."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import gradlaw as gl
from gradlaw.report.state import state_of


def _labelled(samples: int = 40, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(samples, 5, generator=generator), torch.randint(classes, (samples,), generator=generator)


def _analysed(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> gl.Analysis:
    """In minibatches of all samples; a tenth of the iterations are looked at."""
    problem = gl.Problem(model, cross_entropy, (inputs, labels))
    return gl.analyze(problem, iterations=30, batch_size=len(inputs), gaussian_k=8)


def test_it_is_that_of_the_model_on_the_samples_of_the_run() -> None:
    inputs, labels = _labelled()
    model = nn.Linear(5, 3)
    analysis = gl.analyze(
        gl.Problem(model, cross_entropy, (inputs, labels)), iterations=30, batch_size=40, gaussian_k=8
    )
    found = analysis.sections["accuracy"]
    assert found.rate == pytest.approx(float((model(inputs).argmax(1) == labels).float().mean()))
    assert (found.samples, found.classes) == (3 * 40, 3)
    assert f"Accuracy {found.rate:.1%} ± {found.standard_error:.1%}, on 120" in state_of(analysis)
    assert state_of(analysis).split(".")[0] in str(analysis)


def test_batch_norm_takes_the_statistics_of_the_minibatch_and_keeps_its_own() -> None:
    inputs, labels = _labelled()
    model = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    analysis = gl.analyze(
        gl.Problem(model, cross_entropy, (inputs, labels)), iterations=30, batch_size=40, gaussian_k=8
    )
    normalised = (inputs - inputs.mean(0)) / (inputs.var(0, correction=0) + 1e-5).sqrt()
    expected = float((model[1](normalised).argmax(1) == labels).float().mean())
    assert analysis.sections["accuracy"].rate == pytest.approx(expected)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_ignored_labels_do_not_count() -> None:
    inputs, labels = _labelled()
    labels[:15] = -100
    model = nn.Linear(5, 3)
    analysis = gl.analyze(
        gl.Problem(model, cross_entropy, (inputs, labels)), iterations=30, batch_size=40, gaussian_k=8
    )
    found = analysis.sections["accuracy"]
    assert found.samples == 3 * 25
    assert found.rate == pytest.approx(float((model(inputs).argmax(1) == labels)[15:].float().mean()))


def test_what_has_no_classes_has_none(tmp_path) -> None:
    inputs, labels = _labelled()
    problem = gl.Problem(nn.Linear(5, 1), mse_loss, (inputs, torch.randn(40, 1)))
    analysis = gl.analyze(problem, iterations=30, batch_size=4, gaussian_k=8)
    assert analysis.sections["accuracy"] is None
    assert "Accuracy was not measured" in state_of(analysis)
    integers = gl.Problem(nn.Linear(5, 3), lambda out, y: ((out.sum(1) - y) ** 2).mean(), (inputs, labels + 3))
    assert gl.analyze(integers, iterations=30, batch_size=4, gaussian_k=8).sections["accuracy"] is None


def test_it_is_kept_with_the_run(tmp_path) -> None:
    problem = gl.Problem(nn.Linear(5, 3), cross_entropy, _labelled())
    analysis = gl.analyze(problem, iterations=40, batch_size=2, gaussian_k=8)
    analysis.save(tmp_path / "run")
    assert gl.Analysis.load(tmp_path / "run").sections["accuracy"] == analysis.sections["accuracy"]
    assert np.isfinite(analysis.sections["accuracy"].rate)


def test_a_model_may_differentiate_in_its_forward_pass() -> None:
    class Slope(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(5, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            moved = inputs.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.inner(moved).tanh().sum(), moved, create_graph=True)
            return self.inner(inputs) + slope[:, :3]

    inputs, labels = _labelled()
    model = Slope()
    found = _analysed(model, inputs, labels).sections["accuracy"]
    assert found.rate == pytest.approx(float((model(inputs).argmax(1) == labels).float().mean()))
