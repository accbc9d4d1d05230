"""What models and steps do beside computing a loss: taken with the gradients of plain autograd, or refused."""

import copy
from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import gradlaw as gl
from trained_kinds import draw, labels, perceptron

INPUTS, TARGETS = draw(16, 5), labels(3, 16)
LENGTHS = 1 + labels(4, 16, seed=3)
SEQUENCES, PADDING = draw(16, 4, 6), torch.arange(4)[None] >= LENGTHS[:, None]
TOKENS = labels(9, 16, 4)


@dataclass
class Outputs:
    """Outputs that are no container that PyTorch knows."""

    logits: Tensor


class ByFunction(nn.Module):
    """A model by a function of its layers."""

    def __init__(self, forward: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.layers, self.function = nn.ModuleDict(layers), forward

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(self.layers, *inputs)


class StraightThrough(torch.autograd.Function):
    """Signs, whose gradient is let through; without a rule for vmap."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.sign()

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> Tensor:
        return g[0] / 2


def normed(norm: Callable[[nn.Module], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(norm(nn.Linear(5, 6)), nn.Tanh(), nn.Linear(6, 3))


def attention() -> nn.Module:
    def forward(layers: Any, x: Tensor, padding: Tensor) -> Tensor:
        h = layers["a"](x, x, x, key_padding_mask=padding, need_weights=False)[0]
        return layers["out"](h.masked_fill(padding[..., None], 0).sum(1))

    return ByFunction(forward, a=nn.MultiheadAttention(6, 2, batch_first=True), out=nn.Linear(6, 3))


def encoder(training: bool) -> nn.Module:
    def forward(layers: Any, x: Tensor, padding: Tensor) -> Tensor:
        h = layers["a"](x, src_key_padding_mask=padding)
        return layers["out"](h.masked_fill(padding[..., None], 0).sum(1))

    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True), 2)
    return ByFunction(forward, a=stack, out=nn.Linear(6, 3)).train(training)


def in_place() -> nn.Module:
    return ByFunction(
        lambda layers, x: layers["b"](layers["a"](x.mul_(2)).relu_()), a=nn.Linear(5, 6), b=nn.Linear(6, 3)
    )


def through(middle: Callable[[Any, Tensor], Tensor]) -> Callable[[], nn.Module]:
    """A model with a function in its middle."""
    layers = {"a": nn.Linear(5, 6), "m": nn.Linear(6, 6), "b": nn.Linear(6, 3)}
    return lambda: ByFunction(lambda now, x: now["b"](middle(now["m"], now["a"](x))), **copy.deepcopy(layers))


def hooked(hook: Callable[[Any], object]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        model = perceptron(5, 3)
        hook(model)
        return model

    return make


def clip(g: Tensor) -> Tensor:
    return g / g.norm().clamp(min=0.01)


VECTORS = INPUTS, TARGETS
PADDED = (SEQUENCES, PADDING), TARGETS
CASES: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "spectral_norm": (normed(parametrizations.spectral_norm), VECTORS, "loop"),
    "older spectral_norm": (normed(spectral_norm), VECTORS, "loop"),
    "orthogonal": (normed(lambda _: parametrizations.orthogonal(nn.Linear(5, 6))), VECTORS, "vmap"),
    "attention with padding": (attention, PADDED, "layerwise"),
    "encoder with padding": (lambda: encoder(True), PADDED, "layerwise"),
    "encoder in evaluation mode": (lambda: encoder(False), PADDED, "layerwise"),
    "bag": (lambda: nn.Sequential(nn.EmbeddingBag(9, 5), nn.Linear(5, 3)), (TOKENS, TARGETS), "layerwise"),
    "sparse bag": (
        lambda: nn.Sequential(nn.EmbeddingBag(9, 5, sparse=True), nn.Linear(5, 3)), (TOKENS, TARGETS), "loop"
    ),
    "sparse embedding": (
        lambda: nn.Sequential(nn.Embedding(9, 5, sparse=True), nn.Flatten(), nn.Linear(20, 3)),
        (TOKENS, TARGETS), "layerwise",
    ),
    "inputs written in place": (in_place, VECTORS, "layerwise"),
    "checkpoint": (through(lambda m, h: checkpoint(m, h, use_reentrant=False)), VECTORS, "loop"),
    "reentrant checkpoint": (through(lambda m, h: checkpoint(m, h, use_reentrant=True)), VECTORS, "loop"),
    "custom function": (through(lambda m, h: StraightThrough.apply(m(h))), VECTORS, "layerwise"),
    "spectrum": (through(lambda m, h: torch.fft.rfft(m(h)).abs().repeat(1, 2)[:, :6]), VECTORS, "layerwise"),
    "compiled": (lambda: torch.compile(perceptron(5, 3), backend="eager"), VECTORS, "layerwise"),
    "data parallel": (lambda: nn.DataParallel(perceptron(5, 3)), VECTORS, "layerwise"),
    "inputs that require a gradient": (
        lambda: perceptron(5, 3), (INPUTS.clone().requires_grad_(), TARGETS), "vmap"
    ),
    "hook of a parameter": (hooked(lambda m: m[0].weight.register_hook(clip)), VECTORS, "loop"),
    "hook of a module": (
        hooked(lambda m: m[2].register_full_backward_hook(lambda _, g, __: (clip(g[0]),))), VECTORS, "loop"
    ),
    "forward hook": (hooked(lambda m: m[0].register_forward_hook(lambda _, __, out: 2 * out)), VECTORS, "layerwise"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("name", CASES)
def test_a_model_is_taken(name: str) -> None:
    make, data, engine = CASES[name]
    torch.manual_seed(0)
    history = gl.collect(gl.Problem(make().double(), F.cross_entropy, data), iterations=3, batch_size=4)
    assert history.settings.engine == engine
    for t, indices in enumerate(history.settings.minibatches()):
        torch.manual_seed(0)
        one = make().double()  # a copy has no hooks
        inputs, targets = (_pick(part, indices) for part in data)
        F.cross_entropy(one(*inputs) if isinstance(inputs, tuple) else one(inputs), targets).backward()
        grads = [p.grad.to_dense() if p.grad is not None else torch.zeros_like(p) for p in one.parameters()]
        torch.testing.assert_close(history[t], torch.cat([g.reshape(-1) for g in grads]), rtol=1e-10, atol=1e-12)


def _pick(part: Any, indices: np.ndarray) -> Any:
    return tuple(_pick(one, indices) for one in part) if isinstance(part, tuple) else part.detach()[indices]


def test_outputs_may_be_objects() -> None:
    model = ByFunction(lambda layers, x: Outputs(layers["a"](x)), a=nn.Linear(5, 3)).double()
    history = gl.collect(gl.Problem(model, lambda out, y: F.cross_entropy(out.logits, y), VECTORS), 3, 4)
    plain = gl.collect(gl.Problem(model.layers["a"], F.cross_entropy, VECTORS), 3, 4)
    torch.testing.assert_close(history.gradients, plain.gradients, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize("norm", [weight_norm, spectral_norm])
def test_a_weight_that_is_made_before_each_call_has_no_rule(norm: Any) -> None:
    problem = gl.Problem(normed(norm)().double(), F.cross_entropy, VECTORS)
    history = gl.collect(problem, 3, 4)
    assert any("it has no rule for" in notice for notice in history.notices)
    loop = gl.collect(problem, 3, 4, engine="loop")
    layerwise = gl.collect(problem, 3, 4, engine="layerwise")
    torch.testing.assert_close(layerwise.gradients, loop.gradients, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("engine", ["vmap", "layerwise", "samplewise"])
def test_hooks_on_gradients_are_for_plain_autograd(engine: Any) -> None:
    def rarely(g: Tensor) -> Tensor:  # of no minibatch that is compared
        return g.nan_to_num()

    problem = gl.Problem(hooked(lambda m: m[2].bias.register_hook(rarely))().double(), F.cross_entropy, VECTORS)
    with pytest.raises(gl.InputError, match=r"hooks on gradients \(of 2.bias\) are run by plain autograd alone"):
        gl.collect(problem, 3, 4, engine=engine)


def test_gradients_through_hooks_have_no_hessian() -> None:
    model = hooked(lambda m: m[0].weight.register_hook(lambda g: 2 * g))().double()
    with pytest.raises(gl.InputError, match=r"hooks \(of 0.weight\).*not the Hessian"):
        gl.hessian(gl.Problem(model, F.cross_entropy, VECTORS))


def test_hooks_that_come_after_the_gradient_are_told() -> None:
    def double(p: Tensor) -> None:
        assert p.grad is not None
        p.grad.mul_(2)

    model = hooked(lambda m: m[0].weight.register_post_accumulate_grad_hook(double))().double()
    history = gl.collect(gl.Problem(model, F.cross_entropy, VECTORS), 3, 4)
    plain = gl.collect(gl.Problem(copy.deepcopy(model), F.cross_entropy, VECTORS), 3, 4)
    torch.testing.assert_close(history.gradients, plain.gradients)
    assert any("register_post_accumulate_grad_hook of 0.weight" in notice for notice in history.notices)


def writes(layers: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        layers["a"].weight.mul_(0.9)
    return layers["a"](x)


def replaces(layers: Any, x: Tensor) -> Tensor:
    layers["a"].weight = nn.Parameter(layers["a"].weight * 0.9)
    return layers["a"](x)


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (writes, "writes to the parameters layers.a.weight"),
        (replaces, "puts others in the place of the parameters layers.a.weight"),
    ],
)
def test_a_forward_pass_that_changes_parameters_is_refused(forward: Any, message: str) -> None:
    model = ByFunction(forward, a=nn.Linear(5, 3)).double()
    before = {name: (p, p.detach().clone()) for name, p in model.named_parameters()}
    with pytest.raises(gl.InputError, match=message):
        gl.collect(gl.Problem(model, F.cross_entropy, VECTORS), 3, 4)
    now = dict(model.named_parameters())
    assert all(now[name] is p and torch.equal(p, value) for name, (p, value) in before.items())


@pytest.mark.parametrize(
    ("model", "loss", "data", "message"),
    [
        (nn.Linear(5, 3, device="meta"), F.cross_entropy, VECTORS, "on the meta device hold no numbers: weight, bias"),
        (nn.Linear(5, 3), F.cross_entropy, DataLoader(TensorDataset(*VECTORS), 4), "got a DataLoader.*from_step"),
        (nn.Linear(5, 3), lambda o, y: {"a": F.cross_entropy(o, y)}, VECTORS, "dict with a: add its parts up"),
        (nn.Linear(5, 3), lambda o, y: (F.cross_entropy(o, y), o), VECTORS, "tuple of 2: take the loss out"),
        (nn.Linear(5, 3), lambda o, y: F.cross_entropy(o, y).item(), VECTORS, "float: a number without its graph"),
    ],
)
def test_what_is_refused_says_why(model: nn.Module, loss: Any, data: Any, message: str) -> None:
    with pytest.raises(gl.InputError, match=message):
        gl.collect(gl.Problem(model if "meta" in message else model.double(), loss, data), 3, 4)


def test_no_hessian_through_reentrant_checkpoints() -> None:
    model = through(lambda m, h: checkpoint(m, h, use_reentrant=True))().double()
    with pytest.raises(gl.InputError, match="use_reentrant=False"):
        gl.hessian(gl.Problem(model, F.cross_entropy, VECTORS))


def test_a_mapping_is_taken_for_a_dict() -> None:
    model = perceptron(5, 3).double()
    history = gl.collect(gl.Problem(model, F.cross_entropy, (UserDict(input=INPUTS), TARGETS)), 3, 4)
    plain = gl.collect(gl.Problem(model, F.cross_entropy, VECTORS), 3, 4)
    assert torch.equal(history.gradients, plain.gradients)
