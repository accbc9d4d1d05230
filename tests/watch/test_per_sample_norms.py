"""Squared norms of the gradients of samples, against plain autograd one sample at a time."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from gradlaw.errors import InputError
from gradlaw.watch.noise_scale import NoiseScaleAccumulator
from gradlaw.watch.per_sample_norms import PerSampleNorms

F = nn.functional
B, L = 5, 7


class Layers(nn.Module):
    """Every kind of layer on sequences of tokens; ``wide`` is one whose Gram matrices cost less than its weight."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 4, padding_idx=0)
        self.norm = nn.LayerNorm(4)
        self.wide = nn.Linear(4, 40)
        self.rms = nn.RMSNorm(40)
        self.narrow = nn.Linear(40, 3, bias=False)
        self.both = nn.LayerNorm((L, 3))
        self.last = nn.Linear(3 * L, 2)

    def forward(self, tokens):
        x = torch.tanh(self.wide(self.norm(self.embedding(tokens))))
        x = self.both(torch.tanh(self.narrow(self.rms(x))))
        return self.last(input=x.flatten(1)).square().sum(dim=1)


ALL = ["embedding", "norm", "wide", "rms", "narrow", "both", "last"]


def made(kind=Layers, dtype=torch.float64):
    torch.manual_seed(2)
    return kind().to(dtype)


def tokens(batch=B):
    return torch.randint(9, (batch, L), generator=torch.Generator().manual_seed(3))


def alone(model, layers, losses):
    """|g_i|^2 of every layer, (samples, layers), each loss by itself."""
    rows = []
    for loss in losses:
        model.zero_grad()
        loss(model).backward()
        gradients = [[p.grad for p in model.get_submodule(name).parameters() if p.grad is not None] for name in layers]
        rows.append([sum(float(g.double().square().sum()) for g in layer) for layer in gradients])
    model.zero_grad()
    return np.array(rows)


def whole(model, layers):
    parameters = [list(model.get_submodule(name).parameters()) for name in layers]
    return [sum(float(p.grad.double().square().sum()) for p in layer if p.grad is not None) for layer in parameters]


def watched(model, layers, losses, samples, **arguments):
    settings = {name: arguments.pop(name) for name in ("batch_axis",) if name in arguments}
    norms = PerSampleNorms(model, layers, **settings)
    norms.start()
    for loss in losses:
        loss(model).backward()
    return norms.finish(samples, **arguments)


def test_every_kind_of_layer_equals_autograd_of_single_samples():
    model, x = made(), tokens()
    step = watched(model, ALL, [lambda m: m(x).mean()], B)
    np.testing.assert_allclose(step.big_squared_norm, whole(model, ALL), rtol=1e-12)
    expected = alone(model, ALL, [lambda m, i=i: m(x[i : i + 1]).mean() for i in range(B)])
    np.testing.assert_allclose(step.small_squared_norms, expected, rtol=1e-10)
    assert (step.big_batch, step.small_batch.tolist(), step.weights.tolist()) == (B, [1] * B, [0.2] * B)


def test_microbatches_follow_one_another():
    model, x = made(), tokens()
    losses = [lambda m, part=part: m(part).sum() / B for part in x.split([2, 3])]
    step = watched(model, ALL, losses, B)
    np.testing.assert_allclose(step.big_squared_norm, whole(model, ALL), rtol=1e-12)
    expected = alone(model, ALL, [lambda m, i=i: m(x[i : i + 1]).mean() for i in range(B)])
    np.testing.assert_allclose(step.small_squared_norms, expected, rtol=1e-10)


def test_a_frozen_parameter_is_left_out():
    model, x = made(), tokens()
    model.wide.weight.requires_grad_(False)
    step = watched(model, ALL, [lambda m: m(x).mean()], B)
    expected = alone(model, ALL, [lambda m, i=i: m(x[i : i + 1]).mean() for i in range(B)])
    np.testing.assert_allclose(step.small_squared_norms, expected, rtol=1e-10)


