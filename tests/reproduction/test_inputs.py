"""Data of the reproduction: images as readings change them."""

import numpy as np
import torch

import gradlaw as gl
from gradlaw.data import LabelledTensors
from gradlaw.reproduction.inputs import augmented, with_least_deviation


def _images(count: int = 40) -> np.ndarray:
    """Grey levels; the first pixel is constant, the second set in one image only."""
    images = np.random.default_rng(0).integers(0, 256, (count, 1, 6, 6)).astype(np.float64)
    images[:, 0, 0, 0] = 7
    images[:, 0, 0, 1] = 0
    images[3, 0, 0, 1] = 1
    return images


def _by_pixel(images: np.ndarray) -> LabelledTensors:
    return gl.from_arrays(images, np.arange(len(images)) % 4, normalise="pixel")


def test_deviations_below_a_grey_level_count_as_one() -> None:
    images = _images()
    found = with_least_deviation(_by_pixel(images))
    expected = (images - images.mean(0)) / np.maximum(images.std(0), 1)
    np.testing.assert_allclose(found.inputs.numpy(), expected, atol=1e-5)
    assert found.inputs[3, 0, 0, 1] < 1 < _by_pixel(images).inputs[3, 0, 0, 1]
    assert not found.inputs[:, 0, 0, 0].any()
    assert min(found.source.normalisation.std) == 1


def test_images_are_augmented_once_and_by_seed() -> None:
    data = _by_pixel(_images(1500))
    first, again, other = augmented(data, 0), augmented(data, 0), augmented(data, 1)
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)
    assert first.inputs.shape == data.inputs.shape
    assert torch.equal(first.targets, data.targets)
    values = {*data.inputs[7].ravel().tolist(), 0.0}
    assert set(first.inputs[7].ravel().tolist()) <= values  # of the same image, or of its margin
