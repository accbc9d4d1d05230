import io

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import gradlaw as gl


def _write(folder, rows, features, split="train"):
    """A split in the layout of the hub: <split>-00000-of-00001.parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(rows, features=datasets.Features(features)).to_parquet(
        folder / f"{split}-00000-of-00001.parquet"
    )
    return str(folder)


def _png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png")
    return {"bytes": buffer.getvalue(), "path": None}


LABEL = datasets.ClassLabel(names=["cat", "dog", "owl"])


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_digits_are_those_of_scikit_learn():
    data = gl.load_data("digits")
    images, labels = load_digits(return_X_y=True)
    mean, std = images.mean(), images.std()
    expected = ((images - mean) / std).reshape(-1, 1, 8, 8)
    np.testing.assert_allclose(data.inputs.numpy(), expected, atol=1e-5)
    assert np.array_equal(data.targets.numpy(), labels)
    assert (data.sample_shape, data.classes) == ((1, 8, 8), 10)


@pytest.mark.parametrize("mode", ["grey", "rgb"])
def test_a_folder_of_images_is_normalised_by_channel_of_the_training_split(tmp_path, mode):
    rng = np.random.default_rng(0)
    shape = (7, 5) if mode == "grey" else (7, 5, 3)
    train, test = (rng.integers(0, 256, (n, *shape), dtype=np.uint8) for n in (12, 4))
    features = {"image": datasets.Image(), "label": LABEL}
    for name, images in (("train", train), ("test", test)):
        _write(
            tmp_path / "set", {"image": [_png(i) for i in images], "label": [0, 1] * (len(images) // 2)}, features, name
        )
    for split, images in (("train", train), ("test", test)):
        data = gl.load_data(str(tmp_path / "set"), split)
        channels = 1 if mode == "grey" else 3
        as_channels = images.reshape(len(images), 7, 5, channels).transpose(0, 3, 1, 2).astype(float)
        of_train = train.reshape(12, 7, 5, channels).astype(float)
        mean, std = of_train.mean(axis=(0, 1, 2)), of_train.std(axis=(0, 1, 2))
        expected = (as_channels - mean[:, None, None]) / std[:, None, None]
        np.testing.assert_allclose(data.inputs.numpy(), expected, atol=1e-5)
        assert data.inputs.dtype == torch.float32
        np.testing.assert_allclose(data.source.normalisation.mean, mean)
    assert data.source.classes == ("cat", "dog", "owl")


def test_numeric_columns_are_normalised_each_by_itself(tmp_path):
    rng = np.random.default_rng(0)
    columns = {"a": rng.normal(3, 5, 20), "b": rng.integers(0, 9, 20), "constant": np.full(20, 4.0)}
    features = {"a": datasets.Value("float64"), "b": datasets.Value("int32"), "constant": datasets.Value("float32")}
    labels = list("zyx" * 6 + "zy")
    folder = _write(tmp_path / "set", columns | {"label": labels}, features | {"label": datasets.Value("string")})
    data = gl.load_data(folder)
    assert data.inputs.shape == (20, 3)
    np.testing.assert_allclose(data.inputs[:, :2].mean(dim=0), 0, atol=1e-6)
    np.testing.assert_allclose(data.inputs[:, :2].std(dim=0, correction=0), 1, atol=1e-5)
    assert not data.inputs[:, 2].any()
    assert data.source.classes == ("x", "y", "z")
    assert [data.source.classes[i] for i in data.targets] == labels


def test_a_folder_named_like_a_hub_id_with_the_schema_of_cifar100(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = [_png(np.full((4, 4, 3), 10 * i, dtype=np.uint8)) for i in range(6)]
    fine, coarse = datasets.ClassLabel(num_classes=100), datasets.ClassLabel(num_classes=20)
    rows = {"img": images, "fine_label": [7, 1, 99, 3, 4, 5], "coarse_label": [0] * 6}
    _write(tmp_path / "uoft-cs/cifar100", rows, {"img": datasets.Image(), "fine_label": fine, "coarse_label": coarse})
    data = gl.load_data("uoft-cs/cifar100")
    assert data.targets.tolist() == [7, 1, 99, 3, 4, 5]
    assert (data.classes, data.source.input_columns, data.source.label_column) == (100, ("img",), "fine_label")
    assert gl.load_data("uoft-cs/cifar100", label="coarse_label").targets.tolist() == [0] * 6


def test_real_mnist(mnist_folder):
    data = gl.load_data(str(mnist_folder), "test")
    assert data.inputs.shape == (10_000, 1, 28, 28)
    assert data.source.normalisation.mean[0] / 255 == pytest.approx(0.1307, abs=1e-4)  # the well-known constants
    assert data.source.normalisation.std[0] / 255 == pytest.approx(0.3081, abs=1e-4)
    assert data.targets[:5].tolist() == [7, 2, 1, 0, 4]


def test_unknown_names_and_empty_folders(tmp_path):
    with pytest.raises(gl.InputError, match=r"unknown data set 'mnst'.*digits, mnist"):
        gl.load_data("mnst")
    with pytest.raises(gl.InputError, match=r"unknown data set '\./nowhere/at/all'"):
        gl.load_data("./nowhere/at/all")
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(gl.InputError, match=r"no Parquet file.*it holds .*readme\.txt"):
        gl.load_data(str(tmp_path))


def test_the_hub_out_of_reach(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(gl.InputError, match="'nobody/nothing'"):
        gl.load_data("nobody/nothing")


def test_missing_label_and_split(tmp_path):
    number = datasets.Value("float32")
    folder = _write(tmp_path / "set", {"a": [1.0, 2.0], "b": [3.0, 4.0]}, {"a": number, "b": number})
    with pytest.raises(gl.InputError, match=r"no label column.*it has a, b"):
        gl.load_data(folder)
    with pytest.raises(gl.InputError, match="no column 'c'; it has a, b"):
        gl.load_data(folder, label="c")
    with pytest.raises(gl.InputError, match="no split 'test'; it has train"):
        gl.load_data(folder, "test")
    with pytest.raises(gl.InputError, match="no split 'test'"):
        gl.load_data("digits", "test")


def test_bad_rows_are_located(tmp_path):
    number, image = datasets.Value("float32"), datasets.Image()
    cases = {
        "gap": ({"a": [1.0, None], "label": [0, 1]}, number, "column 'a' has no value in row 1"),
        "nan": ({"a": [1.0, 2.0, float("nan")], "label": [0, 1, 2]}, number, "column 'a' is nan in row 2"),
        "unlabelled": ({"a": [1.0, 2.0], "label": [0, None]}, number, "row 1 holds None"),
        "sizes": (
            {"a": [_png(np.zeros((4, 4), np.uint8)), _png(np.zeros((4, 5), np.uint8))], "label": [0, 1]},
            image,
            r"row 1 is \(4, 5\), row 0 \(4, 4\)",
        ),
    }
    for name, (rows, feature, message) in cases.items():
        folder = _write(tmp_path / name, rows, {"a": feature, "label": LABEL})
        with pytest.raises(gl.InputError, match=message):
            gl.load_data(folder)


def test_a_truncated_file_is_named(tmp_path):
    folder = _write(
        tmp_path / "set", {"a": [1.0] * 50, "label": [0] * 50}, {"a": datasets.Value("float32"), "label": LABEL}
    )
    file = tmp_path / "set/train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(gl.InputError, match="cannot be read"):
        gl.load_data(folder)


def test_an_empty_split(tmp_path):
    folder = _write(tmp_path / "set", {"a": [], "label": []}, {"a": datasets.Value("float32"), "label": LABEL})
    with pytest.raises(gl.InputError, match="no data"):
        gl.load_data(folder)
