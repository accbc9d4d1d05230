"""The layer-wise engine against plain autograd in float64, layer by layer and on whole models."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.nn.utils import parametrizations

import gradlaw as gl
import problems
from gradlaw.errors import InputError
from gradlaw.history.engines.layerwise import LayerwiseEngine
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.minibatches import Minibatches

SAMPLES = 24


def _batches(problem: gl.Problem, batch_size: int, iterations: int = 4) -> list[np.ndarray]:
    minibatches = Minibatches(problem.samples, batch_size, iterations, 0, True)
    return [minibatches[t] for t in range(iterations)]


def _both(problem: gl.Problem, batch_size: int) -> tuple[LayerwiseEngine, Tensor, Tensor]:
    """The engine, its gradients, and those of the loop."""
    batches = _batches(problem, batch_size)
    rows, expected = (torch.full((len(batches), problem.dimensions), 7.0, dtype=problem.dtype) for _ in range(2))
    engine = LayerwiseEngine(problem, batches[:2])
    losses = engine.gradients(0, batches, rows)
    reference = LoopEngine(problem, 0).gradients(0, batches, expected)
    torch.testing.assert_close(losses, reference, rtol=1e-5, atol=1e-6)
    return engine, rows, expected


def _error(rows: Tensor, expected: Tensor) -> float:
    return float(((rows.double() - expected.double()).norm(dim=1) / expected.double().norm(dim=1)).max())


def _problem(model: nn.Module, inputs: object, dtype: torch.dtype = torch.float64, **settings: object) -> gl.Problem:
    """Random targets for the flattened output of a model."""
    model = nn.Sequential(model, nn.Flatten())
    width = model(inputs).shape[1]
    return gl.Problem(model.to(dtype), mse_loss, (inputs, torch.randn(SAMPLES, width, dtype=dtype)), **settings)


def _randomised(model: nn.Module) -> nn.Module:
    """Every parameter and running statistic off its start, so that ones and zeros hide nothing."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
    return model.double()


def _images(channels: int, *size: int) -> Tensor:
    return torch.randn(SAMPLES, channels, *size, dtype=torch.float64)


def _tokens() -> Tensor:
    return torch.randint(9, (SAMPLES, 5))


LAYERS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "linear": lambda: (nn.Linear(6, 4), _images(6)),
    "linear without bias, leading dimensions": lambda: (nn.Linear(6, 4, bias=False), _images(2, 3, 6)),
    "conv1d": lambda: (nn.Conv1d(3, 4, 3, stride=2, padding=1, dilation=2), _images(3, 11)),
    "conv1d same": lambda: (nn.Conv1d(3, 4, 4, padding="same", dilation=2), _images(3, 11)),
    "conv2d": lambda: (nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(0, 1)), _images(3, 8, 7)),
    "conv2d valid, unused edge": lambda: (nn.Conv2d(3, 4, 3, stride=3, padding="valid"), _images(3, 8, 7)),
    "conv2d groups and dilation": lambda: (nn.Conv2d(4, 6, 3, groups=2, dilation=(2, 1)), _images(4, 8, 7)),
    "conv2d depthwise": lambda: (nn.Conv2d(4, 8, 3, groups=4, bias=False), _images(4, 6, 6)),
    "conv2d circular": lambda: (nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), _images(3, 6, 6)),
    "conv2d reflect": lambda: (nn.Conv2d(3, 4, 3, padding=(2, 1), padding_mode="reflect"), _images(3, 6, 6)),
    "conv2d replicate": lambda: (nn.Conv2d(3, 4, 3, padding="same", padding_mode="replicate"), _images(3, 6, 6)),
    "conv3d": lambda: (nn.Conv3d(2, 4, 2, groups=2, stride=(1, 2, 1), padding=1), _images(2, 4, 5, 3)),
    "embedding": lambda: (nn.Embedding(9, 4, padding_idx=2), _tokens()),
    "embedding by frequency": lambda: (nn.Embedding(9, 4, scale_grad_by_freq=True), _tokens()),
    "layer norm": lambda: (nn.LayerNorm((3, 4)), _images(2, 3, 4)),
    "layer norm without bias": lambda: (nn.LayerNorm(4, bias=False), _images(3, 4)),
    "rms norm": lambda: (nn.RMSNorm(4), _images(3, 4)),
    "group norm": lambda: (nn.GroupNorm(2, 6), _images(6, 3, 4)),
    "group norm, no places": lambda: (nn.GroupNorm(2, 6), _images(6)),
    "instance norm": lambda: (nn.InstanceNorm2d(3, affine=True, track_running_stats=True), _images(3, 4, 5)),
    "instance norm, running": lambda: (
        nn.InstanceNorm1d(3, affine=True, track_running_stats=True).eval(),
        _images(3, 4),
    ),
    "batch norm, places": lambda: (nn.BatchNorm2d(3), _images(3, 4, 5)),
    "batch norm, cumulative": lambda: (nn.BatchNorm1d(3, momentum=None), _images(3, 4)),
    "batch norm, running": lambda: (nn.BatchNorm3d(3).eval(), _images(3, 2, 2, 2)),
    "batch norm, none kept": lambda: (nn.BatchNorm1d(3, track_running_stats=False).eval(), _images(3, 4)),
}


