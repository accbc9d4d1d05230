"""Models by name, fitted to the data they are for."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn

from gradlaw import streams
from gradlaw.errors import InputError
from gradlaw.zoo.fcn import FCN
from gradlaw.zoo.lenet import LeNet

Shape = tuple[int, ...]


def _lenet(shape: Shape, classes: int) -> nn.Module:
    if len(shape) != 3 or shape[1:] not in ((28, 28), (32, 32)):
        raise InputError(
            f"lenet takes images of 28x28 or 32x32, the samples have shape {'x'.join(map(str, shape))}; use fcn"
        )
    return LeNet(channels=shape[0], size=shape[1], classes=classes)


def _fcn(shape: Shape, classes: int, *, depth: int = 2, steps: tuple[str, ...] = ("bn", "relu")) -> nn.Module:
    return FCN(math.prod(shape), classes, depth=depth, steps=steps)


MODELS: dict[str, Callable[[Shape, int], nn.Module]] = {
    "lenet": _lenet,
    "fcn": _fcn,
    "fcn-relu-bn": partial(_fcn, steps=("relu", "bn")),
    "fcn-relu": partial(_fcn, steps=("relu",)),
    "lnn": partial(_fcn, depth=4, steps=()),
    "lnn-bn": partial(_fcn, depth=4, steps=("bn",)),
    "lnn-relu": partial(_fcn, depth=4, steps=("relu",)),
}


def build_model(name: str, sample_shape: Shape, classes: int, seed: int = 0) -> nn.Module:
    """A model of the paper for samples of one shape, with PyTorch's default initialisation, seeded.

    Args:
        name: one of ``MODELS``.
        sample_shape: shape of one sample, (C, H, W) or (F,).
        classes: number of logits.
        seed: of the initialisation; the global random state is left alone.

    Raises:
        InputError: unknown name, or samples that the model does not take.
    """
    if name not in MODELS:
        raise InputError(f"unknown model {name!r}; there are {', '.join(MODELS)}")
    word = int(np.random.SeedSequence([streams.MODEL, seed]).generate_state(1, np.uint64)[0])
    with torch.random.fork_rng([]):
        torch.manual_seed(word)
        return MODELS[name](sample_shape, classes)
