"""Random small models, losses and data: what users write, each example out of a seed, with its float64 twin.

An example is a front (what turns inputs into features), some blocks, a readout, a loss and perhaps a penalty that
reaches the parameters by a closure. Blocks have engine rules or none, branch on data, tie weights, couple samples.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

WIDTH, CLASSES, TOKENS, LENGTH = 6, 3, 7, 4
Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Example:
    """A model, a loss and data, to be made as often as needed with the same weights.

    Attributes:
        seed: that drew it.
        description: what it is made of.
        data: inputs and targets, in ``dtype`` where they are floating-point.
        dtype: of the model.
        tags: what is special: ``random`` (the loss is random at fixed theta), ``couples`` (samples see each other in
            the model), ``not a mean`` (the minibatch loss is not the mean of sample losses), ``branches``, ``hidden``
            (parameters are reached by another way than the module's attributes), ``mixed`` (two dtypes inside).
    """

    seed: int
    description: str
    data: tuple[Any, Any]
    dtype: torch.dtype
    tags: frozenset[str]
    build: Callable[[torch.dtype, bool], tuple[nn.Module, Loss]]

    def make(self) -> tuple[nn.Module, Loss]:
        """Model and loss as a user has them."""
        return self.build(self.dtype, False)

    def exact(self) -> tuple[nn.Module, Loss, tuple[Any, Any]]:
        """The same weights, loss and data with float64 everywhere."""
        model, loss = self.build(torch.float64, True)
        return model, loss, pytree.tree_map(lambda a: _cast(a, torch.float64), self.data)


def seeds(count: int) -> range:
    """Of the examples that a test looks at: the first ``count``, or what GRADLAW_EXAMPLES ("2000", "500-2000") says."""
    first, _, end = os.environ.get("GRADLAW_EXAMPLES", str(count)).rpartition("-")
    return range(int(first or 0), int(end))


def draw(seed: int) -> Example:
    """The example of a seed."""
    rng = np.random.default_rng([20, seed])
    kind = str(rng.choice(["vector", "image", "sequence", "tokens"]))
    by_token = kind in ("sequence", "tokens") and rng.random() < 0.4
    axes = 3 if kind in ("sequence", "tokens") else 2
    front = _pick(rng, FRONTS[kind])
    names = [name for name, block in BLOCKS.items() if axes in block.axes]
    weights = np.array([BLOCKS[name].weight for name in names], dtype=float)
    blocks = [str(b) for b in rng.choice(names, size=rng.integers(1, 4), p=weights / weights.sum())]
    loss_name = _pick(rng, LOSSES)
    penalty_name = _pick(rng, PENALTIES) if rng.random() < 0.3 else "none"
    dtype = torch.float64 if rng.random() < 0.5 else torch.float32
    samples = int(rng.integers(12, 41))
    tags = {tag for name in blocks for tag in BLOCKS[name].tags} | set(LOSSES[loss_name].tags)
    tags |= set(PENALTIES[penalty_name].tags)
    torch_seed = int(rng.integers(2**31))

    def build(dtype: torch.dtype, exact: bool) -> tuple[nn.Module, Loss]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed)
            model = Drawn(FRONTS[kind][front], blocks, by_token, Precision(dtype, exact))
            loss = LOSSES[loss_name].make(dtype)
            points = _inputs(kind, 5, dtype)
        return model, PENALTIES[penalty_name].make(loss, model, points)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed + 1)
        targets = LOSSES[loss_name].targets((samples, LENGTH) if by_token else (samples,), dtype)
        data = (_inputs(kind, samples, dtype), targets)
    parts = [f"{kind} ({front})", *blocks, "by token" if by_token else "pooled", loss_name, f"penalty {penalty_name}"]
    description = f"seed {seed}: {', '.join(parts)}; N = {samples}, {str(dtype).removeprefix('torch.')}"
    return Example(seed, description, data, dtype, frozenset(tags), build)


@dataclass(frozen=True)
class Precision:
    """The dtype of a model, and whether it is the twin with float64 everywhere."""

    dtype: torch.dtype
    exact: bool


class Drawn(nn.Module):
    """Front, blocks, readout."""

    def __init__(self, front: Callable[[], nn.Module], blocks: list[str], by_token: bool, at: "Precision") -> None:
        super().__init__()
        self.front = front().to(at.dtype)
        self.blocks = nn.ModuleList([BLOCKS[name].make(at) for name in blocks])
        for name, block in zip(blocks, self.blocks, strict=True):
            block.to(torch.float64 if name == "float64 inside" else at.dtype)
        self.readout = nn.Linear(WIDTH, CLASSES).to(at.dtype)
        self.by_token = by_token

    def forward(self, x: Tensor) -> Tensor:
        h = self.front(x)
        for block in self.blocks:
            h = block(h)
        if h.ndim == 3 and not self.by_token:
            h = h.mean(dim=1)
        return self.readout(h)


# Fronts


class _LastOfGru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0]


class _Positions(nn.Module):
    """Token embeddings plus learned positions, a bare parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(TOKENS, WIDTH), nn.Parameter(torch.randn(LENGTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return self.tokens(x) + self.positions


class _TimeSteps(nn.Module):
    """Sinusoids of the first feature, by constants of the default dtype made in the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5 + 4, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        frequencies = torch.exp(-torch.arange(2.0, device=x.device))
        angles = x[:, :1].float() * frequencies if x.dtype == torch.float32 else x[:, :1] * frequencies.double()
        return torch.tanh(self.layer(torch.cat([x, angles.sin(), angles.cos()], dim=1)))


def _convolution() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, groups=1), nn.GroupNorm(2, 4), nn.SiLU(), nn.Conv2d(4, 2, 3, stride=2),
        nn.Tanh(), nn.Flatten(), nn.Linear(8, WIDTH),
    )  # fmt: skip


def _upsampling() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2), nn.Softplus(), nn.ConvTranspose2d(2, 2, 2), nn.PReLU(), nn.Flatten(),
        nn.Linear(18, WIDTH),
    )  # fmt: skip


class _Channels(nn.Module):
    """A convolution over the positions of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, WIDTH, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.conv(x.transpose(1, 2)).transpose(1, 2))


FRONTS: dict[str, dict[str, Callable[[], nn.Module]]] = {
    "vector": {
        "linear": lambda: nn.Linear(5, WIDTH),
        "two layers": lambda: nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, WIDTH)),
        "time steps": _TimeSteps,
    },
    "image": {"convolution": _convolution, "upsampling": _upsampling},
    "sequence": {"linear": lambda: nn.Linear(3, WIDTH), "gru": _LastOfGru, "conv1d": _Channels},
    "tokens": {"embedding": lambda: nn.Embedding(TOKENS, WIDTH), "positions": _Positions},
}


