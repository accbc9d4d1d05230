"""Data and weights in which one thing is replaced and all others are kept."""

import torch
from torch import Tensor, nn

from studies.explanations.design import COVARIANCE, LABELS, MARGINALS, ORTHOGONAL, WHITE


def replaced(inputs: Tensor, targets: Tensor, variant: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs and targets of a variant; shapes stay."""
    make = {WHITE: white, COVARIANCE: same_covariance, MARGINALS: same_marginals}.get(variant)
    if make is not None:
        return make(inputs, generator), targets
    if variant == LABELS:
        return inputs, targets[torch.randperm(len(targets), generator=generator)]
    return inputs, targets


def white(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Independent Gaussian values with the mean and variance of all values together."""
    return inputs.mean() + inputs.std() * torch.randn(inputs.shape, generator=generator)


def same_covariance(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian samples with the mean and the covariance of the inputs."""
    flat = inputs.flatten(1)
    mean = flat.mean(dim=0)
    centred = flat - mean
    root = torch.linalg.cholesky(
        (centred.T @ centred / len(centred)).double() + 1e-6 * torch.eye(flat.shape[1], dtype=torch.float64)
    )
    noise = torch.randn(flat.shape, generator=generator)
    return (mean + noise @ root.float().T).view(inputs.shape)


def same_marginals(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Each value of a sample from a sample of its own: every pixel keeps its distribution, none its neighbours."""
    flat = inputs.flatten(1)
    order = torch.rand(flat.shape, generator=generator).argsort(dim=0)
    return flat.gather(0, order).view(inputs.shape)


def orthogonal(model: nn.Module) -> None:
    """Weights of linear and convolutional layers replaced by orthogonal ones with the same norm, in place."""
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                norm = layer.weight.norm()
                nn.init.orthogonal_(layer.weight)
                layer.weight *= norm / layer.weight.norm()


def weights(model: nn.Module, variant: str, seed: int) -> None:
    """Those of a variant, in place."""
    if variant == ORTHOGONAL:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            orthogonal(model)
