"""Layers of the user's own: a rule that is registered is used, proven, and left where it is wrong."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

import gradlaw as gl
from gradlaw.history.engines.layerwise import LayerwiseEngine
from gradlaw.history.layers import LayerCall, LayerRule, register
from gradlaw.history.layers.linear import LinearFactors
from gradlaw.history.layers.registry import rule_of

SAMPLES = 24


class Amplified(nn.Module):
    """Three parameters: a matrix that is stored transposed, an offset, and a gain of both."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix, self.offset, self.gain = (nn.Parameter(torch.randn(*size)) for size in ((6, 5), (5,), (1,)))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * torch.addmm(self.offset, x, self.matrix)


class AmplifiedFactors(LinearFactors):
    """What comes out of the matrix has the gain's part of the output's gradient."""

    def output_gradients(self, iterations: slice, group: int, channels: slice = slice(None)) -> Tensor:
        return self.layer.gain.detach() * super().output_gradients(iterations, group, channels)


class AmplifiedRule(LayerRule):
    factors, weight, bias = AmplifiedFactors, "matrix", "offset"

    def forward(
        self, layer: Amplified, x: Tensor, parameters: Mapping[str, Tensor], iterations: int
    ) -> tuple[Tensor, Tensor]:
        return parameters["gain"] * torch.addmm(parameters["offset"], x, parameters["matrix"]), x

    def write(self, layer: Amplified, name: str, saved: Tensor, g: Tensor, out: Tensor) -> None:
        x, g = (a.unflatten(0, (len(out), -1)) for a in (saved, g))
        if name == "matrix":
            out.copy_(layer.gain.detach() * x.mT @ g)
        elif name == "offset":
            out.copy_(layer.gain.detach() * g.sum(dim=1))
        else:
            plain = x @ layer.matrix.detach() + layer.offset.detach()
            out.copy_((g * plain).sum(dim=(1, 2))[:, None])


class Gate(nn.Module):
    """Two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.rand(4))

    def forward(self, x: Tensor, opening: Tensor) -> Tensor:
        return self.strength * x * opening.sigmoid()


class GateRule(LayerRule):
    by_rows = True

    def run(self, call: LayerCall, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
        return call.detached(torch.cat(args, dim=-1))

    def forward(
        self, layer: Gate, x: Tensor, parameters: Mapping[str, Tensor], iterations: int
    ) -> tuple[Tensor, Tensor]:
        value, opening = x.chunk(2, dim=-1)
        opened = value * opening.sigmoid()
        return parameters["strength"] * opened, opened

    def write(self, layer: Gate, name: str, saved: Tensor, g: Tensor, out: Tensor) -> None:
        out.copy_((g * saved).reshape(len(out), -1, out.shape[1]).sum(dim=1))


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value, self.opening, self.gate = nn.Linear(6, 4), nn.Linear(6, 4), Gate()

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(self.value(x), self.opening(x))


def _problem(model: nn.Module) -> gl.Problem:
    torch.manual_seed(0)
    inputs = torch.randn(SAMPLES, 6, dtype=torch.float64)
    model = model.double()
    return gl.Problem(model, mse_loss, (inputs, torch.randn_like(model(inputs))))


MODELS = {
    "three parameters": lambda: nn.Sequential(Amplified(), nn.Tanh(), nn.Linear(5, 2)),
    "two inputs": lambda: nn.Sequential(Gated(), nn.Tanh(), nn.Linear(4, 2)),
}


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    register(Amplified, AmplifiedRule())
    register(Gate, GateRule())


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_autograd(name, batch_size):
    problem = _problem(MODELS[name]())
    ours, expected = (gl.collect(problem, 8, batch_size, engine=engine) for engine in ("layerwise", "loop"))
    torch.testing.assert_close(ours.gradients, expected.gradients, rtol=1e-12, atol=1e-14)
    assert not LayerwiseEngine(problem, [np.arange(2), np.arange(2, 4)]).fallback


@pytest.mark.parametrize("batch_size", [1, 5])
@pytest.mark.parametrize("name", MODELS)
def test_spectra_without_gradients_are_exact(name, batch_size):
    problem = _problem(MODELS[name]())
    gradients = gl.collect(problem, 8, batch_size, engine="loop").gradients
    spectrum = gl.gradient_spectrum(problem, center=False, iterations=8, batch_size=batch_size)
    expected = (torch.linalg.svdvals(gradients) ** 2 / 8).numpy()
    np.testing.assert_allclose(spectrum.eigenvalues, expected, rtol=1e-10, atol=1e-13 * expected[0])


def test_row_factors_are_used_in_place_of_gradients(capsys):
    gl.gradient_spectrum(_problem(MODELS["three parameters"]()), iterations=8, batch_size=1, progress=gl.Progress())
    said = " ".join(capsys.readouterr().err.split())
    assert "By factors: 0.matrix; 2 by gradients" in said  # the offset goes with the matrix


class Mistaken(Amplified):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class MistakenRule(AmplifiedRule):
    def write(self, layer: Amplified, name: str, saved: Tensor, g: Tensor, out: Tensor) -> None:
        super().write(layer, name, saved, g, out)
        out.mul_(1.1 if name == "gain" else 1)


def test_a_rule_that_is_wrong_is_refused_or_left():
    register(Mistaken, MistakenRule())
    problem = _problem(nn.Sequential(Mistaken(), nn.Tanh(), nn.Linear(5, 2)))
    with pytest.raises(gl.InputError, match=r"disagrees with plain autograd on iteration 0 in 0\.gain \(Mistaken\)"):
        gl.collect(problem, 8, 2, engine="layerwise")
    history = gl.collect(problem, 8, 2)
    expected = gl.collect(problem, 8, 2, engine="loop").gradients
    torch.testing.assert_close(history.gradients, expected, rtol=1e-12, atol=1e-14)
    assert any("engine layerwise left out" in notice and "0.gain" in notice for notice in history.notices)


def test_the_last_rule_of_a_type_counts_and_subclasses_that_only_construct_share_it():
    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    class Constructed(Own):
        def __init__(self) -> None:
            super().__init__()

    class Overriding(Own):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    first, second = GateRule(), GateRule()
    register(Own, first)
    assert rule_of(Constructed()) is first
    register(Own, second)
    assert rule_of(Own()) is rule_of(Constructed()) is second
    assert rule_of(Overriding()) is None


def test_what_is_no_type_or_no_rule_is_refused():
    with pytest.raises(gl.InputError, match=r"module_type must be a subclass of torch\.nn\.Module, got Gate\(\)"):
        register(Gate(), GateRule())
    with pytest.raises(gl.InputError, match="rule must be an instance of a subclass of LayerRule, got <class"):
        register(Gate, GateRule)
