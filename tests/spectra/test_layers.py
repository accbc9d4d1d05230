import numpy as np
import pytest

import gradlaw as gl
from gradlaw.spectra.layers import layer_spectra


def _explicit(gradients, center):
    g = gradients - gradients.mean(axis=0) if center else gradients
    return np.linalg.eigvalsh(g.T @ g / len(g))[::-1]


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("iterations", [20, 40, 70])  # tensors of 64, 8, 24, 3 dimensions: either side is the smaller
def test_equals_the_spectra_of_the_explicit_blocks(small_problem, iterations, center):
    history = gl.collect(small_problem, iterations, 4)
    gradients = np.asarray(history, dtype=np.float64)
    spectra = layer_spectra(history, center)
    assert list(spectra) == [part.name for part in history.layout]
    for part in history.layout:
        spectrum = spectra[part.name]
        expected = _explicit(gradients[:, part.start : part.stop], center)
        size = min(iterations, part.stop - part.start)
        assert len(spectrum.eigenvalues) == size
        np.testing.assert_allclose(spectrum.eigenvalues, expected[:size], rtol=1e-9, atol=1e-11 * expected[0])
        assert spectrum.trace == pytest.approx(expected.sum(), rel=1e-10)
        assert (spectrum.dimensions, spectrum.iterations) == (part.stop - part.start, iterations)
        assert spectrum.centred is center


def test_both_sides_agree_on_rank_and_floor(small_problem):
    history = gl.collect(small_problem, 60, 4)
    for part in history.layout:
        narrow = layer_spectra(history)[part.name]
        wide = gl.gradient_spectrum(history.gradients[:, part.start : part.stop])
        assert narrow.rank == wide.rank
        np.testing.assert_allclose(narrow.eigenvalues, wide.eigenvalues, rtol=1e-8, atol=1e-11 * wide.trace)


def test_blocks_of_iterations_do_not_matter(small_problem):
    history = gl.collect(small_problem, 50, 4)
    whole = layer_spectra(history)
    for name, spectrum in layer_spectra(history, block_bytes=8 * 64).items():
        np.testing.assert_allclose(spectrum.eigenvalues, whole[name].eigenvalues, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("center", [False, True])
def test_traces_add_up_to_the_model(small_problem, center):
    history = gl.collect(small_problem, 30, 4)
    spectra = layer_spectra(history, center).values()
    assert sum(s.trace for s in spectra) == pytest.approx(gl.gradient_spectrum(history, center).trace, rel=1e-12)
    assert sum(s.dimensions for s in spectra) == history.shape[1]


def test_bad_input():
    with pytest.raises(gl.InputError, match="layers need a GradientHistory, whose layout names them; got ndarray"):
        layer_spectra(np.ones((3, 4)))
