import dataclasses

import pytest
import torch
from torch import nn

import gradlaw as gl
from gradlaw.training import OPTIMISERS, Recipe, default_recipe


@pytest.mark.parametrize(("data", "optimiser", "rate", "epochs", "milestones", "augment"), [
    ("mnist", None, 0.1, 50, (20, 40), False),
    ("ylecun/mnist", "momentum", 0.1, 50, (20, 40), False),
    ("some/folder/mnist", "adam", 0.001, 50, (20, 40), False),
    ("cifar10", None, 0.1, 200, (80, 160), True),
    ("uoft-cs/cifar10", "sgd", 1.0, 200, (80, 160), True),
    ("cifar100", "adam", 0.001, 200, (100, 150), True),
    ("digits", None, 0.1, 50, (20, 40), False),
])  # fmt: skip
def test_defaults_are_those_of_appendix_a(data, optimiser, rate, epochs, milestones, augment):
    recipe = default_recipe(data, "lenet", optimiser)
    assert recipe.optimiser == optimiser or optimiser is None
    assert (recipe.learning_rate, recipe.epochs, recipe.milestones) == (rate, epochs, milestones)
    assert (recipe.augment, recipe.batch_size, recipe.weight_decay) == (augment, 128, 5e-4)


def test_everything_can_be_changed_and_milestones_keep_their_share():
    recipe = default_recipe("cifar100", "lenet", epochs=20, clip_norm=2.0, batch_size=None, augment=False)
    assert (recipe.milestones, recipe.clip_norm, recipe.batch_size, recipe.augment) == ((10, 15), 2.0, 128, False)
    assert default_recipe("mnist", "lenet", epochs=1).milestones == (1,)
    assert default_recipe("mnist", "lenet", milestones=(3, 4)).milestones == (3, 4)
    assert default_recipe("input.txt", "gpt").optimiser == "adam"


@pytest.mark.parametrize("recipe", [default_recipe("mnist", "fcn"), Recipe(milestones=(1, 2, 7), decay=0.3, epochs=9)])
def test_learning_rates_are_those_of_multi_step_lr(recipe):
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(recipe.milestones), recipe.decay)
    for epoch in range(recipe.epochs):
        assert recipe.learning_rate_at(epoch) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        schedule.step()


def _by_hand(optimiser: str, rate: float, decay: float, gradients: list[float]) -> float:
    """One parameter that starts at 1, by the formulas."""
    x, first, second = 1.0, 0.0, 0.0
    for t, gradient in enumerate(gradients, start=1):
        g = gradient + decay * x
        if optimiser == "adam":
            first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
            x -= rate * (first / (1 - 0.9**t)) / ((second / (1 - 0.999**t)) ** 0.5 + 1e-8)
        else:
            first = (0.9 if optimiser == "momentum" else 0.0) * first + g
            x -= rate * first
    return x


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_optimisers_follow_their_formulas(optimiser):
    gradients = [0.3, -1.2, 0.7, 0.1]
    parameter = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = Recipe(optimiser, learning_rate=0.05, weight_decay=0.1).optimizer([parameter])
    for gradient in gradients:
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    assert parameter.item() == pytest.approx(_by_hand(optimiser, 0.05, 0.1, gradients), rel=1e-12)


@pytest.mark.parametrize(("change", "message"), [
    ({"optimiser": "lion"}, "unknown optimiser 'lion'; there are sgd, momentum, adam"),
    ({"learning_rate": 0.0}, r"learning_rate must be positive and at most 3.4e\+38, got 0.0"),
    ({"learning_rate": float("nan")}, r"learning_rate must be positive and at most 3.4e\+38, got nan"),
    ({"clip_norm": -1.0}, "clip_norm must be positive"),
    ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ({"weight_decay": -0.1}, "weight_decay must not be negative, got -0.1"),
    ({"momentum": 1.0}, "momentum must be at least 0 and below 1, got 1.0"),
    ({"milestones": (4, 2)}, r"milestones must be ascending epochs of at least 1, got \(4, 2\)"),
    ({"milestones": (0,)}, "milestones must be ascending"),
])  # fmt: skip
def test_settings_out_of_range(change, message):
    with pytest.raises(gl.InputError, match=message):
        dataclasses.replace(Recipe(), **change)
    if "optimiser" in change:
        with pytest.raises(gl.InputError, match=message):
            default_recipe("mnist", "lenet", **change)
