"""The noise scale in a watch: that of the accumulator fed with plain autograd's squared norms, step by step."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gradlaw as gl
from gradlaw.watch import Microbatches, NoiseScaleAccumulator, Samples
from watched_loops import batches, network

NAMES = ["0", "2", "3", "4"]


def squares(model: nn.Module, loss: torch.Tensor) -> list[float]:
    """Squared norms of the gradient of each layer, by ``autograd.grad``."""
    parts = [list(model.get_submodule(name).parameters()) for name in NAMES]
    gradients = torch.autograd.grad(loss, [p for part in parts for p in part], retain_graph=True)
    at = iter(gradients)
    return [sum(float(next(at).double().square().sum()) for _ in part) for part in parts]


def test_microbatches(tmp_path):
    model = network().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    gl.watch(
        model, optimizer, log=tmp_path / "log.jsonl", every=4, noise=Microbatches(2, 16), noise_every=2, noise_window=5
    )
    expected, data, twin = NoiseScaleAccumulator(NAMES, window=5), iter(batches(26)), network().double()
    for step in range(13):
        optimizer.zero_grad()
        pairs = [(inputs.double(), labels) for inputs, labels in (next(data), next(data))]
        if step % 2 == 0:
            twin.load_state_dict(model.state_dict())
            losses = [F.cross_entropy(twin(inputs), labels) for inputs, labels in pairs]
            small = [squares(twin, loss) for loss in losses]
            expected.add(small, 16, squares(twin, (losses[0] + losses[1]) / 2), 32)
        for inputs, labels in pairs:
            (F.cross_entropy(model(inputs), labels) / 2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
    frame = gl.read_watch(tmp_path / "log.jsonl").noise()
    assert frame.groupby("step").steps.first().to_dict() == {0: 1, 4: 3, 8: 5, 12: 5}
    last = frame[frame.step == 12].set_index("layer")
    for layer, found in expected.estimate().items():
        for name in ("noise_scale_unbiased", "sample_trace", "mean_square_unbiased_error", "interval_low"):
            assert last.loc[layer, name] == pytest.approx(found.scalars()[name], rel=1e-6), (layer, name)
    assert frame.loc[frame.step == 0, "noise_scale_unbiased_error"].eq(np.inf).all()
    assert set(frame.source) == {"microbatches"}


def test_single_samples_under_a_loss_scale():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    watch = gl.watch(model, optimizer, log=None, every=1, scaler=scaler, noise=Samples(("0", "3"), 16))
    expected, twin = NoiseScaleAccumulator(NAMES), network()
    for inputs, labels in batches(6):
        optimizer.zero_grad()
        twin.load_state_dict(model.state_dict())
        each = [F.cross_entropy(twin(inputs[i : i + 1]), labels[i : i + 1]) for i in range(16)]
        expected.add([squares(twin, loss) for loss in each], 1, squares(twin, torch.stack(each).mean()), 16)
        scaler.scale(F.cross_entropy(model(inputs), labels)).backward()
        scaler.step(optimizer)
        scaler.update()
    found = watch.last["noise"]["layers"]
    assert list(found) == ["all", "0", "3"]
    for layer in ("0", "3"):
        known = expected.estimate()[layer].scalars()
        for name in ("noise_scale_unbiased", "sample_trace"):
            assert found[layer][name] == pytest.approx(known[name], rel=1e-3)


def test_a_step_that_cannot_be_measured_says_why_and_trains_on():
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    watch = gl.watch(model, optimizer, log=None, every=1, noise=Microbatches(2, 16))
    inputs, labels = batches(1)[0]
    F.cross_entropy(model(inputs), labels).backward()
    with pytest.warns(UserWarning, match="no noise scale of this step: .* not those of 2 microbatches"):
        optimizer.step()
    assert watch.last["noise"]["refused"] == 1
    assert "got 1 gradients" in watch.last["noise"]["reason"]
    assert "layers" not in watch.last["noise"]
    assert watch.last["gradient"]["change"] == "unmodified"


def test_the_noise_scale_goes_on_from_a_checkpoint():
    def step() -> None:
        optimizer.zero_grad()
        for inputs, labels in batches(2):
            (F.cross_entropy(model(inputs), labels) / 2).backward()
        optimizer.step()

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    arguments = {"log": None, "every": 1, "noise": Microbatches(2, 16)}
    watch = gl.watch(model, optimizer, **arguments)
    for _ in range(3):
        step()
    watch.close()
    again = gl.watch(model, optimizer, **arguments, start=3)
    again.load_state_dict(watch.state_dict())
    step()
    assert again.last["noise"]["steps"] == 4
