"""The problems on which every engine is compared with float64 autograd."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.zoo import FCN, LeNet

SAMPLES = 40


class TransformerBlock(nn.Module):
    """Embedding, one encoder layer and a readout tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 16)
        self.block = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.block(self.embedding(tokens)).mean(dim=1) @ self.embedding.weight.T


def _images(channels: int, size: int) -> Tensor:
    return torch.randn(SAMPLES, channels, size, size, dtype=torch.float64)


def _labels(classes: int) -> Tensor:
    return torch.randint(classes, (SAMPLES,))


def make(name: str, dtype: torch.dtype = torch.float32) -> gl.Problem:
    """One of ``NAMES``, the same weights and data at any precision."""
    torch.manual_seed(3)
    model, inputs, classes = {
        "lenet": lambda: (LeNet(), _images(1, 28), 10),
        "lenet-cifar": lambda: (LeNet(channels=3, size=32), _images(3, 32), 10),
        "fcn": lambda: (FCN(20, 5, width=12), torch.randn(SAMPLES, 20, dtype=torch.float64), 5),
        "fcn-relu-bn": lambda: (
            FCN(20, 5, width=12, steps=("relu", "bn")),
            torch.randn(SAMPLES, 20, dtype=torch.float64),
            5,
        ),
        "lnn": lambda: (FCN(20, 5, width=12, depth=4, steps=()), torch.randn(SAMPLES, 20, dtype=torch.float64), 5),
        "transformer": lambda: (TransformerBlock(), torch.randint(11, (SAMPLES, 6)), 11),
    }[name]()
    targets = _labels(classes)
    if inputs.is_floating_point():
        inputs = inputs.to(dtype)
    return gl.Problem(model.to(dtype), cross_entropy, (inputs, targets))


NAMES = ("lenet", "lenet-cifar", "fcn", "fcn-relu-bn", "lnn", "transformer")
