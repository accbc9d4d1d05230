"""The noise scale of a run against its definition, gradients at fixed parameters, and simulations."""

import json

import numpy as np
import pytest
import torch
from scipy import stats

import gradlaw as gl
from gradlaw.errors import InputError
from gradlaw.watch.noise_scale import NoiseScaleAccumulator, estimates


def step_of(parts, sizes, weights=None):
    """The arguments of ``add`` for parts of shape (parts, dimensions) as one layer."""
    w = np.asarray(sizes if weights is None else weights, dtype=float)
    whole = w / w.sum() @ parts
    return (parts**2).sum(axis=1), sizes, (whole**2).sum(), np.sum(sizes), weights


def collected(steps, **arguments):
    noise = NoiseScaleAccumulator(["layer"], **arguments)
    for step in steps:
        noise.add(*step)
    return noise


def test_equal_parts_give_the_formulas_of_mccandlish():
    rng = np.random.default_rng(0)
    small, large = rng.random((10, 4)) + 1, rng.random(10)
    noise = collected([(s, 8, b, 32) for s, b in zip(small, large, strict=True)]).estimate()["layer"]
    signal = (32 * large - 8 * small.mean(axis=1)) / (32 - 8)
    trace = (small.mean(axis=1) - large) / (1 / 8 - 1 / 32)
    assert noise.mean_square_unbiased.value == pytest.approx(signal.mean(), rel=1e-12)
    assert noise.sample_trace.value == pytest.approx(trace.mean(), rel=1e-12)
    assert noise.noise_scale_unbiased.value == pytest.approx(trace.mean() / signal.mean(), rel=1e-12)
    assert noise.sample_trace.standard_error == pytest.approx(stats.sem(trace), rel=1e-12)
    ratios = [np.delete(trace, i).mean() / np.delete(signal, i).mean() for i in range(10)]
    assert noise.noise_scale_unbiased.standard_error == pytest.approx(3 * np.std(ratios), rel=1e-10)


def test_parts_of_one_sample_give_what_gradient_noise_finds_at_fixed_parameters():
    # One step of all samples is the history of batch size 1.
    samples = 1 + np.random.default_rng(0).standard_normal((40, 7)) * np.arange(1, 8)
    step = collected([step_of(samples, np.ones(40))]).estimate()["layer"]
    history = gl.gradient_noise(samples, batch_size=1)
    for name in ("sample_trace", "mean_square_unbiased", "noise_scale_unbiased"):
        assert getattr(step, name).value == pytest.approx(getattr(history, name).value, rel=1e-12), name
    of_data = collected([step_of(samples, np.ones(40))], samples=40).estimate()["layer"]
    assert of_data.mean_square_unbiased.value == pytest.approx((samples.mean(axis=0) ** 2).sum(), rel=1e-12)


@pytest.mark.parametrize("weights", [None, (1, 1, 1)])
def test_parts_of_any_sizes_are_unbiased(weights):
    # |g|^2 = 5, tr Sigma = 20, and parts of 1, 3 and 12 samples.
    rng, sizes = np.random.default_rng(1), np.array([1, 3, 12])
    parts = 1 + 2 * rng.standard_normal((8000, 3, 5)) / np.sqrt(sizes)[:, None]
    noise = collected([step_of(part, sizes, weights) for part in parts]).estimate()["layer"]
    for estimate, truth in ((noise.mean_square_unbiased, 5), (noise.sample_trace, 20), (noise.noise_scale_unbiased, 4)):
        assert abs(estimate.value - truth) < 3.5 * estimate.standard_error < 0.2 * truth


def test_parts_that_are_some_of_the_batch_are_unbiased():
    rng = np.random.default_rng(2)
    samples = 1 + 2 * rng.standard_normal((8000, 16, 5))
    whole = (samples.mean(axis=1) ** 2).sum(axis=1)
    steps = [((one[:4].mean(axis=0) ** 2).sum()[None], 4, big, 16) for one, big in zip(samples, whole, strict=True)]
    noise = collected(steps).estimate()["layer"]
    for estimate, truth in ((noise.mean_square_unbiased, 5), (noise.sample_trace, 20)):
        assert abs(estimate.value - truth) < 3.5 * estimate.standard_error < 0.2 * truth


