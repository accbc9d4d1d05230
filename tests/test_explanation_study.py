"""The study of where the exponent comes from: counterfactuals, rules, the page against the committed results."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import gradlaw as gl
from gradlaw.zoo.gpt import next_token_loss
from studies.explanations.counterfactual import orthogonal, replaced, same_covariance, same_marginals, white
from studies.explanations.design import LABELS, REAL, WHITE, Measurement
from studies.explanations.measure import _factors, _layers, measure
from studies.explanations.page import PAGE, page, read
from studies.explanations.rules import CLAIMS, Tables
from studies.explanations.run import COMMITTED

ROOT = Path(__file__).parents[1]


@pytest.fixture
def inputs() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(12, 12, generator=generator)
    return (torch.randn(6000, 12, generator=generator).exp() @ mixing).view(6000, 1, 3, 4)


def _correlation(values: torch.Tensor) -> torch.Tensor:
    return torch.corrcoef(values.flatten(1).T)


def test_counterfactual_inputs_keep_what_they_are_to_keep(inputs):
    generator = torch.Generator().manual_seed(1)
    gaussian, marginal, noise = (make(inputs, generator) for make in (same_covariance, same_marginals, white))
    assert gaussian.shape == marginal.shape == noise.shape == inputs.shape
    assert (_correlation(gaussian) - _correlation(inputs)).abs().max() < 0.06
    torch.testing.assert_close(marginal.flatten(1).sort(dim=0).values, inputs.flatten(1).sort(dim=0).values)
    for independent in (marginal, noise):
        assert (_correlation(independent) - torch.eye(12)).abs().max() < 0.06
    assert float(noise.std()) == pytest.approx(float(inputs.std()), rel=0.02)
    assert (_correlation(inputs) - torch.eye(12)).abs().max() > 0.3


def test_labels_are_permuted_and_inputs_kept(inputs):
    targets = torch.arange(len(inputs))
    same, permuted = replaced(inputs, targets, LABELS, torch.Generator().manual_seed(0))
    assert same is inputs
    assert not torch.equal(permuted, targets)
    torch.testing.assert_close(permuted.sort().values, targets)
    assert replaced(inputs, targets, REAL, torch.Generator())[1] is targets


def test_orthogonal_weights_keep_their_norm():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(10, 6))
    before = [layer.weight.norm().item() for layer in (model[0], model[2])]
    orthogonal(model)
    assert [layer.weight.norm().item() for layer in (model[0], model[2])] == pytest.approx(before)
    product = (model[2].weight @ model[2].weight.T).detach()
    torch.testing.assert_close(product / product[0, 0], torch.eye(6), atol=1e-5, rtol=0)


def test_the_factors_of_a_layer_are_those_of_its_gradient(monkeypatch):
    """Of the whole design on a small set: a linear layer's second moment has the trace of its Kronecker form nearly."""
    monkeypatch.setattr("studies.explanations.design.ITERATIONS", 90)
    rng = np.random.default_rng(0)
    data = gl.from_arrays(rng.standard_normal((120, 1, 28, 28)).astype(np.float32), rng.integers(10, size=120))
    row, layers, (population,) = measure(Measurement("lenet", "mnist", REAL, 0), data)
    assert row["batch_size"] == 1
    assert row["loss"] == pytest.approx(np.log(10), rel=0.1)
    assert row["k"] == 30
    assert [layer["layer"].rpartition(".")[2] for layer in layers] == [name for name, _ in _linear(data)]
    assert all(0 < layer["s_kronecker"] < 5 for layer in layers)
    assert population["s_sample"] == pytest.approx(row["s"], rel=1e-4)
    assert 0 < population["other_half"] < 1
    assert measure(Measurement("lenet", "mnist", WHITE, 0), data).population == []


def test_rows_of_text_are_tokens():
    """Sums of d x^T over the tokens of a sample are the gradient of a layer; one that shares its weight is left out."""
    model = gl.build_model("gpt", (5,), 12, seed=0, width=8, depth=1, heads=2)
    tokens = torch.randint(12, (30, 5))
    problem = gl.Problem(model, next_token_loss, (tokens, tokens.roll(-1, 1)))
    history = gl.collect(problem, 20, 1)
    seen = _factors(problem, history.settings.minibatches())
    part = next(part for part in history.layout if part.name == "blocks.0.attention.qkv.weight")
    inputs, errors = (rows.view(20, 5, -1) for rows in seen["blocks.0.attention.qkv"])
    products = torch.einsum("tio,tij->toj", errors, inputs).flatten(1)
    torch.testing.assert_close(products, history.gradients[:, part.start : part.stop], atol=1e-6, rtol=1e-4)
    assert set(seen) - {layer["layer"] for layer in _layers(history, seen)} == {"readout"}


def _linear(data: object) -> list[tuple[str, nn.Module]]:
    model = gl.build_model("lenet", data.sample_shape, data.classes, seed=0)
    return [(name.rpartition(".")[2], m) for name, m in model.named_modules() if isinstance(m, nn.Linear)]


def test_rules_decide_by_what_they_say():
    common = {"network": "lenet", "data": "mnist", "seed": 0, "batch_size": 1}
    real = common | {"variant": REAL, "s": 1.3, "d_ks": 0.02, "power_law": True, "outliers": 9, "within_outliers": 0,
                     "between": 0.7}  # fmt: skip
    white = real | {"variant": WHITE, "s": 0.4, "d_ks": 0.2, "power_law": False}
    spectra = pd.DataFrame([real, white, real | {"variant": "epoch 3", "s": 1.9}])
    layers = pd.DataFrame([common | {"variant": REAL, "layer": "1", "s": 1.0, "s_kronecker": 1.3}])
    found = common | {"variant": REAL, "s": 1.25, "p_value": 0.2, "s_sample": 1.3, "s_drawn": 1.4, "d_ks_sample": 0.02,
                      "d_ks_drawn": 0.015, "other_half": 0.81}  # fmt: skip
    tables = Tables(spectra, layers, pd.DataFrame([found, found | {"variant": "epoch 1", "p_value": 0.01}]))
    outcomes = {claim.name: claim.decide(tables)[0] for claim in CLAIMS}
    assert outcomes == {
        "the population is a power law": "holds",
        "the exponent is the population's": "holds",
        "it takes structure in the inputs": "holds",
        "the covariance of the inputs is enough": "not run",
        "the marginals of the inputs are enough": "not run",
        "labels do not matter": "not run",
        "weights do not matter": "not run",
        "outliers are class means": "holds",
        "layers are Kronecker products": "does not hold",
        "sampling and a smooth law make the exponent": "does not hold",
        "sampling and a smooth law make the distance": "holds",
        "leading directions are the population's": "holds",
        "training keeps the exponent": "does not hold",
        "the population is a power law while training": "does not hold",
    }


def test_the_page_says_what_the_results_say():
    assert page(read(ROOT / COMMITTED)) == (ROOT / PAGE).read_text(encoding="utf-8")
