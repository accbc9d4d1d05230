"""One pass over the data: training on it, or measuring loss and accuracy."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gradlaw import random_streams
from gradlaw.data.augment import flip_and_crop
from gradlaw.training.batches import epoch_batches
from gradlaw.training.recipe import Recipe

Loss = Callable[[Tensor, Tensor], Tensor]
Advance = Callable[[int], None]
_STEPS_BETWEEN_LOOKS = 20  # at the losses: on a GPU every look waits for it
_EVALUATED_AT_ONCE = 500


class NotFinite(Exception):
    """The loss, or a parameter, stopped being finite; the message says where."""


@dataclass(frozen=True)
class Score:
    """Mean loss, and the share of targets that get the largest logit; None where targets are no class indices."""

    loss: float
    accuracy: float | None


@dataclass(frozen=True)
class Setup:
    """What stays the same from epoch to epoch.

    ``least`` is the smallest minibatch that the model takes; ``channels_last`` lays minibatches of images out so.
    """

    model: nn.Module
    loss: Loss
    optimizer: torch.optim.Optimizer
    inputs: Tensor
    targets: Tensor
    recipe: Recipe
    seed: int
    least: int
    channels_last: bool = False


def steps_of_epoch(setup: Setup) -> int:
    """How many steps an epoch has."""
    return len(epoch_batches(len(setup.inputs), setup.recipe.batch_size, 0, 0, setup.least))


def train_epoch(
    setup: Setup, epoch: int, advance: Advance, stops: Collection[int] = (), reached: Advance = lambda step: None
) -> Score:
    """Train for one epoch, counted from 0; all that is random is a function of the seed and the epoch.

    Args:
        setup: model, data and recipe.
        epoch: which.
        advance: told the number of steps just done.
        stops: numbers of steps of the epoch.
        reached: called when so many steps are done, with their number; it must leave model and random numbers alone.

    Returns:
        The score during training: of every minibatch just before the step that it causes.

    Raises:
        NotFinite: the loss, or a parameter after the last step, is not finite.
    """
    _seed(setup.seed, epoch)
    for group in setup.optimizer.param_groups:
        group["lr"] = setup.recipe.learning_rate_at(epoch)
    rng = np.random.default_rng([random_streams.TRAINING_AUGMENTATION, setup.seed, epoch])
    batches = epoch_batches(len(setup.inputs), setup.recipe.batch_size, setup.seed, epoch, setup.least)
    losses = torch.zeros(len(batches), device=setup.inputs.device)
    correct = torch.zeros_like(losses, dtype=torch.int64)
    setup.model.train()
    looked = 0
    for step, indices in enumerate(batches):
        losses[step], correct[step] = _step(setup, indices, rng)
        if (step + 1) % _STEPS_BETWEEN_LOOKS == 0 or step + 1 == len(batches):
            _check_losses(losses[: step + 1], len(batches))
            advance(step + 1 - looked)
            looked = step + 1
        if step + 1 in stops:
            _check_losses(losses[: step + 1], len(batches))
            _check_parameters(setup, f"step {step + 1} of {len(batches)}")
            reached(step + 1)
    _check_parameters(setup, "its last step")
    sizes = torch.tensor([len(indices) for indices in batches])
    mean = float((losses.cpu().double() * sizes).sum() / sizes.sum())
    return Score(mean, _share(int(correct.sum()), int(sizes.sum()), setup.targets))


@torch.no_grad()
def evaluate(model: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor) -> Score:
    """Loss and accuracy in evaluation mode (BatchNorm with its running statistics); the model's mode is put back.

    Raises:
        NotFinite: the loss is not finite.
    """
    mode = model.training
    model.eval()
    total, correct = 0.0, 0
    for batch, wanted in zip(inputs.split(_EVALUATED_AT_ONCE), targets.split(_EVALUATED_AT_ONCE), strict=True):
        outputs = model(batch)
        total += float(loss(outputs, wanted)) * len(batch)
        correct += int(_correct(outputs, wanted))
    model.train(mode)
    if not math.isfinite(total):
        raise NotFinite(f"the mean loss in evaluation mode is {total}")
    return Score(total / len(inputs), _share(correct, len(inputs), targets))


def _step(setup: Setup, indices: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor | int]:
    """Make one step; returns the loss and the number of correct targets before it."""
    chosen = torch.from_numpy(indices).to(setup.inputs.device)
    batch, wanted = setup.inputs[chosen], setup.targets[chosen]
    if setup.recipe.augment:
        batch = flip_and_crop(batch, rng)
    if setup.channels_last:
        batch = batch.contiguous(memory_format=torch.channels_last)
    outputs = setup.model(batch)
    loss = setup.loss(outputs, wanted)
    setup.optimizer.zero_grad()
    loss.backward()
    if setup.recipe.clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(_parameters(setup), setup.recipe.clip_norm)
    setup.optimizer.step()
    return loss.detach(), _correct(outputs.detach(), wanted)


def _parameters(setup: Setup) -> list[nn.Parameter]:
    return [p for group in setup.optimizer.param_groups for p in group["params"]]


def _correct(outputs: Tensor, targets: Tensor) -> Tensor | int:
    """How many targets get the largest logit, the classes being the last dimension of the outputs."""
    if targets.is_floating_point():
        return 0
    return (outputs.argmax(dim=-1) == targets).sum()


def _share(correct: int, samples: int, targets: Tensor) -> float | None:
    return None if targets.is_floating_point() else correct / (samples * targets[0].numel())


def _check_losses(losses: Tensor, steps: int) -> None:
    finite = torch.isfinite(losses)
    if not finite.all():
        step = int(finite.logical_not().nonzero()[0])
        raise NotFinite(f"the loss is {float(losses[step])} in step {step + 1} of {steps}")


def _check_parameters(setup: Setup, step: str) -> None:
    if not all(torch.isfinite(p).all() for p in _parameters(setup)):
        raise NotFinite(f"{step} left parameters that are not finite")


def _seed(seed: int, epoch: int) -> None:
    """Seed PyTorch's global generators, which dropout draws from; the caller has set their state aside."""
    word = np.random.SeedSequence([random_streams.TRAINING_FORWARD, seed, epoch]).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(word))