def test_the_whole_is_the_sum_of_its_layers():
    rng = np.random.default_rng(3)
    parts = 1 + rng.standard_normal((30, 4, 9))
    layers = NoiseScaleAccumulator(["a", "b"])
    for part in parts:
        squares, whole = part**2, part.mean(axis=0) ** 2
        split = [np.add.reduceat(values, [0, 4], axis=-1) for values in (squares, whole)]
        layers.add(torch.tensor(split[0]), 2, torch.tensor(split[1]), 8)
    found = layers.estimate()
    alone = collected([step_of(part, np.full(4, 2)) for part in parts]).estimate()["layer"]
    assert list(found) == ["all", "a", "b"]
    assert found["all"].interval == pytest.approx(alone.interval, rel=1e-9)
    assert found["all"].noise_scale_unbiased == pytest.approx(alone.noise_scale_unbiased, rel=1e-9)
    assert found["a"].sample_trace.value + found["b"].sample_trace.value == pytest.approx(alone.sample_trace.value)
    frame = layers.to_frame()
    assert frame.loc["b", "noise_scale_unbiased"] == found["b"].noise_scale_unbiased.value
    assert json.dumps(found["a"].scalars())


@pytest.mark.parametrize("draw", ["gauss", "t4"])
@pytest.mark.parametrize("ratio", [3, 300])
def test_the_interval_covers_the_truth(draw, ratio):
    # 1,000 runs as layers; bench/noise_scale_coverage.py has more of them. Microbatches of 8 samples.
    rng, runs, parts, samples, dimensions = np.random.default_rng(4), 1000, 4, 8, 16
    rows = []
    for _ in range(30):
        shape = (parts, samples, runs, dimensions)
        noise = rng.standard_normal(shape) if draw == "gauss" else rng.standard_t(4, shape) / np.sqrt(2)
        g = noise.mean(axis=1) / np.sqrt(dimensions) + np.sqrt(1 / ratio / dimensions)
        small, big = (g**2).sum(axis=2).mean(axis=0), (g.mean(axis=0) ** 2).sum(axis=1)
        trace = (small - big) / (1 / samples - 1 / (samples * parts))
        rows.append([trace, big - trace / (samples * parts)])
    limits = np.array([found.interval for found in estimates(np.array(rows), 0.95)])
    assert abs(((limits[:, 0] <= ratio) & (ratio <= limits[:, 1])).mean() - 0.95) < 0.02


def test_slow_changes_of_the_truth_are_covered():
    # Signal falls and noise grows sixfold; the truth is the mean over the steps.
    rng, hits, steps = np.random.default_rng(5), [], 100
    way = np.linspace(0, 1, steps)
    signal, trace = 6.0 ** (1 - way), 2 * 6.0**way
    truth = trace.mean() / signal.mean()
    for _ in range(100):
        noise = rng.standard_normal((steps, 4, 12)) * np.sqrt(trace / 12)[:, None, None]
        parts = np.sqrt(signal / 12)[:, None, None] + noise
        low, high = collected([step_of(part, np.ones(4)) for part in parts]).estimate()["layer"].interval
        hits.append(low <= truth <= high)
    assert np.mean(hits) > 0.98


def test_blocks_average_steps_that_go_together():
    rng = np.random.default_rng(6)
    level = np.repeat(rng.standard_normal(40), 10)
    parts = (2 + 0.3 * level)[:, None, None] + 0.1 * rng.standard_normal((400, 4, 5))
    noise = collected([step_of(part, np.ones(4)) for part in parts])
    single, blocks = noise.estimate()["layer"], noise.estimate(block=10)["layer"]
    assert (single.blocks, blocks.blocks, blocks.steps) == (400, 40, 400)
    assert blocks.mean_square_unbiased.value == pytest.approx(single.mean_square_unbiased.value)
    assert blocks.mean_square_unbiased.standard_error > 2.5 * single.mean_square_unbiased.standard_error
    assert single.autocorrelation > 0.2
    assert abs(blocks.autocorrelation) < 0.4
    assert noise.estimate(block=11)["layer"].steps == 396


