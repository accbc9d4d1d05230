"""Signal and noise are unbiased, for draws with replacement and by epochs, and intervals hold their level."""

import numpy as np
import pytest
import torch

from gradlaw.batch_size.by_layer import inverse_of
from gradlaw.batch_size.forms import signal_and_noise, two_batch_sizes
from gradlaw.batch_size.scale import noise_scale_of
from gradlaw.minibatches import Minibatches
from gradlaw.spectra.noise import Estimate, noise_of_sums


def population(samples: int, dimensions: int, mean: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    return mean + rng.standard_normal((samples, dimensions)) * np.arange(1, dimensions + 1)


def groups_of(gradients: np.ndarray, size: int) -> np.ndarray:
    return gradients.reshape(-1, size, gradients.shape[1]).mean(axis=1)


@pytest.mark.parametrize(("replacement", "size"), [(False, 1), (False, 4), (True, 4), (False, 5)])
def test_both_are_unbiased_under_any_symmetric_matrix(replacement, size):
    samples, batch_size, iterations = 60, 5, 20  # of 12 iterations an epoch: groups lie across epochs
    of_samples = population(samples, 3, 0.7)
    matrix = np.array([[1.0, 0.4, 0.0], [0.4, -0.5, 0.2], [0.0, 0.2, 0.8]])
    mean = of_samples.mean(axis=0)
    signal, noise = mean @ matrix @ mean, np.trace(matrix @ np.cov(of_samples.T, ddof=0 if replacement else 1))
    found = []
    for seed in range(600):
        drawn = Minibatches(samples, batch_size, iterations, seed, replacement)
        means = groups_of(np.stack([of_samples[batch].mean(axis=0) for batch in drawn]), size)
        estimates = signal_and_noise(means @ matrix @ means.T, size, batch_size, None if replacement else samples)
        found.append((estimates.signal.value, estimates.noise.value))
    error = np.std(found, axis=0) / np.sqrt(len(found))
    np.testing.assert_array_less(np.abs(np.mean(found, axis=0) - (signal, noise)), 3.5 * error)


def test_whole_epochs_have_the_gradient_of_the_data_set_as_signal():
    of_samples = population(60, 3, 0.7)
    drawn = np.stack([of_samples[batch].mean(axis=0) for batch in Minibatches(60, 5, 24, 0)])
    means = groups_of(drawn, 2)
    mean = of_samples.mean(axis=0)
    assert signal_and_noise(means @ means.T, 2, 5, 60).signal.value == pytest.approx(mean @ mean, rel=1e-12)


def test_two_batch_sizes_are_the_published_formulas():
    rng = np.random.default_rng(0)
    gradients = 0.5 + rng.standard_normal((40, 6))
    means = groups_of(gradients, 4)
    small = np.square(gradients).sum(axis=1).reshape(-1, 4).mean(axis=1)
    big = np.square(means).sum(axis=1)
    found = two_batch_sizes(small, big, size=4, batch_size=8)
    signal = (32 * big.mean() - 8 * small.mean()) / (32 - 8)
    noise = (small.mean() - big.mean()) / (1 / 8 - 1 / 32)
    np.testing.assert_allclose(
        (found.signal.value, found.noise.value, found.inverse.value), (signal, noise, signal / noise)
    )


@pytest.mark.parametrize(("strength", "most"), [(0.5, 0.97), (0.05, 1.0), (0.0, 1.0)])
def test_intervals_of_the_noise_scale_hold_their_level(strength, most):
    """Where the mean is lost in noise the jackknife errs on the large side (Efron and Stein 1981)."""
    batch_size, iterations, dimensions, runs = 4, 120, 30, 600
    truth = dimensions / (dimensions * strength**2) if strength else np.inf
    rng, covered = np.random.default_rng(0), {"history": 0, "two": 0}
    for _ in range(runs):
        gradients = strength + rng.standard_normal((iterations, dimensions)) / np.sqrt(batch_size)
        squares, sums = np.square(gradients).sum(axis=1), gradients @ gradients.sum(axis=0)
        estimates, _ = noise_of_sums(torch.from_numpy(squares), torch.from_numpy(sums), batch_size)
        means = groups_of(gradients, 4)
        two = two_batch_sizes(squares.reshape(-1, 4).mean(axis=1), np.square(means).sum(axis=1), 4, batch_size)
        for name, inverse in {"history": inverse_of(estimates), "two": two.inverse}.items():
            scale = noise_scale_of(inverse, iterations - 1 if name == "history" else 29, 0.95)
            covered[name] += scale.low <= truth <= scale.high
    assert 0.93 <= covered["history"] / runs <= most
    assert 0.93 <= covered["two"] / runs <= most


def test_an_interval_reaches_infinity_where_there_is_no_signal():
    assert noise_scale_of(Estimate(0.1, 0.02), 1000, 0.95).has_signal
    lost = noise_scale_of(Estimate(0.01, 0.02), 1000, 0.95)
    assert (lost.value, lost.high) == (pytest.approx(100), np.inf)
    assert 18 < lost.low < 23  # 1 / (0.01 + 1.96 * 0.02)
    nothing = noise_scale_of(Estimate(-0.2, 0.02), 1000, 0.95)
    assert (nothing.value, nothing.low, nothing.high) == (np.inf, np.inf, np.inf)
