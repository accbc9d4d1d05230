"""Images of mixed sizes, brought to one while they are decoded."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

import gradlaw as gl
from data_files import IMAGE, LABEL, NUMBER, encoded, write_images, write_parquet
from gradlaw.cli.main import main

QUICK = ["--iterations", "40", "--k", "20", "--gaussian-k", "20", "--quiet"]
CLASSES = ["cat", "dog"]


@pytest.fixture
def pictures():
    """Twelve of them in four sizes, some smaller and some larger than 10x8."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((10, 8), (5, 6), (31, 17), (9, 40)) * 3]


@pytest.fixture
def folder(tmp_path, monkeypatch, pictures):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "test"):
        write_images(tmp_path / "mixed" / split, pictures, CLASSES * 6)
    return "mixed"


def test_images_are_interpolated_with_antialiasing(folder, pictures):
    order = sorted(range(12), key=lambda i: (CLASSES[i % 2], i))
    for split in ("train", "test"):
        found = gl.load_data(folder, split, resize=(10, 8), normalise="none")
        assert found.inputs.shape == (12, 3, 10, 8)
        assert found.description["resize"] == [10, 8]
        for image, i in zip(found.inputs, order, strict=True):
            stored = torch.from_numpy(pictures[i]).permute(2, 0, 1)[None].double()
            expected = interpolate(stored, (10, 8), mode="bilinear", antialias=True)[0]
            # Pillow rounds to whole values after each of the two axes.
            assert (image - expected).abs().max() <= (1.01 if stored.shape[2:] != (10, 8) else 0)
    assert gl.load_data(folder, resize=7).sample_shape == (3, 7, 7)


def test_a_column_of_images(tmp_path, pictures):
    rows = {"image": [encoded(image[:, :, 0]) for image in pictures], "label": [0, 2] * 6}
    set_ = write_parquet(tmp_path / "set", rows, {"image": IMAGE, "label": LABEL})
    assert gl.load_data(set_, resize=(4, 6)).sample_shape == (1, 4, 6)


def test_each_size_is_cached_by_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADLAW_CACHE", str(tmp_path / "cache"))
    one_size = [np.full((6, 6), 10 * i, np.uint8) for i in range(4)]
    name = write_images(tmp_path / "set", one_size, CLASSES * 2)
    for _ in range(2):  # the second time from the cache
        shapes = [gl.load_data(name, resize=size).sample_shape for size in (None, 3, (3, 4))]
        assert shapes == [(1, 6, 6), (1, 3, 3), (1, 3, 4)]
        assert len(list((tmp_path / "cache").iterdir())) == 3
    assert "resize" not in gl.load_data(name).description


def test_the_errors_name_the_option(folder, tmp_path):
    with pytest.raises(gl.InputError, match=r"images of mixed sizes in .*: resize=\(height, width\), --resize HxW"):
        gl.load_data(folder)
    write_images(tmp_path / "two/train", [np.zeros((4, 4), np.uint8)], ["cat"])
    write_images(tmp_path / "two/test", [np.zeros((4, 5), np.uint8)], ["cat"])
    with pytest.raises(gl.InputError, match=r"differ in shape: .*--resize HxW"):
        gl.load_data("two", "test")
    write_images(tmp_path / "modes", [np.zeros((4, 4), np.uint8), np.zeros((5, 4, 3), np.uint8)], CLASSES)
    with pytest.raises(gl.InputError, match=r"mixed sizes and colour modes .*--resize HxW.*; store them in one colour"):
        gl.load_data("modes")
    with pytest.raises(gl.InputError, match=r"images of mixed colour modes in [^;]*; store them in one colour mode$"):
        gl.load_data("modes", resize=4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (0, "resize must be at least 1, got 0"),
        ((4, -1), "resize must be at least 1, got -1"),
        (4.0, "resize must be an integer, got 4.0"),
        ("8", "resize must be an integer, got '8'"),
        ((4, 4, 3), r"a pair \(height, width\), got \(4, 4, 3\)"),
        ((10_000, 10_000), "resize to 10,000 x 10,000 pixels is more than 33,554,432 an image"),
    ],
)
def test_what_is_no_size(folder, wrong, message):
    with pytest.raises(gl.InputError, match=message):
        gl.load_data(folder, resize=wrong)


def test_what_is_no_image_is_not_resized(tmp_path):
    numbers = write_parquet(tmp_path / "set", {"a": [1.0, 2.0], "label": [0, 2]}, {"a": NUMBER, "label": LABEL})
    (tmp_path / "poem.txt").write_text("to be or not to be " * 50)
    for data in (numbers, str(tmp_path / "poem.txt"), "digits"):
        with pytest.raises(gl.InputError, match="resize is for images"):
            gl.load_data(data, resize=8)


def test_the_command_line_records_it_and_takes_it_from_a_checkpoint(folder, capsys):
    assert main(["train", "--data", folder, "--epochs", "1", "--quiet"]) == 2
    assert "--resize HxW" in capsys.readouterr().err
    assert main(["train", "--data", folder, "--resize", "6x5", "--width", "5", "--epochs", "1", "--quiet"]) == 0
    trained = "runs/train-fcn-mixed-width5-resize6x5-epochs1-seed0"
    assert main(["analyze", "--checkpoint", trained, "--out", "run", *QUICK]) == 0
    record = json.loads(Path("run/analysis.json").read_text())["provenance"]["problem"]["data"]
    expected = gl.Problem(torch.nn.Linear(5, 2), torch.nn.functional.cross_entropy, gl.load_data(folder, resize=(6, 5)))
    assert record == expected.describe()["data"]
    assert (record["resize"], record["sample_shape"]) == ([6, 5], [3, 6, 5])
    assert "every image to 6x5" in Path("run/report.html").read_text()


@pytest.mark.parametrize("wrong", ["0", "4x", "x4", "4x4x3", "large", "-3"])
def test_the_option_takes_sizes_only(wrong, capsys):
    with pytest.raises(SystemExit):
        main(["analyze", f"--resize={wrong}"])
    assert "argument --resize: " in capsys.readouterr().err
