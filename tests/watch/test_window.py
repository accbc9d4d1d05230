"""A rolling window of gradients, against the functions of collected histories on the same numbers."""

import json

import numpy as np
import pytest
import torch

import gradlaw as gl
from gradlaw.errors import InputError
from gradlaw.spectra.gradient import gradient_spectrum
from gradlaw.spectra.sketch import GradientSketch, sketched_spectrum
from gradlaw.stats import gradient_tests, stable_index_rows
from gradlaw.watch.window import Window

SHAPES = [(40, 30), (7,), (50, 20)]
N = sum(int(np.prod(shape)) for shape in SHAPES)


def parameters():
    return [torch.zeros(shape) for shape in SHAPES]


def gradients(number, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, N + 1) ** -0.3
    return torch.randn(number, N, generator=generator) * scale


def pieces(flat):
    sizes = [int(np.prod(shape)) for shape in SHAPES]
    return [part.view(shape) for part, shape in zip(flat.split(sizes), SHAPES, strict=True)]


def filled(rows, **settings):
    window = Window(parameters(), **{"length": 32, "coordinates": 300, "sketch_size": 1024} | settings)
    for step, row in enumerate(rows):
        window.add(10 * step, pieces(row))
    return window


def test_statistics_are_those_of_the_collected_numbers():
    rows = gradients(45)
    window = filled(rows)
    found, kept = window.statistics(gaussian_k=20), rows[-32:]
    sample = kept[:, window.places]
    assert (found.first_step, found.last_step, found.iterations, found.coordinates) == (130, 440, 32, 300)
    assert torch.equal(window.values(), sample)
    assert found.tests == gradient_tests(sample, "iteration", k=10, gaussian_k=20)
    assert found.stable_index == float(stable_index_rows(sample.T.contiguous(), center=True).alpha.median())
    correlations = [np.corrcoef(x[1:], x[:-1])[0, 1] for x in sample.T.double().numpy()]
    assert found.autocorrelation == pytest.approx(np.mean(correlations), abs=0.01)
    sketch = GradientSketch([N], 1024)
    assert found.spectrum == sketched_spectrum(torch.stack([sketch.of([row]) for row in kept]).double(), N)
    exact = gradient_spectrum(kept).eigenvalues
    np.testing.assert_allclose(found.spectrum.spectrum.eigenvalues[:31], exact[:31], rtol=found.spectrum.relative_error)
    row = json.loads(json.dumps(found.scalars()))
    assert row["gaussian_rate"] == found.tests.gaussian_rate
    assert len(row["eigenvalues"]) == 10


def test_the_sample_has_every_coordinate_with_the_same_chance():
    chosen = np.concatenate([Window(parameters(), coordinates=200, seed=seed).places for seed in range(100)])
    parts = np.histogram(chosen, bins=5, range=(0, N))[0] / len(chosen)
    np.testing.assert_allclose(parts, 0.2, atol=0.01)
    assert len(Window(parameters(), coordinates=10**6).places) == N


def test_steps_that_follow_one_another_are_correlated():
    rows = gradients(64)
    walk = rows.cumsum(dim=0)
    assert filled(walk, length=64).statistics().autocorrelation > 0.7
    assert abs(filled(rows, length=64).statistics().autocorrelation + 1 / 64) < 0.02


@pytest.mark.parametrize("stable", [True, False])
def test_overlaps_tell_a_subspace_that_stays_from_one_that_turns(stable):
    generator = torch.Generator().manual_seed(1)
    rows = gradients(64)
    directions = torch.randn(2, 3, N, generator=generator)
    weights = 3 * torch.randn(64, 3, generator=generator)
    halves = [weights[:32] @ directions[0], weights[32:] @ directions[0 if stable else 1]]
    found = filled(rows + torch.cat(halves), length=64, sketch_size=4096).statistics(vectors=3)
    assert found.overlaps[2] > 0.9 if stable else abs(found.overlaps[2]) < 0.1


def test_gradients_that_are_missing_or_not_finite():
    rows = gradients(33)
    rows[5, 3] = torch.inf
    window = filled(rows, coordinates=N)
    assert (len(window), window.skipped, window.ready) == (32, 1, True)
    window.add(999, [None, torch.ones(7), None])
    assert window.values()[-1].count_nonzero() == 7
    assert window.statistics().last_step == 999


def test_gradients_that_are_all_alike_have_no_spectrum():
    found = filled(torch.ones(20, N)).statistics()
    assert (found.spectrum, found.overlaps, found.spectrum_s, found.autocorrelation) == (None,) * 4
    assert found.tests.degenerate == 1
    without = filled(gradients(20), sketch_size=None).statistics()
    assert without.spectrum is None
    assert "eigenvalues" not in without.scalars()


@pytest.mark.parametrize("before", [20, 40])
def test_it_goes_on_where_it_was(before):
    rows = gradients(50)
    first = filled(rows[:before])
    second = Window(parameters(), length=32, coordinates=300, sketch_size=1024)
    second.load_state_dict(first.state_dict())
    for window in (first, second):
        for step in range(before, 50):
            window.add(10 * step, pieces(rows[step]))
    assert torch.equal(first.values(), second.values())
    assert first.statistics().scalars() == second.statistics().scalars() == filled(rows).statistics().scalars()
    with pytest.raises(InputError, match="this one has"):
        Window(parameters(), length=32, coordinates=300, sketch_size=1024, seed=1).load_state_dict(first.state_dict())


def test_wrong_settings_are_refused():
    for settings, message in (
        ({"length": 15}, "at least 16"),
        ({"sketch_size": 128}, "at least 256"),
        ({"coordinates": 0}, "coordinates"),
    ):
        with pytest.raises(gl.InputError, match=message):
            filled([], **settings)
    with pytest.raises(InputError, match="needs parameters"):
        Window([])
    with pytest.raises(InputError, match="15 gradients says nothing"):
        filled(gradients(15)).statistics()
    with pytest.raises(InputError, match="tensors of"):
        filled([]).add(0, [torch.ones(40, 30), torch.ones(7), torch.ones(1001)])
