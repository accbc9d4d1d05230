"""Spectra from sketches, against those of the gradients themselves."""

import numpy as np
import pytest
import torch

from gradlaw.errors import InputError
from gradlaw.spectra.eigenvectors import gradient_eigenvectors
from gradlaw.spectra.gradient import gradient_spectrum
from gradlaw.spectra.sketch import GradientSketch, sketched_overlap, sketched_spectrum
from gradlaw.spectra.subspaces import subspace_overlap

N = 70_000  # more than a chunk


def window(kind, iterations, seed=0):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(iterations, N, generator=generator)
    if kind == "power law":
        return noise * torch.arange(1, N + 1) ** -0.5
    if kind == "outliers":
        directions = torch.randn(3, N, generator=torch.Generator().manual_seed(99))
        return noise + torch.randn(iterations, 3, generator=generator) * torch.tensor([3.0, 2, 1]) @ directions
    if kind == "sparse":  # most numbers are zero, and five have nearly all of the norm
        return torch.where(torch.arange(N) % 97 == 0, noise, 0) + 30 * torch.where(torch.arange(N) < 5, noise, 0)
    return noise


def sketches(gradients, size=2048, seed=0):
    sketch = GradientSketch([gradients.shape[1]], size, seed)
    return torch.stack([sketch.of([gradient]) for gradient in gradients])


def test_squared_norms_and_inner_products_are_unbiased_with_the_error_that_is_stated():
    a, b = window("power law", 2) + 0.01
    found = []
    for seed in range(400):
        x, y = sketches(torch.stack([a, b]), size=256, seed=seed).double()
        found.append([float(x @ x) / 2, float(x @ y) / 2])
    square, product = float(a.double() @ a.double()), float(a.double() @ b.double())
    mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
    assert abs(mean - [square, product]).max() < 3.5 * spread.max() / 20
    assert spread[0] == pytest.approx(square * np.sqrt(2 / 256), rel=0.15)


@pytest.mark.parametrize("rank", [1, 2])
def test_gradients_of_matrices_of_low_rank_are_no_worse(rank):
    # Rows that are multiples of one another collide as a whole: signs that go with them would add up.
    generator = torch.Generator().manual_seed(1)
    left, right = torch.randn(256, rank, generator=generator), torch.randn(rank, 1024, generator=generator)
    gradient = (left @ right).flatten()
    norms = []
    for seed in range(200):
        x = GradientSketch([len(gradient)], 512, seed).of([gradient]).double()
        norms.append(float(x @ x) / 2 / float(gradient.double() @ gradient.double()))
    assert abs(np.mean(norms) - 1) < 3.5 * np.std(norms) / np.sqrt(200)
    assert np.std(norms) < 1.2 * np.sqrt(2 / 512)


@pytest.mark.parametrize("kind", ["isotropic", "power law", "outliers", "sparse"])
@pytest.mark.parametrize("center", [True, False])
def test_the_stated_errors_hold(kind, center):
    gradients = window(kind, 40)
    exact = gradient_spectrum(gradients, center=center)
    rank = min(exact.rank, 40 - center)
    gram = exact.eigenvalues[:rank]
    held = []
    for seed in range(10):
        found = sketched_spectrum(sketches(gradients, seed=seed), N, center)
        held.append(((found.lower[:rank] <= gram) & (gram <= found.upper[:rank])).all())
        assert 0.15 < found.relative_error < 0.5
        assert found.spectrum.trace == pytest.approx(exact.trace, rel=0.2)
    assert all(held)


def test_the_error_of_the_gram_matrix_is_that_of_the_difference():
    gradients = window("power law", 40)
    exact = gradients.double() @ gradients.double().T
    errors, stated = [], []
    for seed in range(20):
        rows = sketches(gradients, seed=seed).double()
        errors.append(float(torch.linalg.matrix_norm(rows @ rows.T / 2 - exact) / torch.linalg.matrix_norm(exact)))
        stated.append(sketched_spectrum(rows, N, center=False).gram_error)
    assert np.mean(stated) == pytest.approx(np.mean(errors), rel=0.15)


def test_corrected_eigenvalues_are_nearer():
    gradients = window("isotropic", 40)
    exact = gradient_spectrum(gradients).eigenvalues[:39]
    found = [sketched_spectrum(sketches(gradients, seed=seed), N) for seed in range(10)]
    off = np.mean([np.abs(one.spectrum.eigenvalues[:39] / exact - 1).mean() for one in found])
    assert np.mean([np.abs(one.corrected[:39] / exact - 1).mean() for one in found]) < 0.7 * off


def test_overlaps_are_those_of_eigenvectors():
    first, second = window("outliers", 60, seed=1), window("outliers", 60, seed=2)
    vectors = [gradient_eigenvectors(gradients, 3) for gradients in (first, second)]
    exact = subspace_overlap(*vectors).overlaps
    found = sketched_overlap(sketches(first, 8192), sketches(second, 8192), 3)
    np.testing.assert_allclose(found, exact, atol=0.05)
    assert exact[2] > 0.8
    # Windows with nothing in common: k/n, and not k/m.
    noise = [sketches(window("isotropic", 60, seed=seed), 512 * 8) for seed in (3, 4)]
    assert abs(sketched_overlap(*noise, 10)[9]) < 0.01


def test_tensors_are_one_vector_in_any_pieces():
    gradient = window("isotropic", 1)[0]
    whole = GradientSketch([N], 256).of([gradient])
    pieces = GradientSketch([10, 0, 66_000, N - 66_010], 256)
    torch.testing.assert_close(
        pieces.of([gradient[:10].view(2, 5), gradient[:0], gradient[10:66_010].view(-1, 4), gradient[66_010:]]), whole
    )
    half = gradient.clone()
    half[:10] = 0
    torch.testing.assert_close(
        pieces.of([None, None, gradient[10:66_010], gradient[66_010:]]), GradientSketch([N], 256).of([half])
    )


def test_sketches_are_linear_and_their_seeds_matter():
    a, b = window("isotropic", 2)
    sketch = GradientSketch([N], 256, seed=1)
    torch.testing.assert_close(sketch.of([a + 2 * b]), sketch.of([a]) + 2 * sketch.of([b]), rtol=1e-4, atol=1e-3)
    assert not torch.allclose(sketch.of([a]), GradientSketch([N], 256, seed=2).of([a]))
    assert sketch.of([a.bfloat16()]).dtype == torch.float32


def test_what_cannot_be_sketched_is_refused():
    rows = torch.randn(4, 128)
    for wrong, message in (
        (lambda: GradientSketch([5], 100), "at least 128"),
        (lambda: GradientSketch([5], 384), "power of two"),
        (lambda: GradientSketch([0]), "nothing to sketch"),
        (lambda: GradientSketch([5]).of([torch.ones(4)]), r"tensors of \[5\] numbers, got \[4\]"),
        (lambda: GradientSketch([5]).of([torch.ones(5)] * 2), "tensors of"),
        (lambda: sketched_spectrum(torch.randn(17, 128), 1000), "use size=256"),
        (lambda: sketched_spectrum(rows[:1], 1000), "at least two"),
        (lambda: sketched_spectrum(rows * torch.inf, 1000), "not finite"),
        (lambda: sketched_spectrum(torch.ones(4, 128), 1000), "all alike"),
        (lambda: sketched_overlap(rows, torch.randn(4, 256), 2), "not of one sketch"),
        (lambda: sketched_overlap(rows, rows, 4), "k=4 eigenvectors"),
    ):
        with pytest.raises(InputError, match=message):
            wrong()