@pytest.mark.parametrize("batch_size", [1, 7, 20])
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_equals_autograd(name, batch_size):
    layer, inputs = LAYERS[name]()
    problem = _problem(_randomised(layer), inputs)
    engine, rows, expected = _both(problem, batch_size)
    assert not engine.fallback
    assert _error(rows, expected) < 1e-12


@pytest.mark.parametrize("steps", [("bn", "relu"), ("relu", "bn")])
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("batch_size", [6, 11])
def test_networks_with_batch_norm(steps, mode, batch_size):
    problem = problems.make("fcn" if steps[0] == "bn" else "fcn-relu-bn", torch.float64)
    _randomised(problem.model).train(mode == "train")
    _, rows, expected = _both(problem, batch_size)
    assert _error(rows, expected) < 1e-12


@pytest.mark.parametrize("batch_size", [1, 7, 20])
@pytest.mark.parametrize("name", ["lenet", "lenet-cifar", "lnn"])
def test_single_precision(name, batch_size):
    _, rows, _ = _both(problems.make(name), batch_size)
    _, rows64, expected = _both(problems.make(name, torch.float64), batch_size)
    assert rows.dtype == torch.float32
    assert _error(rows, expected) < 1e-6
    assert _error(rows64, expected) < 1e-12


def test_batch_norm_without_parameters_keeps_iterations_apart():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, affine=False), nn.ReLU(inplace=True), nn.Linear(4, 3))
    _, rows, expected = _both(_problem(model.double(), _images(6)), 7)
    assert _error(rows, expected) < 1e-12


class _Reused(nn.Module):
    """A layer called twice, two layers of one weight, a parameter that nothing uses, a layer frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(6, 6), nn.Linear(6, 6, bias=False), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.idle = nn.Linear(2, 2)
        self.third.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.third(self.second(self.first(torch.tanh(self.first(x)))).relu_())


def test_reused_tied_idle_and_frozen_parameters():
    engine, rows, expected = _both(_problem(_Reused().double(), _images(6)), 3)
    assert not engine.fallback
    assert _error(rows, expected) < 1e-12


def test_a_part_of_the_parameters():
    problem = problems.make("lenet", torch.float64)
    part = gl.Problem(problem.model, problem.loss, problem.data, parameters=["fc*.bias", "conv2.*"])
    _, rows, expected = _both(part, 3)
    assert _error(rows, expected) < 1e-12


class _Direct(nn.Module):
    """A parameter of its own beside a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.layer = nn.Parameter(torch.rand(6)), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.scale * x)


class _Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.readout = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.rnn(x)[0][:, -1])


