"""Models by name, fitted to the data they are for."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradlaw import random_streams
from gradlaw.argument_types import checked
from gradlaw.choices import InitialisationName
from gradlaw.errors import InputError, unknown
from gradlaw.resources import free_memory
from gradlaw.zoo.fcn import FCN
from gradlaw.zoo.gpt import GPT, next_token_loss
from gradlaw.zoo.initialise import initialise
from gradlaw.zoo.lenet import LeNet
from gradlaw.zoo.resnet import ResNet18

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Architecture:
    """How to make a model for samples of one shape, the sizes to choose with their smallest values, and its loss."""

    make: Callable[..., nn.Module]  # (sample_shape, classes, **sizes)
    smallest: dict[str, int]
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy


def _lenet(shape: Shape, classes: int, *, padding: int | None = None) -> nn.Module:
    if len(shape) != 3 or shape[1:] not in ((28, 28), (32, 32)):
        raise InputError(f"lenet takes images of 28x28 or 32x32, the samples have shape {_text(shape)}; use fcn")
    return LeNet(channels=shape[0], size=shape[1], classes=classes, padding=padding)


def _fcn(shape: Shape, classes: int, *, steps: tuple[str, ...], depth: int, width: int = 70) -> nn.Module:
    return FCN(math.prod(shape), classes, width, depth, steps)


def _resnet18(shape: Shape, classes: int, *, width: int = 64) -> nn.Module:
    if len(shape) != 3:
        raise InputError(f"resnet18 takes images (C, H, W), the samples have shape {_text(shape)}; use fcn")
    return ResNet18(channels=shape[0], classes=classes, width=width)


def _gpt(shape: Shape, classes: int, *, width: int = 64, depth: int = 4, heads: int = 4) -> nn.Module:
    if len(shape) != 1:
        raise InputError(f"gpt takes sequences of tokens (context,), the samples have shape {_text(shape)}")
    if width % heads:
        raise InputError(f"the width of gpt must be a multiple of its heads, got width={width} and heads={heads}")
    return GPT(vocabulary=classes, context=shape[0], width=width, depth=depth, heads=heads)


def _fully_connected(depth: int, *steps: str) -> Architecture:
    return Architecture(partial(_fcn, depth=depth, steps=steps), {"width": 1, "depth": 0})


_MOST_LAYERS, _LARGEST_SIZE = 10_000, 10**9

MODELS: dict[str, Architecture] = {
    "lenet": Architecture(_lenet, {"padding": 0}),
    "resnet18": Architecture(_resnet18, {"width": 1}),
    "fcn": _fully_connected(2, "bn", "relu"),
    "fcn-relu-bn": _fully_connected(2, "relu", "bn"),
    "fcn-relu": _fully_connected(2, "relu"),
    "lnn": _fully_connected(4),
    "lnn-bn": _fully_connected(4, "bn"),
    "lnn-relu": _fully_connected(4, "relu"),
    "gpt": Architecture(_gpt, {"width": 1, "depth": 1, "heads": 1}, next_token_loss),
}


@dataclass(frozen=True)
class ModelSettings:
    """All that :func:`build_model` needs to build a model again; the fields are its arguments."""

    name: str
    sample_shape: Shape
    classes: int
    seed: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    initialisation: InitialisationName = "pytorch"

    def build(self) -> nn.Module:
        """The model, at its initialisation.

        Raises:
            InputError: as :func:`build_model`.
        """
        return build_model(
            self.name, self.sample_shape, self.classes, self.seed, initialisation=self.initialisation, **self.sizes
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"sample_shape": list(self.sample_shape)}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "ModelSettings":
        """What :meth:`to_dict` made."""
        return ModelSettings(**values | {"sample_shape": tuple(values["sample_shape"])})


@checked
def build_model(
    name: str, sample_shape: Shape, classes: int, seed: int = 0, *, initialisation: InitialisationName = "pytorch",
    **sizes: int | None,
) -> nn.Module:  # fmt: skip
    """A model for samples of one shape, seeded.

    Args:
        name: one of ``MODELS``.
        sample_shape: shape of one sample: (C, H, W) for images, (F,) for numbers, (context,) for tokens.
        classes: number of logits, at least that of the classes; for gpt the number of different tokens.
        seed: of the initialisation; the global random state is left alone.
        initialisation: PyTorch's default, or another, as :func:`gradlaw.zoo.initialise.initialise` has them.
        **sizes: ``padding`` (lenet: of the first convolution, 2 for 28x28 and 0 for 32x32), ``width`` and ``depth``
            (fully connected networks: of the hidden layers, 70 and 2, linear ones 4), ``width`` (resnet18: of its
            first stage, 64), ``width``, ``depth`` and ``heads`` (gpt: 64, 4 and 4). None is the default.

    Raises:
        InputError: unknown name or initialisation, a size that the model does not have or that is too small, or
            samples that it does not take.
    """
    architecture = _architecture(name)
    if not 1 <= classes <= _LARGEST_SIZE:
        raise InputError(f"a model has from 1 to {_LARGEST_SIZE:,} classes, got {classes:,}")
    chosen: dict[str, Any] = {key: value for key, value in sizes.items() if value is not None}
    for key, value in chosen.items():
        _check_size(name, architecture, key, value)
    word = int(np.random.SeedSequence([random_streams.MODEL, seed]).generate_state(1, np.uint64)[0])
    _check_memory(name, architecture, tuple(sample_shape), classes, chosen)
    with torch.random.fork_rng([]):
        torch.manual_seed(word)
        model = architecture.make(tuple(sample_shape), classes, **chosen)
        initialise(model, initialisation)
        return model


def _architecture(name: str) -> Architecture:
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]


def _check_memory(name: str, architecture: Architecture, shape: Shape, classes: int, sizes: dict[str, Any]) -> None:
    """Refuse a model whose parameters alone would not fit, before any of them is allocated."""
    if sizes.get("depth", 0) > _MOST_LAYERS:
        raise InputError(f"the depth of {name} must be at most {_MOST_LAYERS:,}, got {sizes['depth']:,}")
    try:
        with torch.device("meta"):
            tensors = list(architecture.make(shape, classes, **sizes).parameters())
    except RuntimeError as error:  # a tensor of more than 2^63 bytes
        raise InputError(f"{name} cannot have these sizes: {error}; choose smaller ones") from error
    needed, free = sum(t.nbytes for t in tensors), free_memory(torch.device("cpu"))
    if needed > free:
        chosen = ", ".join(f"{key}={value:,}" for key, value in sizes.items())
        raise InputError(
            f"the parameters of {name} ({chosen}) take {needed / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are free; "
            "choose smaller sizes"
        )


def _check_size(name: str, architecture: Architecture, key: str, value: int) -> None:
    if key not in architecture.smallest:
        takes = ", ".join(architecture.smallest) or "no sizes"
        raise InputError(f"{name} has no {key} to choose; it takes {takes}")
    least = architecture.smallest[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"the {key} of {name} must be an integer of at least {least}, got {value!r}")
    if value > _LARGEST_SIZE:
        raise InputError(f"the {key} of {name} must be at most {_LARGEST_SIZE:,}, got {value:,}")


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