# Blocks: (B, F) or (B, L, F) to the same shape


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(WIDTH, 5), nn.Linear(5, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(torch.tanh(self.a(x)))


class _Rms(nn.Module):
    """The norm of the Llama pattern; ``inside`` is the dtype that it computes in."""

    def __init__(self, inside: torch.dtype | None) -> None:
        super().__init__()
        self.weight, self.inside = nn.Parameter(1 + 0.1 * torch.randn(WIDTH)), inside

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.inside is None else x.to(self.inside)
        return self.weight * (h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-3)).to(x.dtype)


class _Inside(nn.Module):
    """A layer in float64, whatever the model around it is in."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.layer(x.to(self.layer.weight.dtype))).to(x.dtype)


class _Constants(nn.Module):
    """Constants made in the forward pass, of a dtype that is written down in the model."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer, self.dtype = nn.Linear(WIDTH, WIDTH), dtype

    def forward(self, x: Tensor) -> Tensor:
        turned = self.layer(x) @ torch.eye(WIDTH, dtype=self.dtype, device=x.device).roll(1, 0)
        out = torch.zeros(x.shape, dtype=self.dtype, device=x.device)
        out[..., ::2] = torch.tanh(turned[..., ::2])
        return out + 0.1 * turned


class _Gain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain, self.shift = nn.Parameter(torch.randn(WIDTH)), nn.Parameter(torch.randn(()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x * self.gain + self.shift)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x, x, x, need_weights=False)[0]


