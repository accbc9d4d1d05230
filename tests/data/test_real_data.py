from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import gradlaw as gl


@pytest.mark.parametrize("split", ["train", "test"])
def test_real_mnist(whole_mnist, split):
    data = gl.load_data(str(whole_mnist), split)
    assert data.inputs.shape == ({"train": 60_000, "test": 10_000}[split], 1, 28, 28)
    assert data.source.normalisation.mean[0] / 255 == pytest.approx(0.1307, abs=1e-4)  # the well-known constants
    assert data.source.normalisation.std[0] / 255 == pytest.approx(0.3081, abs=1e-4)
    assert data.targets[:5].tolist() == {"train": [5, 0, 4, 1, 9], "test": [7, 2, 1, 0, 4]}[split]


def test_the_statistics_of_real_mnist_are_those_of_numpy(whole_mnist):
    raw = gl.load_data(str(whole_mnist), normalise="none").inputs.numpy()[:, 0].astype(np.float64)
    channel = gl.load_data(str(whole_mnist)).source.normalisation
    np.testing.assert_allclose((channel.mean[0], channel.std[0]), (raw.mean(), raw.std()), rtol=1e-12)
    by_pixel = gl.load_data(str(whole_mnist), normalise="pixel")
    std = raw.std(axis=0)
    np.testing.assert_allclose(by_pixel.source.normalisation.mean, raw.mean(axis=0).ravel(), rtol=1e-12)
    np.testing.assert_allclose(by_pixel.source.normalisation.std, np.where(std, std, 1).ravel(), rtol=1e-10)
    assert (std == 0).sum() == 67  # pixels that are never lit
    deviations = by_pixel.inputs.double().std(dim=0, correction=0).numpy()[0]
    np.testing.assert_allclose(deviations, (std > 0).astype(float), atol=1e-4)
    one = pq.read_table(whole_mnist / "train-00000-of-00001.parquet", columns=["image"])["image"][59_999].as_py()
    with Image.open(BytesIO(one["bytes"])) as image:
        assert np.array_equal(raw[59_999], np.asarray(image))


def test_real_cifar10(whole_cifar10):
    data = gl.load_data(str(whole_cifar10), "test")
    assert data.inputs.shape == (10_000, 3, 32, 32)
    assert data.source.classes[:2] == ("airplane", "automobile")
    # The well-known constants of the lossless original.
    np.testing.assert_allclose(np.array(data.source.normalisation.mean) / 255, (0.4914, 0.4822, 0.4465), atol=1e-3)
    np.testing.assert_allclose(np.array(data.source.normalisation.std) / 255, (0.2470, 0.2435, 0.2616), atol=3e-3)
    assert data.description["image_formats"] == ["JPEG"]
    assert torch.bincount(data.targets).tolist() == [1000] * 10


def test_real_avila(whole_avila):
    train, test = (gl.load_data(str(whole_avila), split) for split in ("train", "test"))
    assert (train.inputs.shape, test.inputs.shape, train.classes) == ((10_430, 10), (10_437, 10), 12)
    np.testing.assert_allclose(train.inputs.double().std(dim=0, correction=0), 1, rtol=1e-5)
    assert train.source.normalisation == test.source.normalisation
    table = pq.read_table(whole_avila / "test-00000-of-00001.parquet").to_pandas()
    assert test.targets.tolist() == table["label"].tolist()
