"""Samples that see one another in the model, if only now and then, are found whichever engine is asked for."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gradlaw as gl
from gradlaw.history.engines.layerwise import LayerwiseEngine
from gradlaw.history.layers.registry import rule_of
from gradlaw.history.layers.sample_mixing import mixing_operations

WIDTH = 6


class Experts(nn.Module):
    """A mixture of experts (Fedus et al. 2022): a sample that comes after its expert is full gets no output."""

    def __init__(self, capacity: float):
        super().__init__()
        self.gate, self.capacity = nn.Linear(WIDTH, 4), capacity
        self.experts = nn.ModuleList(nn.Linear(WIDTH, 3) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        share = self.gate(x).softmax(1)
        chosen = (share == share.amax(1, keepdim=True)).to(x.dtype)
        room = math.ceil(self.capacity * len(x) / 4)
        kept = ((chosen.cumsum(0) * chosen).sum(1) <= room).to(x.dtype)
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        return ((chosen * share)[..., None] * outputs).sum(1) * kept[:, None]


@pytest.mark.parametrize("engine", ["auto", "vmap", "layerwise", "samplewise"])
@pytest.mark.parametrize(("seed", "capacity"), [(1, 2.0), (1, 2.5), (5, 2.0)])  # 4 to 44% of minibatches overflow
def test_experts_that_are_full_now_and_then(seed, capacity, engine):
    torch.manual_seed(0)
    data = torch.randn(600, WIDTH), torch.randint(3, (600,))
    torch.manual_seed(seed)
    problem = gl.Problem(Experts(capacity), F.cross_entropy, data)
    expected = gl.collect(problem, 200, 8, seed=5, engine="loop").gradients
    if engine in ("layerwise", "samplewise"):
        with pytest.raises(gl.InputError, match=r"see one another in the model .*cumsum"):
            gl.collect(problem, 200, 8, seed=5, engine=engine)
        return
    history = gl.collect(problem, 200, 8, seed=5, engine=engine)
    torch.testing.assert_close(history.gradients, expected, rtol=1e-4, atol=1e-6)
    assert history.settings.engine == "vmap"
    assert engine == "vmap" or any("cumsum" in notice for notice in history.notices)


MIXING = {
    "cumsum": lambda x: x.cumsum(0),
    "cummax": lambda x: x.cummax(0)[0],
    "sort": lambda x: x.sort(0)[0],
    "topk": lambda x: x.topk(len(x), dim=0)[0],
    "softmax": lambda x: x.softmax(0),
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(1, 0),
    "roll of all": lambda x: x.roll(1),
    "mean": lambda x: x - x.mean(0),
    "mean of all": lambda x: x - x.mean(),
    "norm": lambda x: x / x.norm(),
    "amax": lambda x: x - x.amax(0, keepdim=True),
    "argmax": lambda x: x * x.argmax(0),
    "a neighbour": lambda x: x + torch.cat([x[1:], x[:1]]),
    "the first": lambda x: x - x[0],
    "pairs in a row": lambda x: torch.cat([x, x]).view(len(x), 2, -1).mean(1),
    "all pairs": lambda x: (x @ x.T) @ x,
    "distances": lambda x: torch.cdist(x, x) @ x,
    "differences": lambda x: (x[:, None] - x).sum(1),
    "contraction": lambda x: x @ (x.T @ x),
    "permutation": lambda x: x[torch.arange(len(x)).flip(0)],
    "gather": lambda x: x.gather(0, torch.zeros(len(x), WIDTH, dtype=torch.long)),
    "index_add": lambda x: x.index_add(0, torch.zeros(len(x), dtype=torch.long), x),
    "batch norm": lambda x: F.batch_norm(x, None, None, training=True),
    "convolution": lambda x: F.conv1d(x.T[None], torch.ones(WIDTH, WIDTH, 3), padding=1)[0].T,
    "pooling": lambda x: F.avg_pool1d(x.T[None], 3, 1, 1)[0].T,
    "scrambled": lambda x: x.reshape(WIDTH, len(x)).T,
    "padding": lambda x: F.pad(x, (0, 0, 1, -1)),
    "take": lambda x: x.take(torch.arange(x.numel()).view_as(x)),
    "attention": lambda x: F.scaled_dot_product_attention(x[None, None], x[None, None], x[None, None])[0, 0],
    "renorm": lambda x: x.renorm(2, 1, 1.0),
    "masked_scatter": lambda x: x.masked_scatter(x > 0, x),
    "pdist": lambda x: torch.pdist(x).view(len(x), -1),
    "a contraction to as many features": lambda x: x.repeat(1, 23) @ (x.repeat(1, 23).T @ x.repeat(1, 23)),
    "strides": lambda x: x.as_strided(x.shape, (1, len(x))),
    "recurrence": lambda x: nn.LSTM(WIDTH, 3)(x[:, None])[0],
    "an inverse": lambda x: torch.linalg.qr(x)[0],
    "Fourier": lambda x: torch.fft.fft(x, dim=0).real,
}
ALONE = {
    "elements": lambda x: (x * 2 + 1).tanh().where(x > 0, x),
    "rows": lambda x: (x - x.mean(1, keepdim=True)) / x.norm(dim=-1, keepdim=True),
    "along features": lambda x: x.cumsum(1).sort(1)[0].softmax(-1).flip(1).roll(1, 1),
    "layer norm": lambda x: F.layer_norm(x, (WIDTH,)),
    "group norm": lambda x: F.group_norm(x, 2),
    "instance norm": lambda x: F.instance_norm(x.view(len(x), 2, 3)).flatten(1),
    "batch norm with its statistics": lambda x: F.batch_norm(x, torch.zeros(WIDTH), torch.ones(WIDTH)),
    "matrices": lambda x: (x @ torch.ones(WIDTH, WIDTH)) @ torch.ones(WIDTH, 3),
    "attention in a sample": lambda x: F.scaled_dot_product_attention(*[x.view(len(x), 1, 2, 3)] * 3).flatten(1),
    "an outer product": lambda x: torch.einsum("bi,bj->bij", x, x).flatten(1),
    "convolution": lambda x: F.conv1d(x[:, None], torch.ones(2, 1, 3), padding=1).flatten(1),
    "pooling": lambda x: F.max_pool1d(F.pad(x, (1, 1))[:, None], 2)[:, 0],
    "time first": lambda x: x.view(len(x), 2, 3).transpose(0, 1).cumsum(0)[-1],
    "flattened": lambda x: (x.view(-1, 3) @ torch.ones(3, 3)).view(len(x), -1),
    "a token in front": lambda x: torch.cat([torch.zeros(1, 1).expand(len(x), -1), x], 1)[:, 1:],
    "halves": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
    "padding": lambda x: F.pad(x, (1, 1)),
    "recurrence": lambda x: nn.LSTM(3, 3)(x.view(len(x), 2, 3).transpose(0, 1))[0],
    "recurrence, samples first": lambda x: nn.GRU(3, 3, batch_first=True)(x.view(len(x), 2, 3))[0],
    "an inverse": lambda x: torch.linalg.inv(x.view(len(x), 1, -1).mT @ x.view(len(x), 1, -1) + torch.eye(WIDTH)),
    "an embedding": lambda x: F.embedding((x > 0).long(), torch.ones(2, 3)).sum(1),
}


@pytest.mark.parametrize("name", MIXING)
def test_what_goes_from_sample_to_sample_is_seen(name):
    assert mixing_operations([], lambda samples: MIXING[name](torch.randn(samples, WIDTH)))


@pytest.mark.parametrize("name", ALONE)
def test_what_stays_within_a_sample_is_not(name):
    assert mixing_operations([], lambda samples: ALONE[name](torch.randn(samples, WIDTH))) == frozenset()


def test_the_operations_of_known_layers_are_theirs_where_their_rules_know_the_samples():
    layers = nn.Sequential(nn.Linear(WIDTH, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    forward = lambda samples: layers(torch.randn(samples, WIDTH))  # noqa: E731
    assert mixing_operations([], forward)
    assert mixing_operations([(layer, rule_of(layer)) for layer in layers], forward) == frozenset()
    across = nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
    forward = lambda samples: across(torch.randn(samples, WIDTH).T[None])  # noqa: E731
    assert mixing_operations([(across, rule_of(across))], forward) == {"convolution"}


def test_what_looks_like_mixing_and_is_none_is_batched_all_the_same():
    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(WIDTH, 8), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x).view(len(x), 2, 4)[torch.arange(len(x)), 0])

    problem = gl.Problem(Chosen(), F.cross_entropy, (torch.randn(40, WIDTH), torch.randint(3, (40,))))
    assert LayerwiseEngine(problem, [np.arange(4), np.arange(4, 8)]).mixing == {"index"}
    history = gl.collect(problem, 50, 4, engine="layerwise")
    expected = gl.collect(problem, 50, 4, engine="loop").gradients
    torch.testing.assert_close(history.gradients, expected, rtol=1e-4, atol=1e-6)
