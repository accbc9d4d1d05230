"""The numbers of a record are those of the same step's gradients, computed by other means in float64."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

import gradlaw as gl
from gradlaw.watch.flat import in_memory_order
from gradlaw.watch.layer_statistics import StatisticsSettings, gradient_statistics
from gradlaw.watch.read import MODEL
from gradlaw.watch.tail_scan import _scan_on_device, joined, scan
from watched_loops import by_module, network, train


def tail(values: Tensor, k: int) -> tuple[float, float, float]:
    """Exponent s, distance and share of the squared norm of the k largest magnitudes, by SciPy."""
    x = np.sort(values.abs().numpy())[-k:]
    beta = 1 + k / np.log(x / x[0]).sum()
    d_ks = scipy.stats.kstest(x, scipy.stats.pareto(b=beta - 1, scale=x[0]).cdf).statistic
    return 1 / (beta - 1), d_ks, float((x**2).sum() / values.square().sum())


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_log_has_the_statistics_of_the_gradients_of_each_step(tmp_path, accumulate):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    gl.watch(model, optimizer, log=tmp_path / "log.jsonl", every=2, k=300)
    received = train(model, optimizer, 5, accumulate)
    log = gl.read_watch(tmp_path / "log.jsonl")
    frame = log.to_frame().set_index(["step", "layer"])
    assert log.steps == [0, 2, 4]
    for step in log.steps:
        layers = by_module(received[step])
        for name, values in {MODEL: torch.cat(list(layers.values())), **layers}.items():
            row = frame.loc[step, name]
            assert row.n == len(values)
            assert row.norm == pytest.approx(float(values.norm()), rel=1e-12)
            assert row.largest == float(values.abs().max())
            assert row.largest_share == pytest.approx(float(values.abs().max() / values.norm()) ** 2, rel=1e-12)
            assert row.zero_share == float((values == 0).double().mean())
            assert row.k == min(300, len(values) // 3)
            assert (row.s, row.d_ks, row.tail_share) == pytest.approx(tail(values, int(row.k)), rel=1e-9)
            fit = gl.fit_power_law(values, k=int(row.k))
            assert row.p_value == pytest.approx(fit.p_value)
            share = gl.stats.false_alarm_rates(len(values), int(row.k))
            expected = None if share.published > 0.2 else fit.is_power_law
            assert row.is_power_law is expected or row.is_power_law == expected
            expected = None if share.calibrated > 0.2 else fit.is_power_law_calibrated
            assert row.is_power_law_calibrated is expected or row.is_power_law_calibrated == expected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["smooth", "sparse", "tied", "few"])
def test_the_scan_is_exact(kind, dtype):
    values = torch.randn(400_000, dtype=torch.float64).mul_(torch.rand(400_000))
    values = {
        "smooth": values,
        "sparse": values.where(torch.rand(400_000) < 1e-3, 0.0),
        "tied": values.sign().mul_(torch.rand(400_000).mul_(8).floor()),
        "few": values[:7],
    }[kind].to(dtype)
    parts = [part.clone() for part in values.split(150_001)]
    found = scan(parts, 1000)
    wide = values.double()
    assert found.n == len(values)
    assert found.zeros == int((values == 0).sum())
    assert found.squared_norm == pytest.approx(float(wide.square().sum()), rel=1e-12)
    np.testing.assert_array_equal(found.largest, wide.abs().topk(min(1000, len(values))).values.numpy())
    whole = joined([scan([part], 1000) for part in parts], 1000)
    assert (whole.n, whole.zeros, whole.squared_norm) == pytest.approx((found.n, found.zeros, found.squared_norm))
    np.testing.assert_array_equal(whole.largest, found.largest)


def test_a_device_finds_the_same():
    """By torch alone, here on the host."""
    parts = [torch.randn(30, 40), torch.randn(500).where(torch.rand(500) < 0.5, 0.0)]
    host, device = scan(parts, 100), _scan_on_device(parts, 100)
    assert (device.n, device.zeros, device.non_finite) == (host.n, host.zeros, 0)
    assert device.squared_norm == pytest.approx(host.squared_norm, rel=1e-12)
    np.testing.assert_array_equal(device.largest, host.largest)
    parts[0][3, 4] = math.inf
    assert (_scan_on_device(parts, 100).non_finite, len(_scan_on_device(parts, 100).largest)) == (1, 0)


def test_values_that_are_not_finite_are_counted_and_nothing_else_is_said():
    values = torch.randn(5000)
    values[7], values[4000], values[10] = math.nan, -math.inf, 0.0
    settings = StatisticsSettings(k=100, gaussian_k=100, alpha=0.05, seed=0)
    whole, bad, good = gradient_statistics([[values], [torch.ones(100)]], 1.0, 0, settings)
    assert bad == {"n": 5000, "zero_share": 1 / 5000, "non_finite_share": 2 / 5000}
    assert whole == {"n": 5100, "zero_share": 1 / 5100, "non_finite_share": 2 / 5100}
    assert (good["norm"], good["degenerate"]) == (10.0, True)


def test_a_gradient_that_is_scaled_gives_the_numbers_of_the_one_that_is_not():
    settings = StatisticsSettings(k=100, gaussian_k=100, alpha=0.05, seed=0)
    values = torch.randn(5000)
    plain = gradient_statistics([[values]], 1.0, 3, settings)
    scaled = gradient_statistics([[values * 2.0**16]], 2.0**16, 3, settings)
    assert scaled == plain


def test_gaussianity_is_tested_on_values_drawn_anew_at_each_step():
    """Of a Gaussian gradient 94.6% of the steps pass; of a uniform one hardly any."""
    settings = StatisticsSettings(k=100, gaussian_k=100, alpha=0.05, seed=0)
    rng = torch.Generator().manual_seed(3)
    normal, uniform = torch.randn(20_000, generator=rng), torch.rand(20_000, generator=rng)
    rows = [gradient_statistics([[normal], [uniform]], 1.0, step, settings) for step in range(300)]
    passed = np.array([[layer["gaussian_p_value"] > 0.05 for layer in (a, b)] for _, a, b in rows]).mean(axis=0)
    assert passed[0] == pytest.approx(0.946, abs=0.04)  # 3 standard errors
    assert passed[1] < 0.1
    assert len({a["gaussian_p_value"] for _, a, _ in rows}) == 300


def test_layers_are_modules_parameters_or_what_a_function_says():
    model, names = network(), {}
    for layers in ("module", "parameter", lambda name: "bias" if name.endswith("bias") else "weight"):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        watch = gl.watch(model, optimizer, log=None, layers=layers)
        received = train(model, optimizer, 1)[0]
        names[str(layers)[:5]] = watch.last["layers"]["n"]
        watch.close()
        total = math.sqrt(sum(float(g.double().square().sum()) for g in received.values()))
        assert watch.last["model"]["norm"] == pytest.approx(total, rel=1e-12)
    assert names == {
        "modul": [1260, 3660, 120, 244],
        "param": [1200, 60, 3600, 60, 60, 60, 240, 4],
        "<func": [1200 + 3600 + 60 + 240, 60 + 60 + 60 + 4],
    }


def test_a_gradient_in_another_memory_format_is_read_without_a_copy():
    weight = torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last)
    flat = in_memory_order(weight)
    assert flat.data_ptr() == weight.data_ptr()
    assert torch.equal(flat.sort().values, weight.reshape(-1).sort().values)
    assert torch.equal(in_memory_order(torch.tensor(3.0)), torch.tensor([3.0]))


def test_parameters_without_a_gradient_are_named_and_left_out():
    model = nn.ModuleDict({"used": nn.Linear(20, 4), "idle": nn.Linear(20, 4)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = gl.watch(model, optimizer, log=None)
    model["used"](torch.randn(8, 20)).square().mean().backward()
    optimizer.step()
    assert watch.last["gradient"]["without_gradient"] == ("idle.weight", "idle.bias")
    assert watch.last["layers"]["n"] == [84, 0]
    assert watch.last["layers"]["norm"][1] is None
    assert watch.last["gradient"]["change"] == "unmodified"
