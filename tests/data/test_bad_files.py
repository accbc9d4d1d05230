import gc

import datasets
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import gradlaw as gl
from data_files import IMAGE, LABEL, NUMBER, encoded, write_images, write_parquet


def _refused(spec, match, split="train", **options):
    with pytest.raises(gl.InputError, match=match):
        gl.load_data(str(spec), split, **options)


def test_unknown_names_and_empty_folders(tmp_path):
    _refused("mnst", r"unknown data set 'mnst'.*digits, mnist")
    _refused("./nowhere/at/all", r"unknown data set '\./nowhere/at/all'")
    (tmp_path / "readme.md").write_text("nothing")
    _refused(tmp_path, r"no Parquet file.*it holds readme\.md")
    _refused(tmp_path / "readme.md", "neither Parquet")


def test_the_hub_out_of_reach(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    _refused("nobody/nothing", "'nobody/nothing'")


def test_missing_columns_and_splits(tmp_path):
    folder = write_parquet(tmp_path / "set", {"a": [1.0, 2.0], "b": [3.0, 4.0]}, {"a": NUMBER, "b": NUMBER})
    _refused(folder, r"no label column.*it has a, b")
    _refused(folder, "no column 'c'; it has a, b", label="c")
    _refused(folder, "no column 'c'; it has a, b", label="a", inputs=["c"])
    _refused(folder, "no split 'test'; it has train", "test")
    _refused(write_parquet(tmp_path / "bare", {"label": [0]}, {"label": LABEL}), "no column beside the label")


SMALL, LARGE = np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)
ROWS = {
    "gap": ([1.0, None], [0, 1], NUMBER, LABEL, "column 'a' has no value in row 1 of FILE"),
    "nan": ([1.0, 2.0, np.nan], [0, 1, 2], NUMBER, LABEL, "column 'a' is nan in row 2 of FILE"),
    "unlabelled": ([1.0, 2.0], [0, None], NUMBER, LABEL, "label column 'label' has no value in row 1 of FILE"),
    "placeholder": ([1.0, 2.0], [0, -1], NUMBER, LABEL, "label -1 in row 1 of FILE"),
    "measured": ([1.0, 2.0], [0.5, 1.5], NUMBER, NUMBER, "must hold class numbers or names; row 0 of FILE.* holds 0.5"),
    "text": (["1.0", "x"], [0, 1], datasets.Value("string"), LABEL, "column 'a' is 'x' in row 1 of FILE"),
    "words": (["x", "y"], [0, 1], datasets.Value("string"), LABEL, "column 'a' of .* holds no numbers .string"),
    "lists": ([[1.0], [2.0]], [0, 1], datasets.List(NUMBER), LABEL, "column 'a' of .* holds no numbers"),
    "sizes": ([encoded(SMALL), encoded(LARGE)], [0, 1], IMAGE, LABEL, "mixed sizes.*row 1 of FILE.* is 4x5 with 1 "),
    "no image": ([encoded(SMALL), None], [0, 1], IMAGE, LABEL, "column 'a' has no image in row 1 of FILE"),
    "broken image": (
        [encoded(SMALL), {"bytes": b"no picture", "path": None}], [0, 1], IMAGE, LABEL,
        "no readable image in row 1 of FILE",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_bad_rows_are_located_in_their_file(tmp_path, name):
    values, labels, feature, label, message = ROWS[name]
    features = {"a": feature, "label": label}
    write_parquet(tmp_path, {"a": values[:1] * 3, "label": labels[:1] * 3}, features, shard="00000-of-00002")
    write_parquet(tmp_path, {"a": values, "label": labels}, features, shard="00001-of-00002")
    first = name in ("measured", "words")  # wrong from the first row on
    _refused(tmp_path, message.replace("FILE", r".*00000-of" if first else r".*00001-of"))


def test_a_label_that_the_training_split_does_not_have(tmp_path):
    features = {"a": NUMBER, "label": datasets.Value("string")}
    for split, labels in (("train", ["owl", "fox"]), ("test", ["owl", "elk"])):
        write_parquet(tmp_path, {"a": [1.0, 2.0], "label": labels}, features, split)
    _refused(tmp_path, "label 'elk' in row 1 of .*test-00000", "test")


def test_splits_of_different_sizes(tmp_path):
    for split, image in (("train", SMALL), ("test", LARGE)):
        write_parquet(tmp_path, {"a": [encoded(image)], "label": [0]}, {"a": IMAGE, "label": LABEL}, split)
    _refused(tmp_path, r"differ in shape: \(1, 4, 5\) and \(1, 4, 4\)", "test")


@pytest.mark.parametrize("keep", [0, 200, -1])
def test_a_truncated_parquet_file_is_named(tmp_path, keep):
    rows = {"a": np.random.default_rng(0).normal(size=500), "label": [0] * 500}
    folder = write_parquet(tmp_path / "set", rows, {"a": NUMBER, "label": LABEL})
    file = tmp_path / "set/train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:keep])
    _refused(folder, f"{file.name} is no whole Parquet file")


def test_a_parquet_file_with_damaged_pages_is_named_with_its_rows(tmp_path):
    rows = {"a": np.random.default_rng(0).normal(size=500), "label": [0] * 500}
    folder = write_parquet(tmp_path / "set", rows, {"a": NUMBER, "label": LABEL})
    file = tmp_path / "set/train-00000-of-00001.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:4] + bytes(200) + content[204:])
    _refused(folder, f"{file.name} is broken in rows 0 to 499")


def test_an_empty_split(tmp_path):
    folder = write_parquet(tmp_path / "set", {"a": [], "label": []}, {"a": NUMBER, "label": LABEL})
    _refused(folder, r"train-00000-of-00001\.parquet is empty")
    (tmp_path / "a.csv").write_text("a,label\n")
    _refused(tmp_path / "a.csv", r"a\.csv is empty")
    (tmp_path / "b.csv").write_text("")
    _refused(tmp_path / "b.csv", r"b\.csv is empty")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,cat", "x,dog", "3,dog"], "column 'a' is 'x' in row 1 of FILE, and elsewhere numbers"),
        (["1,cat", "2,dog"] * 6000 + ["x,dog"], "column 'a' is 'x' in row 12000 of FILE, and elsewhere numbers"),
        (["1,cat", ",dog"], "column 'a' has no value in row 1 of FILE"),
        (["1,cat", "inf,dog"], "column 'a' is inf in row 1 of FILE"),
        (["1,cat", "2,"], "label column 'label' has no value in row 1 of FILE"),
        (["1,cat", "2,dog,3,4"], "FILE is no readable CSV file: .*line 3"),
        (["1,0.5", "2,1.5"], "label column 'label' must hold class numbers or names; row 0 of FILE holds 0.5"),
        (["1,0", "2,"], "label column 'label' has no value in row 1 of FILE"),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # datasets does not close what it cannot read
def test_bad_rows_of_csv_files(tmp_path, lines, message):
    file = tmp_path / "train.csv"
    file.write_text("\n".join(["a,label", *lines]))
    _refused(tmp_path, message.replace("FILE", str(file)))
    gc.collect()


def test_bad_rows_of_the_text_files_of_avila(tmp_path):
    for name, last in (("avila-tr.txt", "x"), ("avila-ts.txt", "1.0")):
        (tmp_path / name).write_text("".join(f"{'0.5,' * 9}{value},A\n" for value in ("1.0", last)))
    _refused(tmp_path, r"column 'modular_ratio_to_interlinear_spacing' is 'x' in row 1 of .*avila-tr\.txt")


def test_an_index_column_is_no_input(tmp_path):
    (tmp_path / "train.csv").write_text(",a,label\n0,1.0,cat\n1,3.0,dog\n")
    _refused(tmp_path, "column 'Unnamed: 0' of .* has no name")
    number = pd.DataFrame({"a": [1.0, 3.0], "label": [0, 1]}, index=[5, 7])
    (tmp_path / "pandas").mkdir()
    number.to_parquet(tmp_path / "pandas/train.parquet")
    _refused(tmp_path / "pandas", "column '__index_level_0__' of .* has no name")
    assert gl.load_data(str(tmp_path / "train.csv"), inputs=["a"]).inputs.tolist() == [[-1.0], [1.0]]


def test_bad_image_folders(tmp_path):
    Image.fromarray(SMALL).save(tmp_path / "loose.png")
    _refused(tmp_path, "must lie in class folders, as <class>/<image>; .*loose.png does not")
    write_images(tmp_path / "split/train", [SMALL], [""])
    _refused(tmp_path / "split", "as <split>/<class>/<image>; .*000.png does not")
    folder = write_images(tmp_path / "broken", [SMALL] * 3, ["cat", "dog", "dog"])
    (tmp_path / "broken/dog/001.png").write_bytes(b"no picture")
    _refused(folder, r"no readable image in .*dog/001\.png")
    folder = write_images(tmp_path / "cut", [np.random.default_rng(0).integers(0, 255, (30, 30), np.uint8)], ["cat"])
    file = tmp_path / "cut/cat/000.png"
    file.write_bytes(file.read_bytes()[:400])
    _refused(folder, r"no readable image in .*cat/000\.png")
    folder = write_images(tmp_path / "mixed", [SMALL, LARGE], ["cat", "dog"])
    _refused(folder, r"mixed sizes.*dog/001\.png is 4x5 with 1 channels of uint8, row 0 4x4")
    folder = write_images(tmp_path / "colours", [SMALL, np.zeros((4, 4, 3), np.uint8)], ["cat", "dog"])
    _refused(folder, r"dog/001\.png is 4x4 with 3 channels")


@pytest.mark.parametrize("size", [(6_000, 6_000), (60_000, 60_000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_that_would_fill_the_memory_is_named_and_not_decoded(tmp_path, size):
    write_images(tmp_path, [SMALL], ["cat"])
    (tmp_path / "cat/000.png").write_bytes(b"P5 %d %d 255\n" % size)  # says how large it is, and holds nothing
    _refused(tmp_path, r"no readable image in .*cat/000\.png: .*pixels")


def test_more_images_than_memory_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    write_images(tmp_path, [SMALL] * 3, ["cat"] * 3)
    monkeypatch.setattr("gradlaw.data.images.free_memory", lambda _: 40)
    _refused(tmp_path, "the 3 images of column 'image', each 4x4 with 1 channels of uint8, take 0.0 GB and 0.0 GB are")


def test_the_types_of_columns_are_not_copied_for_each_of_them(tmp_path, monkeypatch):
    counts, copy = [], datasets.Features.copy
    for columns in (5, 50):
        calls = []
        monkeypatch.setattr(datasets.Features, "copy", lambda self, calls=calls: calls.append(1) or copy(self))
        frame = (
            pd.DataFrame(np.arange(3 * columns).reshape(3, columns) ** 2).rename(columns=str).assign(label=[0, 1, 1])
        )
        frame.to_csv(tmp_path / "wide.csv", index=False)
        assert gl.load_data(str(tmp_path / "wide.csv"), cache=False).inputs.shape == (3, columns)
        counts.append(len(calls))
    assert counts[0] == counts[1], "the time to read a table of many columns would grow as their square"