class _Branch(nn.Module):
    """A token in place of large features, if there are any: seldom, and then for the rows concerned alone."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.token, self.threshold = nn.Parameter(torch.randn(WIDTH)), threshold

    def forward(self, x: Tensor) -> Tensor:
        large = x[..., :1] > self.threshold
        return torch.where(large, self.token, x) if large.any() else x


class _Unrolled(nn.Module):
    """As many steps as the largest feature of the minibatch asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(1 + int(x.detach().abs().max() > 2.5)):
            x = torch.tanh(self.step(x))
        return x


class _Masked(nn.Module):
    """A layer for some rows alone, picked by a mask: ragged work."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        mask = x[..., 0] > 0
        out = x.clone()
        out[mask] = torch.tanh(self.layer(x[mask]))
        return out


class _Experts(nn.Module):
    """Each row goes to one expert of three."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(WIDTH, 3)
        self.experts = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, WIDTH)
        share, choice = self.router(rows).softmax(-1).max(-1)
        out = torch.zeros_like(rows)
        for i, expert in enumerate(self.experts):
            (chosen,) = torch.where(choice == i)
            out = out.index_add(0, chosen, share[chosen, None] * torch.tanh(expert(rows[chosen])))
        return x + out.reshape(x.shape)


class _NormedWeight(nn.Module):
    """g v / ||v||: torch's own has a wrong second derivative (torch 2.13)."""

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return g * v / v.square().sum(dim=1, keepdim=True).sqrt()


def _weight_normed(at: Precision) -> nn.Module:
    layer = parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH))
    if at.exact:
        layer.parametrizations.weight[0] = _NormedWeight()
    return layer


class _Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.layer, x, use_reentrant=False)


class _Tied(nn.Module):
    """One weight used twice: by two modules that share it, or out of a plain list that no state dict knows."""

    def __init__(self, by_list: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)
        self.by_list = by_list
        if by_list:
            self.second = nn.Identity()
            self.held = [self.first.weight]
        else:
            self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        return h @ self.held[0] if self.by_list else self.second(h)


class _Noise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(torch.tanh(self.layer(x)), 0.3)


class _Contrast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - 0.5 * x.mean(dim=0, keepdim=True)


class _Running(nn.Module):
    """Batch norm over the features of rows."""

    def __init__(self, training: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH)
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(0.5, 2)
        self.norm.train(training)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x)


@dataclass(frozen=True)
class Block:
    make: Callable[[Precision], nn.Module]
    axes: tuple[int, ...] = (2, 3)
    tags: tuple[str, ...] = ()
    weight: float = 1.0


def _llama_norm(at: Precision) -> nn.Module:
    return _Rms(torch.float64 if at.exact else torch.float32)


BLOCKS: dict[str, Block] = {
    "linear": Block(lambda _: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()), weight=2),
    "relu": Block(lambda _: nn.Sequential(nn.Linear(WIDTH, 9), nn.ReLU(), nn.Linear(9, WIDTH)), weight=2),
    "residual": Block(lambda _: _Residual()),
    "layer norm": Block(lambda _: nn.LayerNorm(WIDTH)),
    "rms norm": Block(lambda _: _Rms(None)),
    "rms norm in float32": Block(_llama_norm, tags=("mixed",)),
    "float64 inside": Block(lambda _: _Inside(), tags=("mixed",), weight=0.5),
    "constants": Block(lambda at: _Constants(at.dtype)),
    "gain": Block(lambda _: _Gain()),
    "weight norm": Block(
        lambda at: nn.Sequential(_weight_normed(at), nn.Tanh()), tags=("parametrised",)
    ),
    "orthogonal": Block(
        lambda _: nn.Sequential(parametrizations.orthogonal(nn.Linear(WIDTH, WIDTH)), nn.Tanh()),
        tags=("parametrised",), weight=0.5,
    ),
    "attention": Block(lambda _: _Attention(), axes=(3,)),
    "branch": Block(lambda _: _Branch(1.0), tags=("branches",)),
    "rare branch": Block(lambda _: _Branch(2.5), tags=("branches",)),
    "unrolled": Block(lambda _: _Unrolled(), tags=("branches", "couples")),
    "masked": Block(lambda _: _Masked(), tags=("branches",)),
    "experts": Block(lambda _: _Experts(), tags=("branches",)),
    "checkpointed": Block(lambda _: _Checkpointed()),
    "tied": Block(lambda _: _Tied(False)),
    "tied by a list": Block(lambda _: _Tied(True), tags=("hidden",)),
    "functional dropout": Block(lambda _: _Noise(), tags=("random",), weight=0.5),
    "contrast": Block(lambda _: _Contrast(), tags=("couples",), weight=0.5),
    "batch norm": Block(lambda _: _Running(True), axes=(2,), tags=("couples",), weight=0.5),
    "batch norm, running": Block(lambda _: _Running(False), axes=(2,)),
}  # fmt: skip


