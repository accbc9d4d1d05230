"""Initialisations against the variances of their papers."""

import math

import pytest
import torch
from torch import nn

from gradlaw.choices import InitialisationName
from gradlaw.errors import InputError
from gradlaw.zoo import build_model
from gradlaw.zoo.initialise import initialise

LINEAR, CONVOLUTION = 2 / (400 + 300), 2 / (20 * 25 + 40 * 25)  # Xavier's variances


@pytest.mark.parametrize(
    ("name", "linear", "convolution"),
    [("kaiming", 2 / 400, 2 / (20 * 25)), ("xavier", LINEAR, CONVOLUTION), ("paddle", LINEAR, 2 / (20 * 25))],
)
def test_variances(name: InitialisationName, linear: float, convolution: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(20, 40, 5), nn.BatchNorm2d(40), nn.Linear(400, 300))
    initialise(model, name)
    for layer, variance in ((model[0], convolution), (model[2], linear)):
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, torch.Tensor)
        assert isinstance(bias, torch.Tensor)
        assert weight.var().item() == pytest.approx(variance, rel=5 * math.sqrt(2 / weight.numel()))
        assert bias.count_nonzero() == 0
    assert torch.equal(model[1].weight, torch.ones(40))  # type: ignore[arg-type]


def test_pytorchs_own_is_left_alone_and_the_seed_decides() -> None:
    plain, named = (build_model("lenet", (1, 28, 28), 10, 3, **kw) for kw in ({}, {"initialisation": "pytorch"}))  # type: ignore[arg-type]
    again = [build_model("lenet", (1, 28, 28), 10, 3, initialisation="xavier", padding=0) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), named.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in again), strict=True))


@pytest.mark.parametrize(
    ("shape", "padding", "parameters"),
    [((1, 28, 28), None, 61_706), ((1, 28, 28), 2, 61_706), ((1, 28, 28), 0, 44_426), ((3, 32, 32), None, 62_006)],
)
def test_sizes_of_lenet(shape: tuple[int, ...], padding: int | None, parameters: int) -> None:
    model = build_model("lenet", shape, 10, padding=padding)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model(torch.zeros(2, *shape)).shape == (2, 10)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match="there are pytorch, paddle, kaiming, xavier"):
        build_model("fcn", (4,), 2, initialisation="orthogonal")  # type: ignore[arg-type]