class _Doubled(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(2 * x)


ATTENTION = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")


class _SequenceFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm, self.outer = nn.Linear(6, 6), nn.LayerNorm(6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.norm(self.inner(x.transpose(0, 1)).tanh()).transpose(0, 1))


class _Attentive(nn.Module):
    """Self-attention with a causal mask, padding and dropout of nothing; the positions are shared by all samples."""

    def __init__(self, batch_first: bool, **settings: bool) -> None:
        super().__init__()
        self.positions, self.batch_first = nn.Embedding(5, 6), batch_first
        self.attention = nn.MultiheadAttention(6, 2, batch_first=batch_first, **settings)
        self.register_buffer("causal", torch.triu(torch.ones(5, 5, dtype=torch.bool), diagonal=1))

    def forward(self, x: Tensor) -> Tensor:
        padding = torch.zeros(x.shape[:2], dtype=torch.bool)
        padding[:, -1] = True
        x = x + self.positions(torch.arange(5)[None] if self.batch_first else torch.arange(5))
        x = x if self.batch_first else x.transpose(0, 1)
        y, weights = self.attention(x, x, value=x, attn_mask=self.causal, key_padding_mask=padding)
        return (y if self.batch_first else y.transpose(0, 1)) + weights.sum(dim=-1, keepdim=True)


@pytest.mark.parametrize(
    "model",
    [
        _SequenceFirst,
        lambda: _Attentive(True),
        lambda: _Attentive(False),
        lambda: _Attentive(True, bias=False, add_zero_attn=True),
    ],
    ids=["sequence first", "attention", "attention sequence first", "attention without bias"],
)
def test_samples_along_another_axis_and_inputs_that_all_samples_share(model):
    engine, rows, expected = _both(_problem(_randomised(model()), _images(5, 6)), 3)
    assert not engine.fallback
    assert _error(rows, expected) < 1e-12


@pytest.mark.parametrize(
    ("parameters", "fallback"),
    [
        (["*in_proj_*", "*positions*"], set()),
        (["*in_proj_weight", "*out_proj.bias"], set()),
        # An attention that is not detached itself uses the weights of its readout without calling it.
        (["*out_proj.*", "*positions*"], {"0.attention.out_proj.weight", "0.attention.out_proj.bias"}),
    ],
)
def test_a_part_of_the_parameters_of_attention(parameters, fallback):
    whole = _problem(_randomised(_Attentive(True)), _images(5, 6))
    engine, rows, expected = _both(gl.Problem(whole.model, whole.loss, whole.data, parameters), 3)
    assert engine.fallback == fallback
    assert _error(rows, expected) < 1e-12


class _Turned(nn.Module):
    """Samples and positions in one dimension, the positions first."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        pairs = x[:, None] * x[None, :, :1, :1] * 0 + x[:, None]  # (samples, samples, positions, features)
        return self.outer(self.inner(pairs).mean(dim=1))


class _Crossed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.outer = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.attention(x, x.flip(1), x.flip(1))[0])


def _normed() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 5)), nn.Linear(5, 3))


def _own_forward() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 3))
    model[0].forward = lambda x: nn.functional.linear(x, model[0].weight).sin()
    return model


UNKNOWN: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], set[str]]] = {
    "direct": (_Direct, lambda: _images(6), {"scale"}),
    "gru": (
        _Recurrent,
        lambda: _images(4, 6),
        {f"rnn.{p}_l0" for p in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
    ),
    "channels elsewhere": (_Turned, lambda: _images(5, 6), {"inner.weight", "inner.bias"}),
    "cross-attention": (_Crossed, lambda: _images(5, 6), {f"attention.{p}" for p in ATTENTION}),
    "own forward": (_own_forward, lambda: _images(6), {"0.weight"}),
    "parametrised": (
        _normed,
        lambda: _images(6),
        {"0.bias", "0.parametrizations.weight.original0", "0.parametrizations.weight.original1"},
    ),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_has_no_rule_takes_a_second_pass(name):
    model, inputs, missing = UNKNOWN[name]
    engine, rows, expected = _both(_problem(model().double(), inputs()), 3)
    assert {parameter.removeprefix("0.") for parameter in engine.fallback} == missing
    assert _error(rows, expected) < 1e-12


class _RootMeanSquare(nn.Module):
    """A norm with a weight, as language models write it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)