class Twice(nn.Module):
    """Layers that are called more than once, on different numbers of positions."""

    def __init__(self):
        super().__init__()
        self.mix, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)

    def forward(self, x, unused=False):
        y = self.norm(self.mix(torch.tanh(self.mix(x))))
        if unused:
            self.norm(x)
        return torch.cat([self.norm(y[:, :2]), y], dim=1).square().sum(dim=(1, 2)) * x[:, 0, 0]


@pytest.mark.parametrize("how", ["plain", "unused output", "checkpoint", "reentrant checkpoint"])
def test_layers_that_are_called_several_times(how):
    model, x = made(Twice), torch.randn(B, L, 4, dtype=torch.float64, requires_grad=True)

    def loss(m, part):
        if "checkpoint" in how:
            return checkpoint(m, part, use_reentrant="reentrant" in how).mean()
        return m(part, unused="unused" in how).mean()

    names = ["mix", "norm"]
    step = watched(model, names, [lambda m: loss(m, x)], B)
    expected = alone(model, names, [lambda m, i=i: loss(m, x[i : i + 1]) for i in range(B)])
    np.testing.assert_allclose(step.small_squared_norms, expected, rtol=1e-10)


def test_samples_on_the_second_axis():
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.LayerNorm(4)).double()
    x = torch.randn(L, B, 4, dtype=torch.float64)
    step = watched(model, ["0", "2"], [lambda m: (m(x) * x.cos()).sum(dim=(0, 2)).mean()], B, batch_axis=1)
    losses = [lambda m, i=i: (m(x[:, i]) * x[:, i].cos()).sum() for i in range(B)]
    np.testing.assert_allclose(step.small_squared_norms, alone(model, ["0", "2"], losses), rtol=1e-10)
    with pytest.raises(InputError, match="saw 7 samples, the batch has 5"):
        watched(made(Twice), ["mix"], [lambda m: m(x).mean()], B)
    square = torch.randn(B, B, 4, dtype=torch.float64)
    with pytest.raises(InputError, match="two axes could be the samples"):
        watched(made(Twice), ["mix"], [lambda m: m(square).mean()], B)
    watched(made(Twice), ["mix"], [lambda m: m(square).mean()], B, batch_axis=0)
    with pytest.raises(InputError, match="no batch axis 2"):
        watched(made(Twice), ["mix"], [lambda m: m(x).mean()], B, batch_axis=2)


def test_a_mean_over_tokens_needs_the_numbers_of_tokens():
    torch.manual_seed(5)
    model = nn.Sequential(nn.Embedding(9, 4), nn.LayerNorm(4), nn.Linear(4, 9)).double()
    x, lengths = tokens(), torch.tensor([7, 3, 1, 5, 7])
    labels = torch.where(torch.arange(L) < lengths[:, None], x.roll(1, dims=1), -100)

    def loss(m, rows=slice(None)):
        return F.cross_entropy(m(x[rows]).transpose(1, 2), labels[rows])

    names = ["0", "1", "2"]
    step = watched(model, names, [loss], B, weights=lengths)
    expected = alone(model, names, [lambda m, i=i: loss(m, slice(i, i + 1)) for i in range(B)])
    np.testing.assert_allclose(step.small_squared_norms, expected, rtol=1e-10)
    np.testing.assert_allclose(step.weights, lengths / lengths.sum())
    model.zero_grad()
    with pytest.raises(InputError, match=r"gradients at 1 to 7 positions of layer '0'.*pass weights"):
        watched(model, names, [loss], B)
    noise = NoiseScaleAccumulator(names)
    noise.add(*step)
    # By the definition of the estimate, with the weights that the samples have.
    w = step.weights
    traces = (w @ expected - step.big_squared_norm) / (1 - w @ w)
    assert noise.estimate()["1"].sample_trace.value == pytest.approx(traces[1], rel=1e-9)


