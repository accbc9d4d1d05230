import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import gradlaw as gl
from data_files import IMAGE, LABEL, NUMBER, encoded, write_images, write_parquet


def _pictures(n, seed=0, shape=(7, 5, 3)):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def test_digits_are_those_of_scikit_learn():
    data = gl.load_data("digits")
    images, labels = load_digits(return_X_y=True)
    mean, std = images.mean(), images.std()
    expected = ((images - mean) / std).reshape(-1, 1, 8, 8)
    np.testing.assert_allclose(data.inputs.numpy(), expected, atol=1e-5)
    assert np.array_equal(data.targets.numpy(), labels)
    assert (data.sample_shape, data.classes) == ((1, 8, 8), 10)
    with pytest.raises(gl.InputError, match="no split 'test'"):
        gl.load_data("digits", "test")
    with pytest.raises(gl.InputError, match="no column 'digit'"):
        gl.load_data("digits", label="digit")


@pytest.mark.parametrize("mode", ["grey", "rgb"])
@pytest.mark.parametrize("normalise", ["channel", "pixel", "none"])
def test_images_are_normalised_with_the_training_split(tmp_path, mode, normalise):
    shape, channels = ((7, 5), 1) if mode == "grey" else ((7, 5, 3), 3)
    train, test = _pictures(12, 0, shape), _pictures(4, 1, shape)
    train[:, 2, 3] = 255  # a constant pixel
    for name, images in (("train", train), ("test", test)):
        rows = {"image": [encoded(i) for i in images], "label": [0, 1] * (len(images) // 2)}
        write_parquet(tmp_path / "set", rows, {"image": IMAGE, "label": LABEL}, name)
    axes = {"channel": (0, 2, 3), "pixel": 0}
    first = {name: images.reshape(-1, 7, 5, channels).transpose(0, 3, 1, 2).astype(float)
             for name, images in (("train", train), ("test", test))}  # fmt: skip
    for split, values in first.items():
        data = gl.load_data(str(tmp_path / "set"), split, normalise=normalise)
        if normalise == "none":
            mean, std = 0.0, 1.0
        else:
            mean = first["train"].mean(axis=axes[normalise], keepdims=True)
            std = first["train"].std(axis=axes[normalise], keepdims=True)
            np.testing.assert_allclose(data.source.normalisation.mean, mean.ravel())
            std = np.where(std == 0, 1, std)
            np.testing.assert_allclose(data.source.normalisation.std, std.ravel())
        np.testing.assert_allclose(data.inputs.numpy(), (values - mean) / std, atol=1e-5)
        assert data.inputs.dtype == torch.float32
        assert data.source.normalisation.per == normalise
    assert data.source.classes == ("cat", "dog", "owl")
    assert data.description["image_formats"] == ["PNG"]


def test_an_unknown_normalisation():
    with pytest.raises(gl.InputError, match="unknown normalisation 'batch'; there are channel, pixel, none"):
        gl.load_data("digits", normalise="batch")


def test_numeric_columns_are_normalised_each_by_itself(tmp_path):
    rng = np.random.default_rng(0)
    columns = {"a": rng.normal(3, 5, 20), "b": rng.integers(0, 9, 20), "constant": np.full(20, 0.1)}
    features = {"a": datasets.Value("float64"), "b": datasets.Value("int32"), "constant": datasets.Value("float64")}
    labels = list("zyx" * 6 + "zy")
    folder = write_parquet(
        tmp_path / "set", columns | {"label": labels}, features | {"label": datasets.Value("string")}
    )
    data = gl.load_data(folder)
    assert data.inputs.shape == (20, 3)
    np.testing.assert_allclose(data.inputs[:, :2].mean(dim=0), 0, atol=1e-6)
    np.testing.assert_allclose(data.inputs[:, :2].std(dim=0, correction=0), 1, atol=1e-5)
    assert not data.inputs[:, 2].any()
    assert data.source.classes == ("x", "y", "z")
    assert [data.source.classes[i] for i in data.targets] == labels
    assert data.source.normalisation.per == "column"
    chosen = gl.load_data(folder, inputs=["b"])
    assert torch.equal(chosen.inputs[:, 0], data.inputs[:, 1])


def test_the_classes_of_another_split_are_numbered_as_those_of_the_training_split(tmp_path):
    features = {"a": NUMBER, "label": datasets.Value("string")}
    for split, labels in (("train", ["fox", "bear", "owl"]), ("test", ["owl", "fox", "owl"])):
        write_parquet(tmp_path / "set", {"a": [1.0, 2.0, 3.0], "label": labels}, features, split)
    assert gl.load_data(str(tmp_path / "set"), "test").targets.tolist() == [2, 1, 2]


def test_shards_are_read_in_their_order(tmp_path):
    for i in range(3):
        rows = {"a": [float(i)], "label": [i]}
        write_parquet(tmp_path / "set", rows, {"a": NUMBER, "label": LABEL}, shard=f"0000{i}-of-00003")
    assert gl.load_data(str(tmp_path / "set")).targets.tolist() == [0, 1, 2]


@pytest.mark.parametrize("spec", ["cifar100", "uoft-cs/cifar100"])
def test_a_folder_named_like_a_hub_id_with_the_schema_of_cifar100(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    fine, coarse = datasets.ClassLabel(num_classes=100), datasets.ClassLabel(num_classes=20)
    features = {"img": IMAGE, "fine_label": fine, "coarse_label": coarse}
    for split, labels in (("train", [7, 1, 99, 3, 4, 5]), ("test", [2, 98])):
        images = [encoded(image) for image in _pictures(len(labels), shape=(32, 32, 3))]
        rows = {"img": images, "fine_label": labels, "coarse_label": [19] * len(labels)}
        write_parquet(tmp_path / "uoft-cs/cifar100/cifar100", rows, features, split)
    data = gl.load_data(spec)
    assert data.targets.tolist() == [7, 1, 99, 3, 4, 5]
    assert (data.classes, data.source.input_columns, data.source.label_column) == (100, ("img",), "fine_label")
    coarse_data = gl.load_data(spec, "test", label="coarse_label")
    assert (coarse_data.targets.tolist(), coarse_data.classes) == ([19, 19], 20)


@pytest.mark.parametrize(("name", "column"), [("mnist", "image"), ("cifar10", "img")])
def test_a_name_means_its_hub_id(tmp_path, monkeypatch, name, column):
    monkeypatch.chdir(tmp_path)
    owner = {"mnist": "ylecun", "cifar10": "uoft-cs"}[name]
    rows = {column: [encoded(i) for i in _pictures(2)], "label": [2, 0]}
    write_parquet(tmp_path / owner / name, rows, {column: IMAGE, "label": LABEL})
    assert gl.load_data(name).targets.tolist() == [2, 0]


def test_a_single_file(tmp_path):
    write_parquet(tmp_path, {"a": [1.0, 3.0], "label": [0, 2]}, {"a": NUMBER, "label": LABEL}, split="mine")
    data = gl.load_data(str(tmp_path / "mine-00000-of-00001.parquet"))
    assert (data.inputs.tolist(), data.targets.tolist()) == ([[-1.0], [1.0]], [0, 2])
    (tmp_path / "mine.csv").write_text("a,label\n1,cat\n3,owl\n")
    data = gl.load_data(str(tmp_path / "mine.csv"))
    assert (data.inputs.tolist(), data.source.classes) == ([[-1.0], [1.0]], ("cat", "owl"))


def test_a_folder_of_csv_files(tmp_path):
    (tmp_path / "train.csv").write_text("height,width,kind\n1,10,cat\n3,30,owl\n")
    (tmp_path / "test.csv").write_text("height,width,kind\n5,20,owl\n")
    data = gl.load_data(str(tmp_path), "test", label="kind")
    assert data.inputs.tolist() == [[3.0, 0.0]]
    assert data.targets.tolist() == [1]
    assert data.source.input_columns == ("height", "width")


def test_the_text_files_of_avila(tmp_path):
    line = "0.1,0.2,0.3,0.4,{},0.6,0.7,0.8,0.9,1.0,{}\n"
    (tmp_path / "avila-tr.txt").write_text(line.format(1, "A") + line.format(3, "F"))
    (tmp_path / "avila-ts.txt").write_text(line.format(5, "F"))
    data = gl.load_data(str(tmp_path), "test")
    assert (data.inputs[0, 4].item(), data.targets.tolist(), data.source.classes) == (3.0, [1], ("A", "F"))
    with pytest.raises(gl.InputError, match=r"'avila' is not on the hub: .*archive\.ics\.uci\.edu"):
        gl.load_data("avila")


@pytest.mark.parametrize("splits", [False, True])
def test_images_in_class_folders(tmp_path, splits):
    images, labels = _pictures(6), ["owl", "cat", "owl", "dog", "cat", "owl"]
    folder = tmp_path / "[my] pictures"  # characters that mean something in patterns
    if splits:
        write_images(folder / "train", images, labels)
        write_images(folder / "test", images[:1], ["owl"])
    else:
        write_images(folder, images, labels)
    (folder / "notes.txt").write_text("not an image")
    data = gl.load_data(str(folder), normalise="none")
    order = sorted(range(6), key=lambda i: (labels[i], i))
    assert data.source.classes == ("cat", "dog", "owl")
    assert [data.source.classes[i] for i in data.targets] == sorted(labels)
    assert np.array_equal(data.inputs.numpy(), images[order].transpose(0, 3, 1, 2))
    if splits:
        test = gl.load_data(str(folder), "test")
        assert (test.targets.tolist(), test.source.classes) == ([2], ("cat", "dog", "owl"))


def test_classes_may_be_named_like_splits(tmp_path):
    write_images(tmp_path, _pictures(3), ["bus", "train", "bus"])
    assert gl.load_data(str(tmp_path)).source.classes == ("bus", "train")


def test_a_split_may_lie_in_folders_of_several_names(tmp_path):
    for folder, labels in (("train", ["cat", "owl"]), ("val", ["owl"]), ("valid", ["cat"])):
        write_images(tmp_path / folder, _pictures(len(labels)), labels)
    assert gl.load_data(str(tmp_path)).targets.tolist() == [0, 1]
    assert gl.load_data(str(tmp_path), "validation").targets.tolist() == [1, 0]


def test_images_are_turned_and_palettes_resolved(tmp_path):
    picture = _pictures(1)[0]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    (tmp_path / "a").mkdir()
    Image.fromarray(picture).rotate(90, expand=True).save(tmp_path / "a/1.png", exif=exif)
    flat = np.zeros((7, 5, 3), np.uint8) + np.uint8([10, 200, 30])
    Image.fromarray(flat).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a/2.png")
    data = gl.load_data(str(tmp_path), normalise="none")
    assert np.array_equal(data.inputs[0].numpy(), picture.transpose(2, 0, 1))
    assert np.array_equal(data.inputs[1].numpy(), flat.transpose(2, 0, 1))


def test_the_statistics_are_shown(capsys):
    with gl.Progress() as progress:
        gl.load_data("digits", progress=progress)
    assert "digits: normalised by channel of the training split, mean 4.884, std 6.017" in capsys.readouterr().err
