"""How a model is trained: the recipes of the paper's appendix A as defaults."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import torch
from torch import nn

from gradlaw.choices import OPTIMISERS as OPTIMISERS
from gradlaw.choices import OptimiserName
from gradlaw.errors import InputError, count, unknown

_LARGEST_RATE = torch.finfo(torch.float32).max  # what an optimiser can multiply a gradient by


@dataclass(frozen=True)
class Recipe:
    """Optimiser, schedule and minibatches of a training.

    Attributes:
        optimiser: ``"sgd"``, ``"momentum"`` (SGD with momentum) or ``"adam"``, with PyTorch's defaults for what is
            not named here.
        learning_rate: of the first epoch.
        epochs: how many.
        milestones: epochs, counted from 0, from which on the learning rate is multiplied by ``decay`` once more.
        decay: see ``milestones``.
        batch_size: samples in a minibatch; the last one of an epoch may be smaller.
        weight_decay: times the parameters, added to the gradients of all parameters (Adam too; this is not AdamW).
        momentum: of ``"momentum"``; the others do not use it.
        clip_norm: longest gradient, as a Euclidean norm over all parameters, before weight decay. None: no limit.
        augment: flip and crop images at random; see :func:`gradlaw.data.flip_and_crop`.

    Raises:
        InputError: a setting out of its range.
    """

    optimiser: OptimiserName = "sgd"
    learning_rate: float = 0.1
    epochs: int = 50
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    batch_size: int = 128
    weight_decay: float = 5e-4
    momentum: float = 0.9
    clip_norm: float | None = None
    augment: bool = False

    def __post_init__(self) -> None:
        if self.optimiser not in OPTIMISERS:
            raise unknown("optimiser", self.optimiser, OPTIMISERS)
        for name in ("epochs", "batch_size"):
            object.__setattr__(self, name, count(getattr(self, name), name))
        for name in ("learning_rate", "decay", "weight_decay", "momentum", "clip_norm"):
            value = getattr(self, name)
            object.__setattr__(self, name, value if value is None else float(value))
        for name in ("learning_rate", "decay", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= _LARGEST_RATE:
                raise InputError(f"{name} must be positive and at most {_LARGEST_RATE:.3g}, got {value}")
        if not 0 <= self.weight_decay < float("inf"):
            raise InputError(f"weight_decay must not be negative, got {self.weight_decay}")
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum must be at least 0 and below 1, got {self.momentum}")
        milestones = tuple(count(milestone, "milestone", 0) for milestone in self.milestones)
        object.__setattr__(self, "milestones", milestones)
        if list(self.milestones) != sorted(set(self.milestones)) or any(m < 1 for m in self.milestones):
            raise InputError(f"milestones must be ascending epochs of at least 1, got {self.milestones}")

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.learning_rate * self.decay ** sum(epoch >= milestone for milestone in self.milestones)

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser in PyTorch; its learning rate is set at every epoch."""
        common: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay}
        if self.optimiser == "adam":
            return torch.optim.Adam(parameters, **common)
        return torch.optim.SGD(parameters, momentum=self.momentum if self.optimiser == "momentum" else 0.0, **common)


@dataclass(frozen=True)
class _Published:
    """What appendix A states of a data set."""

    epochs: int
    milestones: tuple[float, ...]  # as shares of the epochs
    rates: dict[str, float]
    augment: bool


_RATES = {"sgd": 0.1, "momentum": 0.1, "adam": 0.001}
_MNIST = _Published(50, (0.4, 0.8), _RATES, augment=False)  # A.3
_CIFAR10 = _Published(200, (0.4, 0.8), _RATES | {"sgd": 1.0}, augment=True)  # A.4: epochs 80 and 160
_CIFAR100 = _Published(200, (0.5, 0.75), _RATES | {"sgd": 1.0}, augment=True)  # A.4: epochs 100 and 150


def default_recipe(
    data_name: str, model_name: str, optimiser: str | None = None, epochs: int | None = None, **changes: Any
) -> Recipe:
    """The paper's recipe for a data set: of MNIST for all but CIFAR-10 and CIFAR-100.

    Args:
        data_name: as ``load_data`` takes it; its last part decides (``"ylecun/mnist"``, ``"data/cifar10"``).
        model_name: as ``build_model`` takes it.
        optimiser: default ``"sgd"``, ``"momentum"`` on CIFAR, ``"adam"`` for gpt. The learning rate follows it.
        epochs: default 50, on CIFAR 200. The milestones keep their shares of it.
        **changes: other fields of :class:`Recipe`; None keeps the default.

    Raises:
        InputError: a setting out of its range.
    """
    name = PurePath(data_name).name.lower()
    published = {"cifar10": _CIFAR10, "cifar100": _CIFAR100}.get(name, _MNIST)
    if optimiser is None:
        optimiser = "adam" if model_name == "gpt" else "momentum" if published.augment else "sgd"
    elif optimiser not in OPTIMISERS:
        raise unknown("optimiser", optimiser, OPTIMISERS)
    epochs = published.epochs if epochs is None else epochs
    settings: dict[str, Any] = {
        "optimiser": optimiser,
        "learning_rate": published.rates[optimiser],
        "epochs": epochs,
        "milestones": tuple(sorted({max(1, round(share * epochs)) for share in published.milestones})),
        "augment": published.augment,
    }
    return Recipe(**settings | {key: value for key, value in changes.items() if value is not None})