class _Turner(nn.Module):
    """Weights of other names and shapes, as in an affine map that is stored transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b, self.gain = (nn.Parameter(torch.randn(*size)) for size in ((6, 5), (5,), (1,)))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * torch.addmm(self.b, x, self.w)


PLAIN: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "overridden": (lambda: nn.Sequential(_Doubled(6, 5), nn.Linear(5, 2)), lambda: _images(6)),
    "norm": (lambda: nn.Sequential(nn.Linear(6, 6), _RootMeanSquare(6), nn.Linear(6, 2)), lambda: _images(4, 6)),
    "three parameters": (lambda: nn.Sequential(_Turner(), nn.Tanh(), nn.Linear(5, 2)), lambda: _images(6)),
    "transposed convolution": (
        lambda: nn.Sequential(nn.ConvTranspose2d(2, 3, 3, stride=2), nn.Tanh(), nn.Conv2d(3, 2, 3)),
        lambda: _images(2, 4, 4),
    ),
    "prelu": (lambda: nn.Sequential(nn.Linear(6, 4), nn.PReLU(4), nn.Linear(4, 2)), lambda: _images(6)),
    "in both": (lambda: nn.Sequential(norm := _RootMeanSquare(6), nn.Linear(6, 6), norm), lambda: _images(6)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_layers_without_a_rule_are_differentiated_by_themselves(name):
    model, inputs = PLAIN[name]
    engine, rows, expected = _both(_problem(model().double(), inputs()), 3)
    assert not engine.fallback
    assert _error(rows, expected) < 1e-12


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_transformer_with_a_tied_readout(mode):
    problem = problems.make("transformer", torch.float64)
    problem.model.train(mode == "train")
    engine, rows, expected = _both(problem, 3)
    assert engine.fallback == {"embedding.weight"}
    assert _error(rows, expected) < 1e-12


class _Dicts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(9, 4), nn.Linear(4 + 6, 3)

    def forward(self, tokens: Tensor, *, features: Tensor) -> dict[str, Tensor | None]:
        joined = torch.cat([self.embedding(input=tokens).mean(dim=1), features], dim=1)
        return {"logits": self.layer(joined), "nothing": None}


def test_dicts_in_and_out_and_a_loss_that_cannot_be_batched():
    data = ({"tokens": _tokens(), "features": _images(6)}, {"label": torch.randint(3, (SAMPLES,))})

    def loss(output: dict, target: dict) -> Tensor:
        value = cross_entropy(output["logits"], target["label"])
        return value if value.item() > 0 else -value

    _, rows, expected = _both(gl.Problem(_Dicts().double(), loss, data), 3)
    assert _error(rows, expected) < 1e-12


def test_nothing_changes():
    problem = problems.make("fcn")
    before = {name: tensor.clone() for name, tensor in problem.model.state_dict().items()}
    random_state = torch.get_rng_state()
    _both(problem, 5)
    after = problem.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(p.grad is None for p in problem.model.parameters())
    assert torch.equal(random_state, torch.get_rng_state())
    assert not any("forward" in vars(module) for module in problem.model.modules())


def test_forwards_are_put_back_after_an_exception():
    problem = problems.make("lenet")
    engine = LayerwiseEngine(problem, _batches(problem, 2))

    def fail(*_: object) -> None:
        raise KeyError("in the middle")

    handle = problem.model.fc3.register_forward_hook(fail)
    with pytest.raises(KeyError, match="in the middle"):
        engine.gradients(0, _batches(problem, 2), torch.empty(4, problem.dimensions))
    handle.remove()
    assert not any("forward" in vars(module) for module in problem.model.modules())
    assert torch.backends.mha.get_fastpath_enabled()


def test_refusals():
    class Summed(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).sum()

    problem = gl.Problem(nn.Sequential(nn.Linear(6, 2), Summed(2, 1)), lambda o, t: o, (_images(6).float(), _images(1)))
    with pytest.raises(InputError, match=r"outputs that start with the samples.*shape \(\)"):
        LayerwiseEngine(problem, _batches(problem, 2))
    own = gl.Problem(_Direct(), mse_loss, (_images(6).float(), _images(4).float()), parameters="scale")
    with pytest.raises(InputError, match="no analysed parameter"):
        LayerwiseEngine(own, _batches(own, 2))

    class Own(nn.BatchNorm1d):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    mixed = gl.Problem(nn.Sequential(nn.Linear(6, 2), Own(2)), mse_loss, (_images(6).float(), _images(2).float()))
    with pytest.raises(InputError, match="statistics of the batch"):
        LayerwiseEngine(mixed, _batches(mixed, 2))
