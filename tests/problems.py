"""The problems on which engines, spectra and operators are compared with float64 autograd."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.zoo import FCN, GPT, LeNet, ResNet18
from gradlaw.zoo.gpt import next_token_loss

SAMPLES = 40


class TransformerBlock(nn.Module):
    """Embedding, one encoder layer and a readout tied to the embedding by a function."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 16)
        self.block = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.block(self.embedding(tokens)).mean(dim=1) @ self.embedding.weight.T


class Recurrent(nn.Module):
    """A GRU and a linear readout of its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(3, 6, batch_first=True), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(x)[0][:, -1])


def _convolutions() -> nn.Module:
    """Grouped, dilated, strided, reflected; and group normalisation."""
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=2, padding=1),
        nn.GroupNorm(2, 8),
        nn.GELU(),
        nn.Conv2d(8, 8, 3, dilation=2, stride=2, padding=2, padding_mode="reflect"),
        nn.GELU(),
        nn.Conv2d(8, 6, 3, groups=2, bias=False),
        nn.Flatten(),
        nn.Linear(24, 5),
    )


def _images(channels: int, size: int) -> Tensor:
    return torch.randn(SAMPLES, channels, size, size, dtype=torch.float64)


def _vectors(*size: int) -> Tensor:
    return torch.randn(SAMPLES, *size, dtype=torch.float64)


def _tokens(length: int) -> Tensor:
    return torch.randint(11, (SAMPLES, length))


_MAKERS: dict[str, Callable[[], tuple[nn.Module, Tensor, int]]] = {
    "lenet": lambda: (LeNet(), _images(1, 28), 10),
    "lenet-cifar": lambda: (LeNet(channels=3, size=32), _images(3, 32), 10),
    "fcn": lambda: (FCN(20, 5, width=12), _vectors(20), 5),
    "fcn-relu-bn": lambda: (FCN(20, 5, width=12, steps=("relu", "bn")), _vectors(20), 5),
    "lnn": lambda: (FCN(20, 5, width=12, depth=4, steps=()), _vectors(20), 5),
    "resnet18": lambda: (ResNet18(width=4), _images(3, 16), 10),
    "convolutions": lambda: (_convolutions(), _images(4, 8), 5),
    "transformer": lambda: (TransformerBlock(), _tokens(6), 11),
    "gpt": lambda: (GPT(11, context=8, width=16, depth=2, heads=2), _tokens(8), 11),
    "gru": lambda: (Recurrent(), _vectors(5, 3), 4),
}
NAMES = tuple(_MAKERS)
UNBATCHED = ("gru",)  # what vmap has no rule for


def make(name: str, dtype: torch.dtype = torch.float32) -> gl.Problem:
    """One of ``NAMES``, the same weights and data at any precision."""
    torch.manual_seed(3)
    model, inputs, classes = _MAKERS[name]()
    by_token = name == "gpt"
    targets = torch.randint(classes, inputs.shape if by_token else (SAMPLES,))
    if inputs.is_floating_point():
        inputs = inputs.to(dtype)
    return gl.Problem(model.to(dtype), next_token_loss if by_token else cross_entropy, (inputs, targets))


def two_layers() -> gl.Problem:
    """Of 2,165 parameters and 400 samples, wide enough for a sketch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 60), nn.Tanh(), nn.Linear(60, 5))
    return gl.Problem(model, nn.CrossEntropyLoss(), (torch.randn(400, 30), torch.randint(5, (400,))))