def test_a_signal_that_is_lost_has_no_upper_limit():
    rng = np.random.default_rng(7)
    parts = rng.standard_normal((60, 4, 30))
    found = collected([step_of(part, np.ones(4)) for part in parts]).estimate()["layer"]
    assert found.interval[0] > 4
    assert found.interval[1] == np.inf
    assert "not significantly above 0" in found.reason


def test_few_steps_have_no_interval():
    parts = 5 + np.random.default_rng(8).standard_normal((19, 4, 30))
    noise = collected([step_of(part, np.ones(4)) for part in parts[:4]])
    assert noise.estimate()["layer"].interval is None
    assert noise.estimate()["layer"].sample_trace.standard_error == np.inf
    assert "4 blocks are too few" in noise.estimate()["layer"].reason
    found = collected([step_of(part, np.ones(4)) for part in parts]).estimate()["layer"]
    assert found.interval[1] < 100
    assert "19 blocks are few" in found.reason


def test_no_noise_at_all():
    found = collected([step_of(np.ones((2, 3)), np.ones(2))] * 30).estimate()["layer"]
    assert found.interval == (0, 0)
    assert found.noise_scale_unbiased == (0, 0)


def test_norms_that_are_not_finite_are_left_out():
    noise = collected([(np.array([np.inf, 1]), 1, np.nan, 2), step_of(np.eye(2), np.ones(2))])
    assert (len(noise), noise.skipped) == (1, 1)
    with pytest.raises(InputError, match=r"no step was added yet.*1 had norms"):
        collected([(np.array([np.inf, 1]), 1, np.nan, 2)]).estimate()


def test_it_goes_on_where_it_was():
    steps = [step_of(part, np.ones(4)) for part in 1 + np.random.default_rng(9).standard_normal((30, 4, 6))]
    first = collected(steps[:20], window=25)
    second = NoiseScaleAccumulator(["layer"], window=25)
    second.load_state_dict(first.state_dict())
    for step in steps[20:]:
        second.add(*step)
    assert second.estimate() == collected(steps[5:]).estimate()
    with pytest.raises(InputError, match="the state is of layers"):
        NoiseScaleAccumulator(["other"]).load_state_dict(first.state_dict())


def test_norms_of_no_batch_are_refused():
    noise = NoiseScaleAccumulator(["a", "b"])
    with pytest.raises(InputError, match=r"layer 'b'.*accumulation"):
        noise.add(np.ones((4, 2)), 1, np.array([1.0, 16.0]), 4)
    noise.add(np.ones((4, 2)), 1, np.array([1.0, 1 + 1e-7]), 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 3)), 1, np.ones(2), 2), "shapes"),
        ((np.ones((2, 2)), 1, np.ones(3), 2), "shapes"),
        ((np.ones((2, 2)), 2, np.ones(2), 3), "do not divide"),
        ((np.ones((1, 2)), 2, np.ones(2), 2), "do not divide"),
        ((np.ones((2, 2)), [1, 0], np.ones(2), 1), "small_batch"),
        ((np.ones((2, 2)), [1, 1, 1], np.ones(2), 3), "small_batch"),
        ((np.ones((2, 2)), 1, np.ones(2), 3, [1, 1]), "weights are of parts"),
        ((np.ones((2, 2)), 1, np.ones(2), 2, [1, -1]), "weights must be"),
    ],
)
def test_wrong_steps_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        NoiseScaleAccumulator(["a", "b"]).add(*arguments)


def test_wrong_settings_are_refused():
    for settings in (([],), (["a", "a"],), (["all"],), (["a"], 0), (["a"], None, 1), (["a"], None, None, 0)):
        with pytest.raises(InputError):
            NoiseScaleAccumulator(*settings)
    noise = collected([step_of(np.eye(2), np.ones(2))] * 6)
    for settings in ((1.5,), (0.95, 0), (0.95, 7)):
        with pytest.raises(InputError):
            noise.estimate(*settings)
