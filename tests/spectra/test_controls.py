import numpy as np
import pytest
import torch

import gradlaw as gl
from gradlaw import random_streams
from gradlaw.spectra.controls import (
    CONTROLS,
    control_spectrum,
    diagonal_noise,
    isotropic_noise,
    permuted_within_dimensions,
    spectrum_over_iterations,
)


def _correlated(iterations=100, dimensions=300, dtype=np.float32):
    """Three directions of large variance, dimensions of very unequal ones, and a mean."""
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((iterations, 3)) @ rng.standard_normal((3, dimensions))
    scale = np.arange(1, dimensions + 1) ** -0.5
    return ((factors + 0.1 * rng.standard_normal((iterations, dimensions))) * scale + 1).astype(dtype)


def test_isotropic_noise_has_the_spectrum_of_marchenko_and_pastur():
    noise = isotropic_noise((200, 2000), seed=1)
    assert (noise.shape, noise.dtype) == ((200, 2000), torch.float32)
    assert abs(float(noise.mean())) < 4 / np.sqrt(noise.numel())
    assert float(noise.var()) == pytest.approx(1, abs=0.01)
    values = gl.gradient_spectrum(noise, center=False).eigenvalues
    # n/T (1 +- sqrt(T/n))^2, to the width of Tracy and Widom.
    assert values[0] == pytest.approx(10 * (1 + np.sqrt(0.1)) ** 2, rel=0.05)
    assert values[-1] == pytest.approx(10 * (1 - np.sqrt(0.1)) ** 2, rel=0.05)


def test_permutation_keeps_every_value_in_its_dimension_and_destroys_correlation():
    history = _correlated()
    before = history.copy()
    permuted = permuted_within_dimensions(history)
    np.testing.assert_array_equal(history, before)
    assert permuted.dtype == torch.float32
    np.testing.assert_array_equal(np.sort(permuted, axis=0), np.sort(history, axis=0))
    assert (np.sort(permuted, axis=1) != np.sort(history, axis=1)).any()
    measured, control = gl.gradient_spectrum(history), gl.gradient_spectrum(permuted)
    assert control.trace == pytest.approx(measured.trace, rel=1e-5)
    assert measured.eigenvalues[2] > 2 * control.eigenvalues[2]


@pytest.mark.parametrize("history", [np.asfortranarray(_correlated()), _correlated()[:, :1], _correlated(2, 5)])
def test_permutation_leaves_its_input_alone(history):
    before = history.copy()
    permuted_within_dimensions(torch.from_numpy(history))
    np.testing.assert_array_equal(history, before)


def test_permutations_are_uniform():
    series = torch.arange(3.0)[:, None].expand(3, 6000)
    permuted = permuted_within_dimensions(series).long()
    counts = torch.bincount((permuted * torch.tensor([[9], [3], [1]])).sum(dim=0), minlength=27)
    counts = counts[counts > 0]
    assert len(counts) == 6
    assert ((counts - 1000).abs() < 4 * np.sqrt(1000)).all()


def test_diagonal_noise_has_the_measured_variances():
    history = _correlated(2000, 100)
    noise = diagonal_noise(history).numpy()
    np.testing.assert_allclose(noise.var(axis=0) / history.var(axis=0), 1, atol=5 * np.sqrt(2 / 2000))
    assert (np.abs(noise.mean(axis=0)) < 5 * history.std(axis=0) / np.sqrt(2000)).all()
    correlations = np.corrcoef(noise.T) - np.eye(100)
    assert np.abs(correlations).max() < 6 / np.sqrt(2000)


def test_streamed_spectra_are_those_of_the_stored_controls():
    history = _correlated(100, 9000, np.float64)  # three blocks, the last a part of one
    deviation = np.sqrt(history.var(axis=0).mean())
    stored = {
        "isotropic": deviation * isotropic_noise((100, 9000), 3, torch.float64),
        "permuted": permuted_within_dimensions(history, 3),
        "diagonal": diagonal_noise(history, 3),
    }
    assert tuple(stored) == CONTROLS
    for name, control in stored.items():
        expected = gl.gradient_spectrum(control)
        found = control_spectrum(history, name, 3)
        np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues, rtol=1e-9, atol=1e-12 * expected.trace)
        assert found.trace == pytest.approx(gl.gradient_spectrum(history).trace, rel=0.05)


@pytest.mark.parametrize(
    "control", [permuted_within_dimensions, diagonal_noise, lambda _, seed: isotropic_noise((9, 4200), seed)]
)
def test_seeds(control):
    history = _correlated(9, 4200)
    assert torch.equal(control(history, 1), control(history, 1))
    assert not torch.equal(control(history, 1), control(history, 2))


def test_types():
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        gradients = torch.randn(8, 100, dtype=dtype)
        assert permuted_within_dimensions(gradients).dtype == torch.promote_types(dtype, torch.float32)
        assert diagonal_noise(gradients).dtype == torch.promote_types(dtype, torch.float32)
    single, double = (isotropic_noise((5, 4200), 0, dtype) for dtype in (torch.float32, torch.float64))
    torch.testing.assert_close(single, double.float())


@pytest.mark.parametrize("center", [False, True])
def test_spectra_over_iterations_are_those_of_the_subsamples(center):
    history = _correlated(dtype=np.float64)
    result = spectrum_over_iterations(history, [100, 10, 40], center, k=30)
    assert result.sizes == (10, 40, 100)
    whole = gl.gradient_spectrum(history, center)
    np.testing.assert_allclose(result.spectra[-1].eigenvalues, whole.eigenvalues, rtol=1e-10, atol=1e-12 * whole.trace)
    order = np.random.default_rng([random_streams.SUBSAMPLE, 0]).permutation(100)
    part = gl.gradient_spectrum(history[order[:40]], center)
    np.testing.assert_allclose(result.spectra[1].eigenvalues, part.eigenvalues, rtol=1e-10, atol=1e-12 * part.trace)
    frame = result.to_frame(12)
    assert list(frame.index) == [10, 40, 100]
    assert frame["k"].tolist() == [10 - center, 30, 30]
    assert frame.loc[100, "s"] == pytest.approx(whole.power_law(30).s)
    assert frame.loc[10, "lambda_12"] == 0
    assert frame.loc[40, "lambda_1"] == pytest.approx(part.eigenvalues[0])
    assert not frame.isna().any().any()


def test_known_movement_with_iterations():
    # lambda_1 of n = 200 isotropic dimensions falls towards 1 as (1 + sqrt(n/T))^2.
    frame = spectrum_over_iterations(isotropic_noise((400, 200)), [50, 100, 400], k=40).to_frame(1)
    expected = (1 + np.sqrt(200 / frame.index.to_numpy())) ** 2
    np.testing.assert_allclose(frame["lambda_1"], expected, rtol=0.1)


def test_bad_input():
    history = _correlated(10, 20)
    with pytest.raises(gl.InputError, match="shape must be"):
        isotropic_noise((0, 4))
    with pytest.raises(gl.InputError, match="control must be one of isotropic, permuted, diagonal, got 'shuffled'"):
        control_spectrum(history, "shuffled")
    with pytest.raises(gl.InputError, match="at least 2 iterations"):
        permuted_within_dimensions(history[:1])
    for sizes in ([], [1, 5], [5, 11]):
        with pytest.raises(gl.InputError, match="sizes must lie between 2 and the 10 iterations"):
            spectrum_over_iterations(history, sizes)
    with pytest.raises(gl.InputError, match="numerical rank 1; a power law needs at least 2"):
        spectrum_over_iterations(history, [2, 5]).to_frame()