# Losses: of outputs (B, C) or (B, L, C)


@dataclass(frozen=True)
class LossKind:
    make: Callable[[torch.dtype], Loss]
    targets: Callable[[tuple[int, ...], torch.dtype], Tensor]
    tags: tuple[str, ...] = ()


def _labels(shape: tuple[int, ...], _: torch.dtype) -> Tensor:
    """Classes, the last of them rare and at the end of the data."""
    labels = torch.randint(CLASSES - 1, shape)
    labels[-max(1, shape[0] // 6) :] = CLASSES - 1
    return labels


def _ignored(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    labels = _labels(shape, dtype)
    if len(shape) == 1:
        labels[shape[0] // 2 :: 3] = -100
    else:
        labels[shape[0] // 2 :, 1:] = -100
    return labels


def _values(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, CLASSES).to(dtype)


def _shares(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.rand(*shape, CLASSES).to(dtype)


def _counts(shape: tuple[int, ...], _: torch.dtype) -> Tensor:
    return torch.randint(0, 4, (*shape, CLASSES))


def _flat(loss: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """A loss of logits (B, C) for outputs of any leading shape."""
    return lambda out, t: loss(out.reshape(-1, CLASSES), t.reshape(-1))


def _class_weights(dtype: torch.dtype) -> Tensor:
    return torch.tensor([1.0, 0.7, 8.0]).to(dtype)


def _token_mean(out: Tensor, t: Tensor) -> Tensor:
    return F.cross_entropy(out, t, ignore_index=-100, reduction="sum") / (t != -100).sum()


def _token_sum(out: Tensor, t: Tensor) -> Tensor:
    tokens = out.numel() // CLASSES // len(out)
    each = F.cross_entropy(out.reshape(-1, CLASSES), t.reshape(-1), reduction="none")
    return each.reshape(len(out), tokens).sum(dim=1).mean()


def _weights_from_targets(out: Tensor, t: Tensor) -> Tensor:
    weights = 1 + 4 * (t[..., 0] > 0.5).to(out.dtype)
    return (weights * (out - t).square().mean(-1)).sum() / weights.sum()


def _gaussian(out: Tensor, t: Tensor) -> Tensor:
    return F.gaussian_nll_loss(out, t, F.softplus(out.detach().roll(1, -1)) + 0.1)


def _rare_term(out: Tensor, t: Tensor) -> Tensor:
    """A term for samples of the rare class alone, if there are any: a branch in the loss."""
    value = F.cross_entropy(out, t)
    return value + out[t == CLASSES - 1].square().mean() if (t == CLASSES - 1).any() else value


def _spread(out: Tensor, t: Tensor) -> Tensor:
    return F.mse_loss(out, t) + 0.3 * (out - out.mean(dim=0)).square().mean()


LOSSES: dict[str, LossKind] = {
    "cross entropy": LossKind(lambda _: _flat(F.cross_entropy), _labels),
    "smoothed labels": LossKind(lambda _: _flat(nn.CrossEntropyLoss(label_smoothing=0.1)), _labels),
    "class weights": LossKind(
        lambda dtype: _flat(nn.CrossEntropyLoss(weight=_class_weights(dtype))), _labels, ("not a mean",)
    ),
    "nll with weights": LossKind(
        lambda dtype: _flat(lambda out, t: F.nll_loss(out.log_softmax(-1), t, _class_weights(dtype))),
        _labels, ("not a mean",),
    ),
    "ignored labels": LossKind(lambda _: _flat(F.cross_entropy), _ignored, ("not a mean",)),
    "mean over tokens": LossKind(lambda _: _flat(_token_mean), _ignored, ("not a mean",)),
    "sum over tokens": LossKind(lambda _: _token_sum, _labels),
    "sum": LossKind(lambda _: _flat(lambda out, t: F.cross_entropy(out, t, reduction="sum")), _labels, ("not a mean",)),
    "weights from targets": LossKind(lambda _: _weights_from_targets, _values, ("not a mean",)),
    "a term for the rare class": LossKind(lambda _: _flat(_rare_term), _labels, ("not a mean", "branches")),
    "squared error": LossKind(lambda _: F.mse_loss, _values),
    "squared error of counts": LossKind(lambda dtype: lambda out, t: F.mse_loss(out, t.to(dtype)), _counts),
    "root of the squared error": LossKind(lambda _: lambda out, t: F.mse_loss(out, t).sqrt(), _values, ("not a mean",)),
    "huber": LossKind(lambda _: F.huber_loss, _values),
    "smooth l1": LossKind(lambda _: lambda out, t: F.smooth_l1_loss(out, t, beta=0.5), _values),
    "absolute error": LossKind(lambda _: F.l1_loss, _values),
    "binary": LossKind(lambda _: F.binary_cross_entropy_with_logits, _shares),
    "divergence": LossKind(
        lambda _: lambda out, t: F.kl_div(out.log_softmax(-1), t, reduction="batchmean"), _shares
    ),
    "gaussian": LossKind(lambda _: _gaussian, _values),
    "poisson": LossKind(lambda _: F.poisson_nll_loss, _counts),
    "cosine": LossKind(lambda _: lambda out, t: (1 - F.cosine_similarity(out, t, dim=-1)).mean(), _values),
    "spread": LossKind(lambda _: _spread, _values, ("couples",)),
}  # fmt: skip


# Penalties: terms that reach the parameters by a closure over the model


@dataclass(frozen=True)
class Penalty:
    make: Callable[[Loss, nn.Module, Tensor], Loss]
    tags: tuple[str, ...] = ("hidden",)


def _decay(loss: Loss, model: nn.Module, _: Tensor) -> Loss:
    return lambda out, t: loss(out, t) + 0.1 * sum(p.square().sum() for p in model.parameters())


def _decay_of_a_list(loss: Loss, model: nn.Module, _: Tensor) -> Loss:
    weights = [p for name, p in model.named_parameters() if "readout" in name]
    return lambda out, t: loss(out, t) + 0.1 * sum(torch.cosh(w).sum() for w in weights)


def _residual_at_points(loss: Loss, model: nn.Module, points: Tensor) -> Loss:
    return lambda out, t: loss(out, t) + 0.5 * model(points).square().mean()


def _gradient_penalty(loss: Loss, model: nn.Module, points: Tensor) -> Loss:
    def penalised(out: Any, t: Any) -> Tensor:
        if not points.is_floating_point():
            return loss(out, t) + model(points).square().mean()
        x = points.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return loss(out, t) + slope.square().mean()

    return penalised


PENALTIES: dict[str, Penalty] = {
    "none": Penalty(lambda loss, *_: loss, ()),
    "decay": Penalty(_decay),
    "decay of a list": Penalty(_decay_of_a_list),
    "residual at points": Penalty(_residual_at_points),
    "gradient penalty": Penalty(_gradient_penalty),
}


def _inputs(kind: str, samples: int, dtype: torch.dtype) -> Tensor:
    if kind == "tokens":
        return torch.randint(TOKENS, (samples, LENGTH))
    shape = {"vector": (5,), "image": (1, 6, 6), "sequence": (LENGTH, 3)}[kind]
    return torch.randn(samples, *shape).to(dtype)


def _pick(rng: np.random.Generator, names: Any) -> str:
    return str(rng.choice(list(names)))


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
