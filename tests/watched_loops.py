"""A training loop that keeps every gradient which its optimiser receives, for comparison with what a watch said."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Change = Callable[[list[nn.Parameter]], Any]


def network(seed: int = 0) -> nn.Sequential:
    """A small classifier, 5,000 parameters in three layers that have some."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(20, 60), nn.Tanh(), nn.Linear(60, 60), nn.LayerNorm(60), nn.Linear(60, 4))


def batches(count: int, size: int = 16, seed: int = 1) -> list[tuple[Tensor, Tensor]]:
    """Random inputs and labels."""
    rng = torch.Generator().manual_seed(seed)
    return [(torch.randn(size, 20, generator=rng), torch.randint(4, (size,), generator=rng)) for _ in range(count)]


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, accumulate: int = 1, change: Change | None = None
) -> list[dict[str, Tensor]]:
    """Train, and return by step the gradient of every parameter as the optimiser gets it."""
    received, data = [], iter(batches(steps * accumulate))
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(accumulate):
            inputs, labels = next(data)
            (F.cross_entropy(model(inputs), labels) / accumulate).backward()
        if change is not None:
            change(list(model.parameters()))
        received.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        optimizer.step()
    return received


def by_module(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of each module's own parameters as one float64 vector."""
    layers: dict[str, list[Tensor]] = {}
    for name, gradient in gradients.items():
        layers.setdefault(name.rpartition(".")[0], []).append(gradient.double().reshape(-1))
    return {name: torch.cat(parts) for name, parts in layers.items()}
