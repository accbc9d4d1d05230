"""The lines of docs/kinds.md, as they stand there: gradients of plain autograd, streamed spectra, watched norms."""

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gradlaw as gl
from trained_kinds import KINDS, Kind, kinds

PAGE = (Path(__file__).parents[2] / "docs/kinds.md").read_text()
EVERY = list(kinds(PAGE))
# PEFT asks a model of transformers for an attribute by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


def loss_by_hand(problem: gl.Problem, model: nn.Module, indices: np.ndarray) -> Tensor:
    """What a training would call backward on, without anything of gradlaw."""
    if problem.by_batches:
        batches = [copy.deepcopy(problem.data[int(i)]) for i in indices]
        return torch.stack([_step(problem, model, batch) for batch in batches]).mean()
    inputs, targets = problem.fetch(indices)
    return problem.loss(model(**inputs) if isinstance(inputs, dict) else model(inputs), targets)


def _step(problem: gl.Problem, model: Any, batch: Any) -> Tensor:
    if hasattr(model, "training_step"):
        return model.training_step(batch)
    return model(**batch).loss if hasattr(model, "generate") else problem.functions[1](model, batch)


def gradient_by_hand(problem: gl.Problem, indices: np.ndarray) -> Tensor:
    model = copy.deepcopy(problem.model)
    loss_by_hand(problem, model, indices).backward()
    parameters = [p for p in model.parameters() if p.requires_grad]
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters])


@pytest.mark.parametrize("kind", EVERY, ids=[f"{kind.heading} {kind.variant}" for kind in EVERY])
def test_a_kind_of_training(kind: Kind) -> None:
    assert len([line for line in kind.code.splitlines() if line]) <= 5
    problem = kind.problem()
    before = copy.deepcopy(problem.model.state_dict())
    history = gl.collect(problem, iterations=3, batch_size=1 if problem.by_batches else 4)
    for t, indices in enumerate(history.settings.minibatches()):
        torch.testing.assert_close(history[t], gradient_by_hand(problem, indices), rtol=1e-10, atol=1e-12)
    assert all(torch.equal(value, problem.model.state_dict()[name]) for name, value in before.items())
    assert f"`{history.settings.engine}`" in kind.text.split(".")[0]
    streamed = gl.gradient_spectrum(problem, iterations=3, batch_size=history.settings.batch_size)
    expected = gl.gradient_spectrum(history).eigenvalues
    np.testing.assert_allclose(streamed.eigenvalues, expected, rtol=1e-9, atol=1e-12 * expected[0])
    _check_watch(problem)


def _check_watch(problem: gl.Problem) -> None:
    model, size = problem.model, 1 if problem.by_batches else 4
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    with gl.watch(model, optimizer, log=None, every=1, window=None) as watch:
        for start in range(2):
            indices = np.arange(start, start + size)
            expected = float(gradient_by_hand(problem, indices).norm())
            optimizer.zero_grad()
            loss_by_hand(problem, model, indices).backward()
            optimizer.step()
            assert watch.last is not None
            assert watch.last["model"]["norm"] == pytest.approx(expected, rel=1e-9)


TWICE = ["A differential equation", "An autoencoder with seeded noise", "A loss of the whole batch: InfoNCE",
         "A critic with gradient penalty"]  # fmt: skip


@pytest.mark.parametrize("heading", TWICE)
def test_hessians(heading: str) -> None:
    problem = next(kind for kind in EVERY if kind.heading == heading).problem()
    model = copy.deepcopy(problem.model)
    parameters = list(model.parameters())
    loss = loss_by_hand(problem, model, np.arange(problem.samples))
    options: dict[str, Any] = {"materialize_grads": True, "allow_unused": True}
    gradient = torch.autograd.grad(loss, parameters, create_graph=True, **options)
    vector = torch.randn(problem.dimensions, dtype=torch.float64)
    exact = torch.autograd.grad(torch.cat([g.reshape(-1) for g in gradient]) @ vector, parameters, **options)
    expected = torch.cat([g.reshape(-1) for g in exact])
    torch.testing.assert_close(gl.hessian(problem) @ vector, expected, rtol=1e-9, atol=1e-10)


def test_every_kind_is_on_the_page() -> None:
    assert {kind.heading for kind in EVERY} == set(KINDS)
    assert len(re.findall("```python", PAGE)) == len(KINDS)