def test_autocast_and_scaled_losses():
    torch.manual_seed(6)
    model, x = nn.Sequential(nn.Linear(4, 30), nn.Tanh(), nn.LayerNorm(30), nn.Linear(30, 2)), torch.randn(B, L, 4)

    def loss(m, rows):
        with torch.autocast("cpu", torch.bfloat16):
            return (m(x[rows]) - 1).square().mean()

    names = ["0", "2", "3"]
    step = watched(model, names, [lambda m: 512 * loss(m, slice(None))], B, unscaled_by=512)
    expected = alone(model, names, [lambda m, i=i: loss(m, slice(i, i + 1)) for i in range(B)])
    np.testing.assert_allclose(step.small_squared_norms, expected, rtol=0.03)


def test_use_elsewhere_is_found():
    model, x = made(Twice), torch.randn(B, L, 4, dtype=torch.float64)

    def loss(m):
        return (m(x) + F.linear(x, m.mix.weight).sum(dim=(1, 2))).mean()

    with pytest.raises(InputError, match=r"do not add up to the \.grad of its weight"):
        watched(model, ["mix"], [loss], B)
    model.zero_grad()
    assert watched(model, ["norm"], [loss], B).big_batch == B


def test_gradients_that_were_there_before_are_found():
    model, x = made(Twice), torch.randn(B, L, 4, dtype=torch.float64)
    model(x).mean().backward()
    with pytest.raises(InputError, match=r"do not add up to the \.grad"):
        watched(model, ["norm"], [lambda m: m(x).mean()], B)


def test_two_passes_through_one_graph_are_refused():
    model, x = made(Twice), torch.randn(B, L, 4, dtype=torch.float64)
    norms = PerSampleNorms(model, ["mix"])
    norms.start()
    loss = model(x).mean()
    loss.backward(retain_graph=True)
    loss.backward()
    with pytest.raises(InputError, match="two backward passes"):
        norms.finish(B)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norms_mix_samples(training):
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).double().train(training)
    x = torch.randn(B, 4, dtype=torch.float64)
    if training:
        with pytest.raises(InputError, match="1 normalises by the statistics of the batch"):
            watched(model, ["0"], [lambda m: m(x).square().mean()], B)
    else:
        assert watched(model, ["0"], [lambda m: m(x).square().mean()], B).big_batch == B


def test_a_layer_that_gets_no_gradient():
    with pytest.raises(InputError, match="'last' got no gradient"):
        watched(made(), ["last"], [lambda m: m.norm(m.embedding(tokens())).mean()], B)


def test_hooks_leave_nothing_behind():
    model = made()
    norms = PerSampleNorms(model, ALL)
    norms.start()
    norms.start()
    norms.stop()
    assert not any(m._forward_hooks for m in model.modules())
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())
    with pytest.raises(InputError, match="start"):
        norms.finish(B)


class Other(nn.Linear):
    pass


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "list of names"),
        ("a", "list of names"),
        (["gone"], "no module 'gone'"),
        (["conv"], "is a Conv1d"),
        (["other"], "is a Other"),
        (["frozen"], "no parameter that needs"),
        (["sparse"], "sparse set"),
        (["tied"], "head.weight are one parameter"),
        (["head"], "tied.weight and head.weight"),
    ],
)
def test_layers_that_cannot_be_watched(layers, message):
    model = nn.ModuleDict(
        {
            "conv": nn.Conv1d(2, 2, 2),
            "other": Other(2, 2),
            "frozen": nn.Linear(2, 2).requires_grad_(False),
            "sparse": nn.Embedding(2, 2, sparse=True),
            "tied": nn.Embedding(2, 2),
            "head": nn.Linear(2, 2),
        }
    )
    model["head"].weight = model["tied"].weight
    with pytest.raises(InputError, match=message):
        PerSampleNorms(model, layers)


@pytest.mark.parametrize("weights", [[1, 2], [1, 1, 1, 1, -1]])
def test_wrong_weights(weights):
    with pytest.raises(InputError, match="weights must be 5"):
        watched(made(), ["norm"], [lambda m: m(tokens()).mean()], B, weights=weights)
