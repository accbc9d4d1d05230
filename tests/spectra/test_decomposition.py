"""Parts of a gradient spectrum, against their definitions in parameter space."""

import numpy as np
import pytest
import torch

import gradlaw as gl
from gradlaw.spectra.decomposition import class_parts, kronecker_eigenvalues

RNG = np.random.default_rng(0)


def test_between_and_within_are_those_of_the_gradients():
    labels = RNG.integers(4, size=60)
    gradients = RNG.standard_normal((60, 30)) + 3 * RNG.standard_normal((4, 30))[labels]
    found = class_parts(torch.from_numpy(gradients @ gradients.T), torch.from_numpy(labels))
    means = np.stack([gradients[labels == label].mean(axis=0) for label in range(4)])[labels]
    around = np.linalg.eigvalsh((gradients - means).T @ (gradients - means) / 60)[::-1]
    between = np.linalg.eigvalsh(np.cov(means.T, bias=True))[::-1][:3]
    np.testing.assert_allclose(found.within[:25], around[:25], rtol=1e-9)
    np.testing.assert_allclose(found.between, between, rtol=1e-9)
    assert found.classes == 4
    trace = np.trace(np.cov(gradients.T, bias=True))
    assert found.between.sum() + found.within.sum() == pytest.approx(trace, rel=1e-9)


def test_labels_without_meaning_have_no_share():
    gradients = RNG.standard_normal((400, 50))
    gram, labels = torch.from_numpy(gradients @ gradients.T), torch.arange(400) % 10
    found = class_parts(gram, labels)
    assert found.share < 0.01
    assert found.between.sum() / (found.between.sum() + found.within.sum()) > 0.018  # what chance alone gives


@pytest.mark.parametrize("labels", [torch.zeros(6), torch.arange(6)])
def test_one_class_or_one_sample_a_class_is_refused(labels):
    with pytest.raises(gl.InputError, match="no part between classes"):
        class_parts(torch.eye(6, dtype=torch.float64), labels.long())


def test_the_kronecker_form_is_the_product():
    x, d = RNG.standard_normal((50, 6)), RNG.standard_normal((50, 4)) * 2
    first, second = x.T @ x / 50, d.T @ d / 50
    values = [np.linalg.eigvalsh(matrix) for matrix in (first, second)]
    expected = np.linalg.eigvalsh(np.kron(second, first))[::-1]
    np.testing.assert_allclose(kronecker_eigenvalues(*values), expected, rtol=1e-9)
    np.testing.assert_allclose(kronecker_eigenvalues(*values, most=5), expected[:5], rtol=1e-9)


def test_kronecker_forms_that_are_none():
    with pytest.raises(gl.InputError, match="no negative eigenvalues"):
        kronecker_eigenvalues(np.array([-1.0]), np.array([1.0]))
    with pytest.raises(gl.InputError, match="most=3, while there are 2 products"):
        kronecker_eigenvalues(np.array([1.0, 2.0]), np.array([1.0]), most=3)
