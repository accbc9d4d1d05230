import math

import numpy as np
import pytest
import torch

import gradlaw as gl
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.spectra.noise import gradient_noise, gradient_noise_by_layer, noise_of_gram

ESTIMATES = (
    "trace",
    "sample_trace",
    "mean_square",
    "mean_square_unbiased",
    "noise_scale",
    "noise_scale_unbiased",
    "signal_to_noise",
    "stable_rank",
    "participation_ratio",
    "participation_ratio_corrected",
)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # thousands of tiny matrices
    yield
    torch.set_num_threads(threads)


def _gradients(iterations, dimensions, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((iterations, dimensions)) * np.arange(1, dimensions + 1) ** -0.7 + 0.4


def _dense(gradients, batch_size):
    """Everything that has a plain formula, from the n x n covariance."""
    iterations = len(gradients)
    mean = gradients.mean(axis=0)
    centred = gradients - mean
    c = centred.T @ centred / iterations
    trace = np.trace(c) * iterations / (iterations - 1)
    unbiased = mean @ mean - trace / iterations
    return {
        "trace": trace,
        "sample_trace": batch_size * trace,
        "mean_square": mean @ mean,
        "mean_square_unbiased": unbiased,
        "noise_scale": batch_size * trace / (mean @ mean),
        "noise_scale_unbiased": batch_size * trace / unbiased,
        "signal_to_noise": unbiased / trace,
        "stable_rank": np.trace(c) / np.linalg.norm(c, 2),
        "participation_ratio": np.trace(c) ** 2 / np.sum(c**2),
    }


def _jackknife(gradients, batch_size, statistic=_dense):
    without = [statistic(np.delete(gradients, i, axis=0), batch_size) for i in range(len(gradients))]
    scale = math.sqrt(len(gradients) - 1)
    return {name: scale * np.std([row[name] for row in without]) for name in without[0]}


@pytest.mark.parametrize("shape", [(30, 80), (60, 10), (6, 4)])
def test_equals_the_dense_formulas_and_an_explicit_jackknife(shape):
    gradients = _gradients(*shape)
    noise = gradient_noise(gradients, batch_size=7)
    expected, errors = _dense(gradients, 7), _jackknife(gradients, 7)
    for name, value in expected.items():
        estimate = getattr(noise, name)
        assert estimate.value == pytest.approx(value, rel=1e-10), name
        if name != "stable_rank" and math.isfinite(estimate.standard_error):
            assert estimate.standard_error == pytest.approx(errors[name], rel=1e-8), name
    assert not noise.degenerate


def test_stable_rank_error_is_close_to_an_explicit_jackknife():
    # Left-one-out eigenvalues come from first-order perturbation.
    gradients = _gradients(200, 40)
    error = gradient_noise(gradients, 1).stable_rank.standard_error
    assert error == pytest.approx(_jackknife(gradients, 1)["stable_rank"], rel=0.05)


def _distinct_quadruples(gradients):
    """Unbiased tr Sigma^2 by its definition, over all distinct i, j, k, l."""
    k = gradients @ gradients.T
    t = len(k)
    terms = [
        k[i, j] ** 2 - 2 * k[i, j] * k[j, m] + k[i, j] * k[m, q]
        for i in range(t)
        for j in range(t)
        for m in range(t)
        for q in range(t)
        if len({i, j, m, q}) == 4
    ]
    return np.mean(terms)


def _corrected(gradients, batch_size):
    trace = gradients.var(axis=0, ddof=1).sum()
    return {"participation_ratio_corrected": trace**2 / _distinct_quadruples(gradients)}


def test_corrected_participation_ratio_by_its_definition():
    gradients = _gradients(9, 4)
    estimate = gradient_noise(gradients, 1).participation_ratio_corrected
    assert estimate.value == pytest.approx(_corrected(gradients, 1)["participation_ratio_corrected"], rel=1e-9)
    errors = _jackknife(gradients, 1, _corrected)
    assert estimate.standard_error == pytest.approx(errors["participation_ratio_corrected"], rel=1e-8)


def test_unbiased_where_they_say_so():
    # Standard Gaussians in 40 dimensions, mean square 2: tr S = 40, participation ratio 40 (12 measured, at T = 16).
    rng = np.random.default_rng(0)
    mean = np.full(40, math.sqrt(0.05))
    runs = [gradient_noise(rng.standard_normal((16, 40)) + mean, 5) for _ in range(600)]
    for name, value in (
        ("trace", 40),
        ("sample_trace", 200),
        ("mean_square_unbiased", 2),
        ("mean_square", 2 + 40 / 16),
    ):
        values = np.array([getattr(run, name).value for run in runs])
        assert abs(values.mean() - value) < 4 * values.std() / math.sqrt(len(runs)), name
        errors = np.array([getattr(run, name).standard_error for run in runs])
        most = 1.1 if "trace" in name else 1.35
        assert 0.9 < np.sqrt((errors**2).mean()) / values.std() < most, name
    inverse = np.array([1 / run.participation_ratio_corrected.value for run in runs])
    assert inverse.mean() == pytest.approx(1 / 40, rel=0.05)
    assert np.mean([run.participation_ratio.value for run in runs]) < 15


def _linear_regression():
    """The exact gradients of every sample of a linear model, and its noise scale by enumeration."""
    rng = np.random.default_rng(1)
    inputs, theta = rng.standard_normal((24, 3)), np.array([1.0, -1.0, 0.5])
    samples = (inputs @ theta - rng.standard_normal(24) - 1)[:, None] * inputs
    mean = samples.mean(axis=0)
    return samples, np.trace(np.cov(samples.T)), mean @ mean


# Of batches of 5, four samples of each epoch are dropped; one of 20 or 23 is an epoch.
@pytest.mark.parametrize(("batch_size", "epochs"), [(1, 0.75), (3, 1), (3, 2.5), (5, 2.5), (20, 30), (23, 30)])
def test_shuffled_epochs_are_corrected_for(batch_size, epochs):
    samples, sample_trace, mean_square = _linear_regression()
    rng = np.random.default_rng(2)
    per_epoch = 24 // batch_size
    iterations = max(5, round(epochs * per_epoch))
    found = []
    for _ in range(500):
        orders = [rng.permutation(24)[: per_epoch * batch_size] for _ in range(-(-iterations // per_epoch))]
        batches = np.concatenate(orders).reshape(-1, batch_size)[:iterations]
        noise = gradient_noise(samples[batches].mean(axis=1), batch_size, samples=24)
        found.append((noise.sample_trace.value, noise.mean_square_unbiased.value))
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / math.sqrt(len(found))
    expected = np.array([sample_trace, mean_square])
    assert (np.abs(mean - expected) < 4 * error + 1e-12 * expected).all()


def test_one_epoch_of_single_samples_is_enumeration():
    samples, sample_trace, mean_square = _linear_regression()
    noise = gradient_noise(samples, 1, samples=24)
    assert noise.sample_trace.value == pytest.approx(sample_trace, rel=1e-12)
    assert noise.mean_square_unbiased.value == pytest.approx(mean_square, rel=1e-12)
    assert noise.noise_scale_unbiased.value == pytest.approx(sample_trace / mean_square, rel=1e-12)


def test_independent_draws_of_a_linear_regression():
    samples, sample_trace, mean_square = _linear_regression()
    rng = np.random.default_rng(3)
    noise = gradient_noise(samples[rng.integers(24, size=(1000, 4))].mean(axis=1), 4)
    population = sample_trace * 23 / 24 / mean_square
    scale = noise.noise_scale_unbiased
    assert abs(scale.value - population) < 4 * scale.standard_error
    assert scale.standard_error < 0.2 * population


def test_a_mean_that_is_lost_in_noise_has_an_infinite_scale():
    gradients = np.random.default_rng(4).standard_normal((50, 30))
    gradients -= gradients.mean(axis=0)
    noise = gradient_noise(gradients, 2)
    assert noise.mean_square_unbiased.value < 0
    assert noise.noise_scale_unbiased == (math.inf, math.inf)
    assert noise.signal_to_noise.value < 0


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_gradients_without_noise_are_degenerate(mean):
    noise = gradient_noise(np.full((10, 4), mean), 3)
    assert noise.degenerate
    zero = dict.fromkeys(ESTIMATES, 0.0) | {"mean_square": 4 * mean, "mean_square_unbiased": 4 * mean}
    zero["signal_to_noise"] = math.inf if mean else 0.0
    assert {name: getattr(noise, name).value for name in ESTIMATES} == zero


def test_full_batches_of_a_problem_say_nothing(small_problem):
    history = gl.collect(small_problem, 20, small_problem.samples)
    with pytest.raises(gl.InputError, match="batch_size=64 of 64 samples: every gradient is of the whole data set"):
        gradient_noise(history)
    assert noise_of_gram(gram_matrix(history.gradients), 64, rounding=history.rounding).degenerate


@pytest.mark.parametrize("replacement", [False, True])
def test_a_history_knows_how_it_was_drawn(small_problem, replacement):
    history = gl.collect(small_problem, 40, 4, replacement=replacement)
    expected = gradient_noise(history.gradients, 4, samples=None if replacement else 64)
    other = gradient_noise(history.gradients, 4, samples=64 if replacement else None)
    assert gradient_noise(history).sample_trace == expected.sample_trace != other.sample_trace
    frame = gradient_noise_by_layer(history)
    assert frame.loc[("model", "all"), "sample_trace"] == pytest.approx(expected.sample_trace.value, rel=1e-9)


def test_layers_add_up(small_problem):
    history = gl.collect(small_problem, 40, 4)
    frame = gradient_noise_by_layer(history, samples=small_problem.samples)
    assert list(frame.index) == [("model", "all")] + [("tensor", part.name) for part in history.layout]
    whole = gradient_noise(history, samples=small_problem.samples)
    for name, value in whole.scalars().items():
        assert frame.loc[("model", "all"), name] == pytest.approx(value, rel=1e-9), name
    for name in ("trace", "sample_trace", "mean_square", "mean_square_unbiased"):
        assert frame.loc["tensor", name].sum() == pytest.approx(frame.loc[("model", "all"), name], rel=1e-9)
    part = history.layout[1]
    alone = gradient_noise(history.gradients[:, part.start : part.stop], 4, small_problem.samples)
    assert frame.loc[("tensor", part.name), "stable_rank"] == pytest.approx(alone.stable_rank.value)
    assert not frame.isna().any().any()


def test_gram_at_hand(small_problem):
    history = gl.collect(small_problem, 20, 4)
    gram = gram_matrix(history.gradients)
    assert gradient_noise(history, gram=gram).trace == gradient_noise(history).trace
    assert noise_of_gram(gram, 4).batch_size == 4
    assert gradient_noise(history).batch_size == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "pass batch_size"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": 9, "samples": 9}, "batch_size=9 of 9 samples"),
        ({"history": np.ones((4, 3)), "batch_size": 1}, "at least 5 iterations, got 4"),
        ({"batch_size": 1, "gram": torch.eye(3)}, "Gram matrix of 10 iterations"),
        ({"history": np.full((10, 3), np.inf), "batch_size": 1}, "is inf"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(gl.InputError, match=message):
        gradient_noise(**({"history": _gradients(10, 3)} | arguments))


def test_arrays_have_no_layers():
    with pytest.raises(gl.InputError, match="layers need a GradientHistory"):
        gradient_noise_by_layer(_gradients(10, 3), 1)
