"""The study of what follows for training: its training loops, its rules, the page against the committed results."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import gradlaw as gl
from gradlaw.dynamics import Subspace
from studies.consequences import subspaces
from studies.consequences.design import BULK, DOMINANT, SGD, SWITCH, edge_model, scaled_he, squared_error
from studies.consequences.page import PAGE, page, read
from studies.consequences.rules import CLAIMS
from studies.consequences.run import COMMITTED, Results

ROOT = Path(__file__).parents[1]


@pytest.fixture
def data() -> object:
    rng = np.random.default_rng(0)
    return gl.from_arrays(rng.standard_normal((600, 1, 28, 28)).astype(np.float32), rng.integers(10, size=600))


def test_the_loss_is_the_squared_error_from_one_hot_targets():
    outputs, targets = torch.randn(7, 10), torch.randint(10, (7,))
    wanted = nn.functional.one_hot(targets, 10).float()
    expected = nn.functional.mse_loss(outputs, wanted, reduction="sum") / 7
    torch.testing.assert_close(squared_error(outputs, targets), expected)


def test_weights_start_as_the_recipe_says():
    model = edge_model()
    scaled_he(model)
    for layer in (model[1], model[3], model[5]):
        assert float(layer.weight.detach().std()) == pytest.approx(0.2 * np.sqrt(2 / layer.in_features), rel=0.05)
        assert not layer.bias.any()


def test_its_sgd_is_that_of_torch_and_projects_what_it_is_told(data):
    training = subspaces.Training(data, 0)
    model = training.copy().problem.model
    start = torch.cat([p.detach().flatten() for p in model.parameters()])
    optimizer = torch.optim.SGD(model.parameters(), lr=subspaces.SUBSPACE_RATE)
    inputs, targets = training.problem.data
    for t in range(3):
        chosen = torch.from_numpy(training.minibatches[t])
        optimizer.zero_grad()
        squared_error(model(inputs[chosen]), targets[chosen]).backward()
        optimizer.step()
    plain, within, without = training.copy(), training.copy(), training.copy()
    plain.run(3)
    for ours, theirs in zip(plain.problem.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    rows = np.linalg.qr(np.random.default_rng(0).standard_normal((len(start), 4)))[0].T
    subspace = Subspace(rows)
    within.run(3, subspace, "dominant")
    without.run(3, subspace, "bulk")
    moved = [
        torch.cat([p.detach().flatten() for p in way.problem.parameters()]) - start for way in (plain, within, without)
    ]
    assert subspace.shares(moved[1][None])[0] == pytest.approx(1, abs=1e-3)
    assert subspace.shares(moved[2][None])[0] == pytest.approx(0, abs=1e-6)
    assert 0 < subspace.shares(moved[0][None])[0] < 0.1
    assert training.step == 0


def test_a_seed_is_measured_from_the_switch_to_the_end(data, monkeypatch):
    """The whole of a small design: what is recorded, and that the ways start from one loss."""
    for name, value in {"SWITCH": 4, "LAST": 10, "REFRESH": 3, "COVARIANCE_MINIBATCHES": 20, "K": 3}.items():
        monkeypatch.setattr(subspaces, name, value)
    monkeypatch.setattr(subspaces, "SUBSPACE_SAMPLES", 60)
    monkeypatch.setattr(subspaces, "SUBSPACE_BATCH", 10)
    losses, shares, rotation = map(pd.DataFrame, subspaces.measure_subspaces(data, 0))
    assert losses[losses.step == 4].loss.nunique() == 1
    assert sorted(losses.groupby(["subspace", "way"]).size()) == [3, 3, 3, 3, 3]
    assert list(shares[shares.subspace == "Hessian"].step) == [4, 7, 10]
    assert list(rotation[rotation.subspace == "covariance"].span) == [3, 3, 6]
    assert (rotation.sine <= rotation.bound + 1e-4).all()
    assert shares.alignment.between(0, 1).all()
    whole = losses[(losses.way == SGD)].set_index("step").loss
    assert shares[shares.subspace == "Hessian"].set_index("step").loss.to_dict() == pytest.approx(whole.to_dict())


def test_results_are_continued_where_they_were_left(tmp_path):
    Results(tmp_path).add(edge=[{"seed": 0, "epoch": 1, "loss": 0.25}])
    again = Results(tmp_path)
    assert again.has("edge", seed=0, epoch=1)
    assert not again.has("edge", seed=0, epoch=2)
    again.add(edge=[{"seed": 0, "epoch": 2, "loss": 0.125}])
    assert pd.read_csv(tmp_path / "edge.csv").loss.tolist() == [0.25, 0.125]


def _tables() -> dict[str, pd.DataFrame]:
    """Results in which every claim but two holds."""
    edge = [
        {"seed": 0, "epoch": epoch, "threshold": 200.0, "batch_sharpness": sharpness, "top_eigenvalue": 90.0,
         "noise_share": 0.1}
        for epoch, sharpness in ((0, 5.0), (30, 180.0), (60, 210.0))
    ]  # fmt: skip
    ways = [(SGD, "", 0.2), (DOMINANT, "Hessian", 0.99), (BULK, "Hessian", 0.9)]
    losses = [
        {"seed": 0, "subspace": subspace, "way": way, "step": SWITCH + i, "loss": loss if i else 1.0}
        for way, subspace, loss in ways
        for i in range(8)
    ]
    shares = [{"seed": 0, "subspace": "Hessian", "step": SWITCH, "alignment": 0.95}]
    common = {"seed": 0, "subspace": "Hessian", "step": SWITCH, "sine": 0.1, "overlap": 0.9}
    rotation = [common | {"span": 50, "bound": 0.5}, common | {"span": 1000, "bound": 3.0}]
    vectors = [{"network": "gpt", "matrix": "Hessian", "seed": 0, "participation_ratio": 10.0, "gaussian": 100.0,
                "by_tensor": 15.0}]  # fmt: skip
    blocks = [
        {"network": network, "seed": 0, "distance": value, "shape_distance": value, "exponent_deviation": value}
        for network, value in (("gpt", 0.9), ("lenet", 0.5), ("fcn-relu", 0.3))
    ]
    tables = {"edge": edge, "losses": losses, "shares": shares, "rotation": rotation, "eigenvectors": vectors,
              "blocks": blocks}  # fmt: skip
    return {name: pd.DataFrame(rows) for name, rows in tables.items()}


def test_rules_decide_by_what_they_say():
    outcomes = {claim.name: claim.decide(_tables())[0] for claim in CLAIMS}
    failing = {"Bulk-SGD learns as SGD does", "and not by their layers alone"}
    assert {name for name, how in outcomes.items() if how == "does not hold"} == failing
    assert {how for name, how in outcomes.items() if name not in failing} == {"holds"}


def test_rules_notice_the_opposite():
    tables = _tables()
    tables["edge"]["batch_sharpness"] = 80.0
    tables["shares"]["alignment"] = 0.5
    tables["rotation"]["bound"] = 0.05
    outcomes = {claim.name: claim.decide(tables)[0] for claim in CLAIMS}
    assert outcomes["batch sharpness settles at 2 / eta"] == "does not hold"
    assert outcomes["the largest eigenvalue stays below"] == "does not hold"
    assert outcomes["the gradient is in the dominant subspace"] == "does not hold"
    assert outcomes["the Davis-Kahan bound is met"] == "does not hold"


def test_the_page_says_what_the_results_say():
    assert page(read(ROOT / COMMITTED)) == (ROOT / PAGE).read_text(encoding="utf-8")
