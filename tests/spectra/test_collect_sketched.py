"""Gradients sketched while they are collected, beside those that are kept whole."""

import numpy as np
import pytest
import torch

import gradlaw as gl
from gradlaw.history.collection import Collection
from gradlaw.history.sketched_history import SketchedHistory
from gradlaw.spectra import gradient_spectrum
from gradlaw.spectra.collect_sketched import collect_sketched, spectrum_of_sketched
from gradlaw.spectra.sketch import GradientSketch
from gradlaw.stats import gradient_tests
from problems import two_layers

SETTINGS = {"iterations": 60, "batch_size": 4, "seed": 3}


@pytest.fixture(scope="module")
def problem():
    return two_layers()


@pytest.fixture(scope="module")
def whole(problem):
    return gl.collect(problem, **SETTINGS)


def kept(history):
    return history.kept[:]


def test_what_is_kept_is_the_sketch_and_the_tests_of_each_gradient(problem, whole):
    history = collect_sketched(problem, size=512, **SETTINGS)
    sketch = GradientSketch([problem.dimensions], 512, seed=3, blocks=8)
    expected = torch.stack([sketch.of([gradient]) for gradient in whole])
    found = torch.cat([block for _, block in history.sketches()])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    exact = gradient_tests(whole, "dimension", seed=3)
    assert np.array_equal(history.tests.is_power_law, exact.is_power_law)
    np.testing.assert_allclose(history.tests.d_ks, exact.d_ks, rtol=1e-5)
    np.testing.assert_allclose(history.tests.gaussian_p_value, exact.gaussian_p_value, rtol=1e-4)
    assert history.tests.scalars()["power_law_rate"] == exact.power_law_rate
    assert torch.equal(history.losses, whole.losses)
    assert history.shape == whole.shape


@pytest.mark.parametrize("engine", ["loop", "vmap", "samplewise"])
def test_the_engine_changes_rounding_alone(problem, engine):
    first, second = (collect_sketched(problem, size=256, engine=e, **SETTINGS) for e in (engine, "layerwise"))
    torch.testing.assert_close(kept(first)[:, :256], kept(second)[:, :256], rtol=1e-4, atol=1e-5)


def test_an_interrupted_collection_goes_on_to_the_same_bits(problem, tmp_path, monkeypatch):
    made = {"size": 256, **SETTINGS, "band_bytes": 20 * 4 * 300}  # 16 to 20 rows at once
    straight = collect_sketched(problem, **made, store=tmp_path / "straight")
    saves, save = [], Collection.save

    class Killed(BaseException):
        pass

    def dying(self):
        save(self)
        saves.append(self.done)
        if len(saves) == 2:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Collection, "save", dying)
        with pytest.raises(Killed):
            collect_sketched(problem, **made, store=tmp_path / "killed")
    assert 0 < saves[-1] < 60
    resumed = collect_sketched(problem, **made, store=tmp_path / "killed")
    assert torch.equal(kept(resumed), kept(straight))
    again = collect_sketched(problem, **made, store=tmp_path / "killed")
    assert torch.equal(kept(again), kept(straight))
    assert SketchedHistory.open(tmp_path / "killed").sketch == straight.sketch


def test_sketches_and_gradients_are_not_taken_for_each_other(problem, whole, tmp_path):
    sketched = collect_sketched(problem, size=256, **SETTINGS, store=tmp_path / "sketch")
    gl.collect(problem, **SETTINGS, store=tmp_path / "whole")
    with pytest.raises(gl.InputError, match="sketches of gradients, not gradients"):
        gl.GradientHistory.open(tmp_path / "sketch")
    with pytest.raises(gl.InputError, match="whole gradients, not sketches"):
        SketchedHistory.open(tmp_path / "whole")
    with pytest.raises(gl.InputError, match="sketch is"):
        collect_sketched(problem, size=512, **SETTINGS, store=tmp_path / "sketch")
    with pytest.raises(gl.InputError):
        gl.collect(problem, **SETTINGS, store=tmp_path / "sketch")
    for refused in (gl.gradient_spectrum, gl.gradient_noise, gl.gradient_tests, gl.population_spectrum):
        with pytest.raises(gl.InputError):
            refused(sketched)


@pytest.mark.parametrize("center", [True, False])
def test_the_spectrum_is_that_of_the_gradients_within_its_intervals(problem, center):
    inside, held = [], []
    for seed in range(3):
        settings = SETTINGS | {"seed": seed}
        exact = gradient_spectrum(gl.collect(problem, **settings), center)
        found = spectrum_of_sketched(collect_sketched(problem, size=2048, **settings), center)
        fit, values = exact.power_law(found.k), exact.eigenvalues[: found.k]
        inside.append(np.mean((found.lower <= values) & (values <= found.upper)))
        held += [found.s_interval.low <= fit.s <= found.s_interval.high]
        held += [found.d_ks_interval.low <= fit.d_ks <= found.d_ks_interval.high]
        assert (found.spectrum.iterations, found.spectrum.dimensions) == (60, problem.dimensions)
        assert "approximate" in str(found)
    assert np.mean(inside) > 0.85
    assert sum(held) >= 5


def test_momentum_and_clipping_are_applied_before(problem):
    transforms = (gl.ClipByNorm(0.1), gl.Momentum(0.9))
    history = collect_sketched(problem, size=256, transforms=transforms, **SETTINGS)
    gradients = gl.collect(problem, transforms=transforms, **SETTINGS)
    sketch = GradientSketch([problem.dimensions], 256, seed=3, blocks=8)
    expected = torch.stack([sketch.of([gradient]) for gradient in gradients])
    torch.testing.assert_close(kept(history)[:, :256], expected, rtol=1e-4, atol=1e-6)
