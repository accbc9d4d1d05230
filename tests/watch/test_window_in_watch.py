"""The rolling window in a watch: its statistics are those of the same steps' gradients."""

import numpy as np
import pytest
import torch

import gradlaw as gl
from watched_loops import network, train


def run(log, steps: int, **arguments) -> tuple[gl.Watch, list[dict[str, torch.Tensor]]]:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    watch = gl.watch(model, optimizer, log=log, window=16, window_every=2, **arguments)
    return watch, train(model, optimizer, steps)


def test_the_window_is_of_the_gradients_that_the_optimiser_received(tmp_path):
    settings = {"every": 10, "window_coordinates": 10_000, "window_sketch": 8192}
    watch, received = run(tmp_path / "log.jsonl", 41, **settings)
    frame = gl.read_watch(tmp_path / "log.jsonl").window()
    assert frame.step.tolist() == [30, 40]  # full from step 30 on
    assert frame[["first_step", "last_step"]].values.tolist() == [[0, 30], [10, 40]]
    chosen = [torch.cat([g.double().reshape(-1) for g in received[step].values()]) for step in range(10, 41, 2)]
    history = torch.stack(chosen)
    tests = gl.gradient_tests(history, "iteration", k=5, gaussian_k=16, seed=0)
    last = frame.iloc[-1]
    assert last.coordinates == history.shape[1]
    assert last.gaussian_rate == pytest.approx(tests.gaussian_rate, abs=2e-3)  # float32 in the window
    assert last.mean_d_ks == pytest.approx(tests.mean_d_ks, rel=1e-4)
    centred = history - history.mean(dim=0)
    exact = torch.linalg.eigvalsh(centred @ centred.T / 16).flip(0).numpy()
    np.testing.assert_allclose(last.eigenvalues, exact[:10], rtol=last.eigenvalue_error)
    x = centred
    autocorrelation = ((x[1:] * x[:-1]).sum(dim=0) / x.square().sum(dim=0)).nanmean()
    assert last.autocorrelation == pytest.approx(float(autocorrelation), abs=1e-4)
    assert watch.last["window"]["skipped"] == 0


def test_a_window_goes_on_from_a_checkpoint_and_can_be_left_out():
    watch, _ = run(None, 5, every=1)
    state = watch.state_dict()
    assert state["window"]["steps"] == [0, 2, 4]
    model = network()
    again = gl.watch(model, torch.optim.SGD(model.parameters()), log=None, window=16, window_every=2, every=1, start=5)
    again.load_state_dict(state)
    assert again.state_dict()["window"]["steps"] == [0, 2, 4]
    model = network()
    without = gl.watch(model, torch.optim.SGD(model.parameters()), log=None, window=None)
    assert "window" not in without.state_dict()
    assert torch.equal(again.state_dict()["window"]["values"], state["window"]["values"])


def test_a_loss_scale_does_not_show_in_the_window():
    states = []
    for scale in (1.0, 2.0**8):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0, fused=True)
        watch = gl.watch(model, optimizer, log=None, window=16, window_every=1, window_sketch=1024)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scale != 1)
        for _ in range(3):
            optimizer.zero_grad()
            torch.manual_seed(1)
            scaler.scale(model(torch.randn(8, 20)).square().mean()).backward()
            scaler.step(optimizer)
            scaler.update()
        states.append(watch.state_dict()["window"])
    for name in ("values", "sketches"):
        torch.testing.assert_close(states[0][name], states[1][name])


def test_the_loss_scale_is_asked_for_once_a_step():
    class Counted(torch.amp.GradScaler):
        asked = 0

        def get_scale(self) -> float:
            self.asked += 1
            return super().get_scale()

    counts = []
    for watched in (False, True):
        model, scaler = network(), Counted("cpu")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        if watched:
            gl.watch(model, optimizer, log=None, every=2, window=16, window_every=1, window_sketch=None, scaler=scaler)
        for _ in range(4):
            optimizer.zero_grad()
            scaler.scale(model(torch.randn(8, 20)).square().mean()).backward()
            scaler.step(optimizer)
            scaler.update()
        counts.append(scaler.asked)
    assert counts[1] - counts[0] == 4
