"""The training of the edge of stability: plain SGD by ``gradlaw.train``, which keeps the weights at the points."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

import gradlaw as gl
from studies.consequences.design import (
    EDGE_BATCH,
    EDGE_EPOCHS,
    EDGE_POINTS,
    EDGE_RATE,
    EDGE_SAMPLES,
    edge_model,
    scaled_he,
    squared_error,
)


def edge_data(data: Any, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The samples of a seed."""
    chosen = torch.randperm(len(data.inputs), generator=torch.Generator().manual_seed(seed))[:EDGE_SAMPLES]
    return data.inputs[chosen].flatten(1), data.targets[chosen]


def train_edge(data: Any, seed: int, folder: Path) -> nn.Module:
    """Train, or go on where it was stopped.

    Args:
        data: CIFAR-10, as ``gl.load_data`` gives it.
        seed: of samples, weights and order.
        folder: of the checkpoints.
    """
    recipe = gl.Recipe("sgd", EDGE_RATE, EDGE_EPOCHS, batch_size=EDGE_BATCH, weight_decay=0.0)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = edge_model()
        scaled_he(model)
    gl.train(model, squared_error, edge_data(data, seed), recipe=recipe, seed=seed, checkpoint_dir=folder,
             resume=True, points=EDGE_POINTS, progress=gl.Progress())  # fmt: skip
    return model
