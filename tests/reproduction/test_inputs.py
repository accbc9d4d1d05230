"""Data of the reproduction: images as readings change them."""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.data import LabelledTensors
from gradlaw.progress import SILENT
from gradlaw.reproduction.experiment import history
from gradlaw.reproduction.inputs import DataSets, augmented, with_least_deviation
from gradlaw.reproduction.measure import Context
from gradlaw.reproduction.measurement import Resolver
from gradlaw.reproduction.reading import Reading
from gradlaw.reproduction.trained_models import TrainedModels
from gradlaw.reproduction.xie2023.networks import LENET
from gradlaw.reproduction.xie2023.paper import PAPER


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


def test_a_reading_is_measured_as_it_says(tmp_path: Path, mnist_folder: Path) -> None:
    models, sizes = TrainedModels(tmp_path, ()), PAPER.profiles["tiny"]
    context = Context(DataSets.find(None, {"mnist": mnist_folder}, hub=False), models)
    text = "k=half,augmentation=yes,constant=floor,padding=0,normalisation=pixel"
    asked = Reading.parse(text, PAPER.axes).experiment(history(LENET, 10))
    record = context.measure(Resolver(sizes, models).resolve(asked, 3), SILENT).record

    data = with_least_deviation(gl.load_data(str(mnist_folder), normalise="pixel"))
    some = LabelledTensors(data.inputs[: sizes.samples], data.targets[: sizes.samples], data.source)
    model = gl.build_model("lenet", (1, 28, 28), 10, seed=3, padding=0)
    problem = gl.Problem(model, cross_entropy, augmented(some, 3))
    analysis = gl.analyze(problem, sizes.iterations, 10, sizes.k // 2, sizes.gaussian_k, seed=3)
    fit = next(v.fit for v in analysis.spectral_verdicts() if v.matrix == "covariance")
    assert fit is not None
    assert record["settings"]["k"] == sizes.k // 2 == fit.k
    assert (record["spectra"]["covariance"]["fit"]["s"], record["loss"]["mean"]) == (fit.s, analysis.losses.mean())
