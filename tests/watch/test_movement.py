"""Updates and cosines: exact for small layers, and within their standard errors for large ones."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

import gradlaw as gl
from watched_loops import network, train


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / a.norm() / b.norm())


def test_layers_up_to_the_size_of_the_sample_are_exact():
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=0.1)
    watch = gl.watch(model, optimizer, log=None, every=3, sample=10_000)
    weights, gradients, rows = [], [], {}
    for step in range(7):
        weights.append([p.detach().double().clone() for p in model.parameters()])
        gradients += train(model, optimizer, 1)
        if step % 3 == 0:
            rows[step] = watch.last
    weights.append([p.detach().double().clone() for p in model.parameters()])
    flat = [torch.cat([p.reshape(-1) for p in step]) for step in weights]
    updates = [b - a for a, b in itertools.pairwise(flat)]
    directions = [torch.cat([g.double().reshape(-1) for g in step.values()]) for step in gradients]
    assert rows[0]["model"]["gradient_cosine"] is None
    for step in (3, 6):
        row = rows[step]["model"]
        assert row["update_norm"] == pytest.approx(float(updates[step].norm()), rel=1e-9)
        assert row["update_ratio"] == pytest.approx(float(updates[step].norm() / flat[step].norm()), rel=1e-9)
        assert row["update_cosine"] == pytest.approx(cosine(updates[step], updates[step - 1]), abs=1e-6)
        assert row["gradient_cosine"] == pytest.approx(cosine(directions[step], directions[step - 1]), abs=1e-6)
        assert row["watched_cosine"] == pytest.approx(cosine(directions[step], directions[step - 3]), abs=1e-6)
        assert row["update_ratio_error"] == row["update_cosine_error"] == row["watched_cosine_error"] == 0


def test_standard_errors_are_those_of_samples_drawn_again():
    """Over 200 seeds the estimates scatter around the true value as much as each of them says."""
    torch.manual_seed(0)
    first = torch.randn(20_000) * torch.rand(20_000)
    second = first + 0.5 * torch.randn(20_000)
    found = {"update_ratio": [], "update_ratio_error": [], "gradient_cosine": [], "gradient_cosine_error": []}
    for seed in range(200):
        model = nn.ParameterList([torch.linspace(-1, 1, 20_000)])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        watch = gl.watch(model, optimizer, log=None, every=1, sample=500, seed=seed)
        for gradient in (first, second):
            optimizer.zero_grad()
            (model[0] * gradient).sum().backward()
            optimizer.step()
        for name, values in found.items():
            values.append(watch.last["layers"][name][0])
    weights = torch.linspace(-1, 1, 20_000) - 0.01 * first
    truth = {"update_ratio": float(0.01 * second.norm() / weights.norm()), "gradient_cosine": cosine(first, second)}
    for name, value in truth.items():
        scatter, told = np.std(found[name]), np.mean(found[f"{name}_error"])
        assert np.mean(found[name]) == pytest.approx(value, abs=4 * scatter / math.sqrt(200))
        assert told == pytest.approx(scatter, rel=0.2)  # 200 draws tell a scatter to 5%


def test_the_whole_model_is_estimated_from_its_layers():
    """A small layer that is exact and a large one that is not, of which each counts by its size."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"small": nn.Linear(10, 10), "large": nn.Linear(300, 300)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gl.watch(model, optimizer, log=None, every=1)
    before = torch.cat([p.detach().double().reshape(-1) for p in model.parameters()])
    (model["small"](torch.randn(5, 10)).square().sum() + model["large"](torch.randn(5, 300)).square().sum()).backward()
    optimizer.step()
    after = torch.cat([p.detach().double().reshape(-1) for p in model.parameters()])
    row, layers = watch.last["model"], watch.last["layers"]
    ratio = float((after - before).norm() / before.norm())
    assert abs(row["update_ratio"] - ratio) < 4 * row["update_ratio_error"]
    assert layers["update_ratio_error"][0] == 0 < layers["update_ratio_error"][1]
