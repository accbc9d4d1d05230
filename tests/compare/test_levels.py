"""Intervals of what is compared hold their level where the truth is known."""

import numpy as np
import pytest
import torch
from torch import nn

import gradlaw as gl
from gradlaw.compare.exponents import jackknifed
from gradlaw.compare.quantities import QUANTITIES, gaussian_count
from gradlaw.stats.intervals import RateEstimate


@pytest.mark.parametrize("copies", [1, 40, 400])
def test_the_gaussian_rate_of_dependent_dimensions_is_covered(copies):
    """400 dimensions, ``copies`` of them identical each: at worst all of them are one."""
    length, k, dimensions, runs = 200, 20, 400, 80
    rng = np.random.default_rng(0)
    found = []
    for seed in range(runs):
        distinct = rng.standard_t(4, size=(length, dimensions // copies))
        history = np.repeat(distinct, copies, axis=1)
        found.append(gl.gradient_tests(history, axis="iteration", k=60, gaussian_k=k, seed=seed))
    rates = np.array([tests.gaussian_rate for tests in found])
    truth = rates.mean() if copies < dimensions else None
    if truth is None:  # one series a run: its rate is known better from many independent ones
        many = rng.standard_t(4, size=(length, 20_000))
        truth = gl.gradient_tests(many, axis="iteration", k=60, gaussian_k=k).gaussian_rate
    count = gaussian_count(found[0])
    assert count == pytest.approx(1 / (1 / dimensions + k / length))
    intervals = [RateEstimate(rate, count, np.inf).interval(0.95) for rate in rates]
    assert np.mean([low <= truth <= high for low, high in intervals]) >= 0.95
    if copies == dimensions:  # the usual interval is far too short
        usual = [tests.interval(tests.gaussian_rate) for tests in found]
        assert np.mean([low <= truth <= high for low, high in usual]) < 0.8


def test_the_jackknife_of_an_exponent_covers_its_mean():
    iterations, dimensions, k, blocks, runs = 100, 150, 30, 20, 100
    scales = np.arange(1, dimensions + 1) ** -0.6
    rng = np.random.default_rng(0)

    def exponent(gradients: np.ndarray) -> float:
        gram = gradients @ gradients.T
        return float(gl.fit_power_law(np.linalg.eigvalsh(gram), k).s)

    estimates = []
    for _ in range(runs):
        gradients = rng.standard_normal((iterations, dimensions)) * scales
        parts = np.array_split(np.arange(iterations), blocks)
        left_out = np.array([exponent(np.delete(gradients, part, axis=0)) for part in parts])
        estimates.append(jackknifed(exponent(gradients), left_out))
    truth = np.mean([estimate.value for estimate in estimates])
    intervals = [estimate.interval(0.95) for estimate in estimates]
    assert np.mean([low <= truth <= high for low, high in intervals]) >= 0.93
    # On the large side, as the inequality has it, but not endless.
    assert 1 < np.mean([e.standard_error for e in estimates]) / np.std([e.value for e in estimates]) < 3.5


def test_intervals_of_a_run_cover_what_other_minibatches_give():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    data = torch.randn(400, 6), torch.randint(3, (400,))
    problem = gl.Problem(model, nn.functional.cross_entropy, data)
    runs = [gl.analyze(problem, 60, 2, k=18, gaussian_k=12, seed=seed, replacement=True) for seed in range(60)]
    checked = 0
    for quantity in QUANTITIES:
        values = [quantity.of(run) for run in runs]
        if all(value.estimate is not None for value in values):
            truth = np.mean([value.value for value in values])
            intervals = [value.estimate.interval(0.95) for value in values]
            covered = np.mean([low <= truth <= high for low, high in intervals])
            assert covered >= 0.88, (quantity.name, covered)  # 60 runs: three standard deviations below 0.95
            checked += 1
    assert checked >= 6
