import hashlib
import multiprocessing
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

import gradlaw as gl
from data_files import IMAGE, LABEL, NUMBER, encoded, write_parquet


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("GRADLAW_CACHE", str(folder))
    return folder


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    for split, n in (("train", 40), ("test", 10)):
        rows = {"image": [encoded(i) for i in rng.integers(0, 256, (n, 8, 8, 3), np.uint8)], "label": [0, 2] * (n // 2)}
        write_parquet(tmp_path / "set", rows, {"image": IMAGE, "label": LABEL}, split)
    return str(tmp_path / "set")


def _same(a, b):
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets) and a.source == b.source


@pytest.mark.parametrize("normalise", ["channel", "pixel", "none"])
def test_what_is_kept_is_what_was_read(cache, pictures, normalise):
    for split in ("test", "train"):
        read = gl.load_data(pictures, split, normalise=normalise, cache=False)
        assert not list(cache.glob("*-test-*")) or split == "train"
        for _ in range(2):
            assert _same(gl.load_data(pictures, split, normalise=normalise), read)
    assert len(list(cache.iterdir())) == 2  # one file a split, whatever the normalisation


def _load_together(barrier, folder, split, results, cache):
    warnings.simplefilter("error")
    os.environ["GRADLAW_CACHE"] = str(cache)  # the fork server may be older than the test, and has its environment
    barrier.wait()
    results.put((split, hashlib.sha256(gl.load_data(folder, split).inputs.numpy().tobytes()).hexdigest()))


def test_processes_at_once(cache, pictures):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gradlaw", "gradlaw.data.images"])
    barrier, results = context.Barrier(6), context.Queue()
    processes = [
        context.Process(target=_load_together, args=(barrier, pictures, split, results, cache))
        for split in ("train", "test") * 3
    ]
    for process in processes:
        process.start()
    digests = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert len(set(digests)) == 2
    assert [path.suffix for path in cache.iterdir()] == [".safetensors"] * 2


def test_a_data_set_in_the_cache_needs_no_import_of_datasets(cache, pictures):
    gl.load_data(pictures, "test")
    script = "import sys, gradlaw as gl; gl.load_data(sys.argv[1], 'test'); print('datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, pictures], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("damage", ["empty", "truncated", "extended", "header", "values", "digest"])
def test_a_broken_cache_file_is_noticed_and_made_anew(cache, pictures, damage):
    read = gl.load_data(pictures)
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    if damage in ("empty", "truncated", "extended"):
        content = {"empty": b"", "truncated": content[:-100], "extended": content + b"\0"}[damage]
    else:
        content[{"header": 20, "values": len(content) // 2, "digest": -1}[damage]] ^= 1
    file.write_bytes(content)
    with pytest.warns(UserWarning, match=f"{file.name} is broken"):
        assert _same(gl.load_data(pictures), read)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _same(gl.load_data(pictures), read)


def test_no_changed_byte_of_a_header_goes_unnoticed(cache, pictures):
    read = gl.load_data(pictures)
    (file,) = cache.iterdir()
    content = file.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for position in range(0, header, 29):
        file.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            assert _same(gl.load_data(pictures), read)
        assert [f"{file.name} is broken" in str(one.message) for one in said] in ([True], [])
        assert said or content[position : position + 1] in b" !"  # padding means nothing


def test_a_file_of_the_former_format_is_forgotten(cache, pictures):
    gl.load_data(pictures)
    (file,) = cache.iterdir()
    former = file.with_name(f"{file.stem.rpartition('-')[0]}-0123456789abcdef.arrays")
    file.rename(former)
    gl.load_data(pictures)
    assert list(cache.iterdir()) == [file]


def test_a_changed_source_is_read_again_and_what_it_was_forgotten(cache, tmp_path):
    folder = str(tmp_path / "set")
    for values in ([1.0, 3.0], [5.0, 3.0]):
        write_parquet(tmp_path / "set", {"a": values, "label": [0, 1]}, {"a": NUMBER, "label": LABEL})
        assert gl.load_data(folder, normalise="none").inputs[:, 0].tolist() == values
        assert len(list(cache.iterdir())) == 1


def test_a_test_split_follows_its_training_split(cache, tmp_path):
    features = {"a": NUMBER, "label": LABEL}
    write_parquet(tmp_path / "set", {"a": [7.0], "label": [1]}, features, "test")
    for training in ([1.0, 3.0], [3.0, 7.0]):
        write_parquet(tmp_path / "set", {"a": training, "label": [0, 1]}, features)
        data = gl.load_data(str(tmp_path / "set"), "test")
        assert data.inputs.item() == (7 - np.mean(training)) / np.std(training)


def test_columns_are_part_of_the_key(cache, tmp_path):
    rows = {"a": [1.0, 2.0], "b": [3.0, 4.0], "label": [0, 1], "other": [1, 1]}
    folder = write_parquet(tmp_path / "set", rows, {"a": NUMBER, "b": NUMBER, "label": LABEL, "other": LABEL})
    assert gl.load_data(folder).targets.tolist() == [0, 1]
    assert gl.load_data(folder, label="other").targets.tolist() == [1, 1]
    assert gl.load_data(folder, inputs=["b"]).sample_shape == (1,)
    assert gl.load_data(folder).sample_shape == (2,)


def test_where_the_cache_is(tmp_path, monkeypatch, pictures):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("GRADLAW_CACHE", "off")
    gl.load_data(pictures)
    assert not (tmp_path / "xdg").exists()
    monkeypatch.delenv("GRADLAW_CACHE")
    gl.load_data(pictures, cache=False)
    assert not (tmp_path / "xdg").exists()
    gl.load_data(pictures)
    assert len(list((tmp_path / "xdg/gradlaw").iterdir())) == 1
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    gl.load_data(pictures)
    assert len(list((tmp_path / "home/.cache/gradlaw").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch, pictures):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("GRADLAW_CACHE", os.fspath(tmp_path / "file/cache"))
    with pytest.warns(UserWarning, match="cannot be written .*set GRADLAW_CACHE to a directory that can, or to 'off'"):
        assert len(gl.load_data(pictures)) == 40
