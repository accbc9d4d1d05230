"""The edge of stability along a training: a row a point."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import gradlaw as gl
from gradlaw.dynamics import edge_of_stability
from gradlaw.training.points import point_file
from studies.consequences.design import (
    EDGE_BATCH,
    EDGE_HESSIAN_SAMPLES,
    EDGE_MINIBATCHES,
    EDGE_RATE,
    EDGE_SAMPLES,
    edge_model,
    squared_error,
)
from studies.consequences.train import edge_data

Row = dict[str, Any]


def edge_row(data: Any, seed: int, epoch: int, folder: Path) -> Row:
    """Batch sharpness, largest eigenvalue and noise along it at one point of the training.

    Args:
        data: CIFAR-10, as ``gl.load_data`` gives it.
        seed: of the training.
        epoch: one of the points.
        folder: of its checkpoints.
    """
    model = edge_model()
    model.load_state_dict(load_file(point_file(folder, epoch)))
    inputs, targets = edge_data(data, seed)
    found = edge_of_stability(
        gl.Problem(model, squared_error, (inputs, targets)), EDGE_BATCH, EDGE_RATE,
        minibatches=EDGE_MINIBATCHES, samples=EDGE_HESSIAN_SAMPLES, seed=seed,
    )  # fmt: skip
    with torch.no_grad():
        loss = float(squared_error(model(inputs), targets))
    sharpness = found.sharpness
    return {
        "seed": seed,
        "epoch": epoch,
        "step": epoch * (EDGE_SAMPLES // EDGE_BATCH),
        "loss": loss,
        "threshold": found.threshold,
        "batch_sharpness": sharpness.value.value,
        "batch_sharpness_error": sharpness.value.standard_error,
        "ratio_of_means": sharpness.ratio_of_means.value,
        "ratio_of_means_error": sharpness.ratio_of_means.standard_error,
        "top_eigenvalue": found.top_eigenvalue,
        "top_residual": found.top_residual,
        "noise_along": found.noise_along.value,
        "noise_share": found.noise_share,
    }
