"""Approximate spectra against exact ones."""

import numpy as np
import pytest
import torch
from scipy.fft import dct

import gradlaw as gl
from gradlaw.spectra.approximate import SketchedMoment, approximate_spectrum
from gradlaw.spectra.gradient import gradient_spectrum
from gradlaw.spectra.sketch import GradientSketch
from gradlaw.stats import fit_power_law

N, BLOCKS = 4000, 8


def draws(s, iterations, seed=0):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((iterations, N)) * np.arange(1, N + 1) ** (-s / 2)
    return torch.from_numpy(dct(rows * rng.choice([-1, 1], N), axis=1, norm="ortho")).float()


def sketches(gradients, size, seed=0):
    sketch = GradientSketch([N], size, seed, BLOCKS)
    return torch.stack([sketch.of([gradient]) for gradient in gradients])


@pytest.mark.parametrize(
    ("s", "iterations", "size", "k"), [(1.3, 60, 1024, 20), (0.6, 60, 1024, 20), (1.3, 600, 256, 20)]
)
def test_intervals_hold(s, iterations, size, k):
    """Steep, flat, and of more gradients than the sketch has numbers."""
    gradients = draws(s, iterations)
    exact = gradient_spectrum(gradients).eigenvalues[:k]
    fit, inside, held = fit_power_law(exact, k), [], []
    for seed in range(8):
        found = approximate_spectrum(sketches(gradients, size, seed), N, k=k)
        inside.append(np.mean((found.lower <= exact) & (exact <= found.upper)))
        held.append([low <= value <= high for value, (low, high) in
                     ((fit.s, found.s_interval), (fit.d_ks, found.d_ks_interval))])  # fmt: skip
    assert np.mean(inside) > 0.88
    assert np.sum(held) >= 14


def test_intervals_are_not_endless():
    gradients = draws(1.3, 60)
    found = approximate_spectrum(sketches(gradients, 4096), N)
    assert found.half_width < 0.12
    assert found.s_interval.high - found.s_interval.low < 0.15


def test_the_moment_of_sketches_has_the_spectrum_of_their_gram_matrix():
    """Streamed in pieces by two that are added, or all at once: the same nonzero eigenvalues."""
    rows = sketches(draws(1.0, 200), 256)
    moments = [SketchedMoment(256), SketchedMoment(256)]
    for piece, moment in zip(rows.split(50), moments * 2, strict=True):
        moment.add(piece)
    moments[0].merge(moments[1])
    assert moments[0].iterations == 200
    for center in (True, False):
        streamed = approximate_spectrum(moments[0], N, center=center)
        at_once = approximate_spectrum(rows, N, center=center)
        np.testing.assert_allclose(streamed.spectrum.eigenvalues[:100], at_once.spectrum.eigenvalues[:100], rtol=1e-9)
        np.testing.assert_allclose(streamed.lower, at_once.lower, rtol=1e-6)
        assert streamed.s_interval == pytest.approx(at_once.s_interval, rel=1e-6)


def test_the_trace_is_that_of_the_eigenvalues_and_unbiased():
    gradients = draws(1.0, 40)
    exact = gradient_spectrum(gradients).trace
    found = [approximate_spectrum(sketches(gradients, 512, seed), N).spectrum.trace for seed in range(12)]
    assert abs(np.mean(found) / exact - 1) < 0.05


def test_what_a_sketch_cannot_tell_is_refused():
    rows = sketches(draws(1.0, 60), 256)
    for call, message in (
        (lambda: approximate_spectrum(rows, N, k=40), "use size=512"),
        (lambda: approximate_spectrum(rows, N, blocks=2), "blocks"),
        (lambda: approximate_spectrum(rows, N, blocks=12), "power of two|no 12 blocks"),
        (lambda: approximate_spectrum(rows[:2], N), "at least 3"),
        (lambda: approximate_spectrum(rows * torch.nan, N), "not finite"),
        (lambda: approximate_spectrum(torch.ones(9, 256), N), "all alike"),
        (lambda: SketchedMoment(256).add(rows[:, :128]), "128 numbers"),
        (lambda: SketchedMoment(256).add(rows * torch.inf), "not finite"),
        (lambda: SketchedMoment(256).merge(SketchedMoment(128)), "different"),
        (lambda: GradientSketch([N], 256, blocks=6), "power of two"),
        (lambda: GradientSketch([N], 256, blocks=16), "at most 8"),
    ):
        with pytest.raises(gl.InputError, match=message):
            call()


@pytest.mark.parametrize("blocks", [2, 8])
def test_inner_products_of_any_number_of_blocks_are_unbiased(blocks):
    a, b = draws(0.5, 2)
    products = []
    for seed in range(200):
        sketch = GradientSketch([N], 256, seed, blocks)
        products.append(float(sketch.of([a]) @ sketch.of([b])) / blocks)
    error = np.std(products) / np.sqrt(len(products))
    assert abs(np.mean(products) - float(a @ b)) < 4 * error


def test_a_sketch_that_is_too_small_says_nothing_of_the_line():
    """A flat spectrum of many more gradients than the sketch has numbers."""
    found = approximate_spectrum(sketches(draws(0.3, 600), 256), N)
    assert found.half_width > 0.5
    assert not found.is_told
    assert found.s_interval == (0, np.inf)
    assert found.d_ks_interval.high == 1
    assert approximate_spectrum(sketches(draws(1.3, 60), 1024), N).is_told
