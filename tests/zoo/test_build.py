import pytest
import torch
from torch import nn

import gradlaw as gl
from gradlaw.zoo import MODELS

PUBLISHED = [
    ("lenet", (1, 28, 28), 10, 61_706),
    ("lenet", (3, 32, 32), 10, 62_006),
    ("lenet", (3, 32, 32), 100, 62_006 + 90 * 85),
    ("resnet18", (3, 32, 32), 10, 11_173_962),
    ("resnet18", (3, 32, 32), 100, 11_220_132),
]


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("name", "shape", "classes", "parameters"), PUBLISHED)
def test_parameter_counts_of_the_literature(name, shape, classes, parameters):
    assert _count(gl.build_model(name, shape, classes)) == parameters


@pytest.mark.parametrize(("name", "norms", "relus"), [
    ("fcn", 2, 2), ("fcn-relu-bn", 2, 2), ("fcn-relu", 0, 2), ("lnn", 0, 0), ("lnn-bn", 4, 0), ("lnn-relu", 0, 4),
])  # fmt: skip
def test_fully_connected_networks_are_made_of_their_layers(name, norms, relus):
    model = gl.build_model(name, (1, 28, 28), 10)
    depth = 4 if name.startswith("lnn") else 2
    assert [sum(isinstance(m, t) for m in model) for t in (nn.BatchNorm1d, nn.ReLU)] == [norms, relus]
    assert _count(model) == (784 * 70 + 70) + (depth - 1) * (70 * 70 + 70) + (70 * 10 + 10) + norms * 140


def test_batch_norm_comes_before_or_after_relu():
    kinds = {name: [type(m) for m in gl.build_model(name, (4,), 2, depth=1)] for name in ("fcn", "fcn-relu-bn")}
    head, tail = [nn.Flatten, nn.Linear], [nn.Linear]
    assert kinds["fcn"] == [*head, nn.BatchNorm1d, nn.ReLU, *tail]
    assert kinds["fcn-relu-bn"] == [*head, nn.ReLU, nn.BatchNorm1d, *tail]


@pytest.mark.parametrize(("depth", "width", "parameters"), [
    (0, 70, 7_850), (1, 70, 784 * 70 + 70 + 710), (3, 5, 3_925 + 2 * 30 + 60),
])  # fmt: skip
def test_depth_and_width_of_linear_networks(depth, width, parameters):
    assert _count(gl.build_model("lnn", (784,), 10, depth=depth, width=width)) == parameters


def test_a_linear_network_of_any_depth_is_affine():
    model = gl.build_model("lnn", (6,), 3, depth=5).double()
    x, y = torch.randn(2, 7, 6, dtype=torch.float64)
    torch.testing.assert_close(model(0.3 * x + 0.7 * y), 0.3 * model(x) + 0.7 * model(y))


@pytest.mark.parametrize("name", MODELS)
def test_initialisation_is_pytorchs_default_seeded_and_private(name):
    shape = {"lenet": (3, 32, 32), "resnet18": (3, 8, 8), "gpt": (8,)}.get(name, (6,))
    sizes = {"resnet18": {"width": 4}}.get(name, {})
    before = torch.get_rng_state()
    one, same, other = (gl.build_model(name, shape, 10, seed, **sizes) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))
    for module in one.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            bound = module.weight[0].numel() ** -0.5  # U(-1/sqrt(fan in), 1/sqrt(fan in))
            assert 0.5 * bound < module.weight.abs().max() <= bound
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm):
            assert torch.equal(module.weight, torch.ones_like(module.weight))


@pytest.mark.parametrize(("name", "shape", "classes", "sizes", "message"), [
    ("alexnet", (1, 28, 28), 10, {}, r"unknown model 'alexnet'; there are lenet, resnet18, fcn"),
    ("lenet", (1, 8, 8), 10, {}, r"28x28 or 32x32, the samples have shape 1x8x8; use fcn"),
    ("lenet", (784,), 10, {}, r"28x28 or 32x32, the samples have shape 784"),
    ("resnet18", (784,), 10, {}, r"resnet18 takes images \(C, H, W\)"),
    ("gpt", (1, 28, 28), 10, {}, r"gpt takes sequences of tokens"),
    ("gpt", (8,), 10, {"width": 10}, r"multiple of its heads, got width=10 and heads=4"),
    ("lenet", (1, 28, 28), 10, {"width": 3}, r"lenet has no width to choose; it takes padding"),
    ("fcn", (784,), 10, {"heads": 3}, r"fcn has no heads to choose; it takes width, depth"),
    ("fcn", (784,), 10, {"depth": -1}, r"the depth of fcn must be an integer of at least 0, got -1"),
    ("fcn", (784,), 10, {"width": 2.5}, r"the width of fcn must be an integer of at least 1, got 2.5"),
    ("fcn", (784,), 0, {}, r"classes, got 0"),
])  # fmt: skip
def test_what_cannot_be_built(name, shape, classes, sizes, message):
    with pytest.raises(gl.InputError, match=message):
        gl.build_model(name, shape, classes, **sizes)


def test_a_size_of_none_is_the_default():
    assert _count(gl.build_model("fcn", (9,), 2, width=None, depth=None)) == _count(gl.build_model("fcn", (9,), 2))
