"""The critical batch size of problems whose noise scales are known, and the cautions that their numbers call for."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import gradlaw as gl

SCALES = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)  # the Hessian, a diagonal matrix


class Point(nn.Module):
    """Its loss is (1/2) (theta - x)^T A (theta - x): gradients A (theta - x), Hessian A."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return ((self.theta - x).square() * SCALES).sum(dim=1) / 2


def mean(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.mean()


def points(shift: float = 0.4, samples: int = 1200) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return shift + torch.randn(samples, 3, generator=rng, dtype=torch.float64)


def problem(x: Tensor) -> gl.Problem:
    return gl.Problem(Point(), mean, (x, x[:, 0]))


def method(found: gl.CriticalBatchSize, name: str):
    return next(m for m in found.methods if m.method == name)


def caution(found: gl.CriticalBatchSize, name: str):
    return next(c for c in found.cautions if c.name == name)


def test_a_quadratic_has_the_noise_scales_and_the_learning_rate_of_its_formulas():
    x = points()
    found = gl.critical_batch_size(problem(x), iterations=1200, batch_size=2)  # two whole epochs
    gradients = -(x * SCALES).numpy()
    g, covariance, hessian = gradients.mean(axis=0), np.cov(gradients.T), np.diag(SCALES.numpy())
    weighted = np.trace(hessian @ covariance) / (g @ hessian @ g)
    scale, of_hessian = found.noise_scale, method(found, "Hessian-weighted").noise_scale
    assert found.layers.loc[("model", "all"), "signal"] == pytest.approx(g @ g, rel=1e-9)
    assert scale.value == pytest.approx(np.trace(covariance) / (g @ g), rel=0.05)
    assert of_hessian.value == pytest.approx(weighted, rel=0.3)
    assert of_hessian.low < weighted < of_hessian.high
    assert found.best_rate == pytest.approx((g @ g) / (g @ hessian @ g), rel=1e-6)
    two = method(found, "two batch sizes").noise_scale
    assert two.low < np.trace(covariance) / (g @ g) < two.high


def test_layers_are_modules_and_add_up_to_the_model():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3))
    data = torch.randn(400, 6), torch.randint(3, (400,))
    found = gl.critical_batch_size(gl.Problem(model, nn.functional.cross_entropy, data), 200, 4, in_use=64)
    layers = found.layers
    assert list(layers.loc["layer"].index) == ["0", "1", "3"]
    assert list(layers.loc["layer type"].index) == ["Linear", "LayerNorm"]
    for column in ("dimensions", "signal", "noise"):
        assert layers.loc["layer", column].sum() == pytest.approx(layers.loc[("model", "all"), column], rel=1e-6)
    norm, gray = layers.loc[("layer", "1")], method(found, "normalisation layers").noise_scale
    assert (gray.value, gray.low, gray.high) == (norm["noise_scale"], norm["low"], norm["high"])
    history = gl.collect(gl.Problem(model, nn.functional.cross_entropy, data), 200, 4)
    alone = gl.gradient_noise(history[:][:, 56:72], batch_size=4, samples=400)
    assert gray.value == pytest.approx(alone.noise_scale_unbiased.value, rel=1e-6)
    text = str(found)
    assert "In use: 64, which is" in text
    assert max(map(len, text.splitlines())) <= 80
    assert repr(found).startswith("CriticalBatchSize(Sequential, noise scale ")


def test_a_history_at_hand_is_taken_and_all_is_written(tmp_path):
    x = points()
    history = gl.collect(problem(x), 100, 4, seed=3)
    found = gl.critical_batch_size(problem(x), history=history)
    assert found == gl.critical_batch_size(problem(x), 100, 4, seed=3)
    found.save(tmp_path / "out")
    table = pd.read_csv(tmp_path / "out/batch_size.csv", index_col=[0, 1])
    pd.testing.assert_frame_equal(table, found.to_frame())
    record = json.loads((tmp_path / "out/batch_size.json").read_text())
    assert record["methods"][0]["noise_scale"]["value"] == found.noise_scale.value


def test_lost_signal_gives_a_lower_bound_and_says_so():
    found = gl.critical_batch_size(problem(points(shift=0.0)), 50, 2, in_use=8, learning_rate=0.1)
    lost = caution(found, "signal lost in noise")
    assert lost.applies is True
    assert math.isinf(found.noise_scale.high)
    assert "at least" in lost.text
    assert found.cautions[0].applies is True


def test_each_caution_is_raised_by_its_numbers():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(0.4 + rng.standard_t(2.2, size=(2000, 3)))
    found = gl.critical_batch_size(problem(x), 1000, 1, optimizer="AdamW", in_use=4, learning_rate=100.0)
    applying = {c.name for c in found.cautions if c.applies}
    assert {"heavy tails", "adaptive optimiser", "learning rate not tuned"} <= applying
    light = gl.critical_batch_size(problem(points()), 1000, 1, optimizer="sgd", in_use=4, learning_rate=0.3)
    checked = {c.name for c in light.cautions if c.applies is False}
    assert {"heavy tails", "adaptive optimiser", "learning rate not tuned", "signal lost in noise",
            "near a stationary point", "samples coupled by batch norm"} <= checked  # fmt: skip
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    data = points().float(), torch.randint(2, (1200,))
    coupled = gl.critical_batch_size(gl.Problem(model, nn.functional.cross_entropy, data), 40, 8)
    assert caution(coupled, "samples coupled by batch norm").applies is True
    assert "no gradients of single samples" in method(coupled, "normalisation layers").reason


def test_where_nothing_varies_there_is_no_noise_scale():
    found = gl.critical_batch_size(problem(torch.ones(50, 3, dtype=torch.float64)), 40, 2)
    assert found.noise_scale is None
    assert "any batch size gives the same gradient" in " ".join(str(found).split())


def test_curvature_that_noise_does_not_pay_for_has_no_weighted_noise_scale():
    class Saddle(Point):
        def forward(self, x: Tensor) -> Tensor:
            return -super().forward(x)

    x = points()
    found = gl.critical_batch_size(gl.Problem(Saddle(), mean, (x, x[:, 0])), 200, 2)
    weighted = method(found, "Hessian-weighted")
    assert weighted.noise_scale is None
    assert "not significantly above 0" in weighted.reason
    assert found.best_rate is None


def test_bad_input_is_refused():
    x = points()
    with pytest.raises(gl.InputError, match="at least 20"):
        gl.critical_batch_size(problem(x), 19, 2)
    with pytest.raises(gl.InputError, match="whole data set"):
        gl.critical_batch_size(problem(x), 100, 1200)
    clipped = gl.collect(problem(x), 40, 2, transforms=[gl.ClipByNorm(1.0)])
    with pytest.raises(gl.InputError, match="transformed"):
        gl.critical_batch_size(problem(x), history=clipped)
    other = gl.collect(gl.Problem(nn.Linear(3, 1).double(), nn.functional.mse_loss, (x, x[:, :1])), 40, 2)
    with pytest.raises(gl.InputError, match="other parameters"):
        gl.critical_batch_size(problem(x), history=other)
    with pytest.raises(gl.InputError, match="learning_rate must be positive"):
        gl.critical_batch_size(problem(x), 40, 2, learning_rate=0.0)
