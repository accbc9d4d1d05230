"""The settings of a history: by attribute and by name, to and from JSON, of earlier versions too."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import zarr

import gradlaw as gl
from gradlaw.history.settings import ENGINES, HistorySettings
from gradlaw.minibatches import Minibatches


@pytest.fixture
def history(small_problem) -> gl.GradientHistory:
    transforms = (gl.ClipByNorm(1.0), gl.Momentum(0.9))
    return gl.collect(small_problem, 12, 4, seed=3, transforms=transforms, dtype="bfloat16", replacement=True)


def test_attributes_and_names_say_the_same(history):
    settings = history.settings
    assert (settings.iterations, settings.batch_size, settings.seed, settings.replacement) == (12, 4, 3, True)
    assert settings.transforms == ("clip-norm=1.0,norm_type=2.0", "momentum=0.9,dampening=0.0")
    assert settings["transforms"] == list(settings.transforms)
    assert settings["storage"] == dataclasses.asdict(settings.storage)
    assert settings.storage.dtype == "bfloat16"
    assert settings.storage.rounding > 0
    assert dict(settings) == settings.as_dict() == settings
    assert settings | {"k": 3} == settings.as_dict() | {"k": 3}
    assert settings.engine in ENGINES[1:]
    with pytest.raises(KeyError, match="batchsize"):
        settings["batchsize"]


def test_json_and_back(history):
    assert HistorySettings.from_dict(json.loads(json.dumps(history.settings.as_dict()))) == history.settings
    assert dataclasses.replace(history.settings, seed=4) != history.settings


def test_minibatches_are_those_of_the_run(history, small_problem):
    ours, expected = history.settings.minibatches(), Minibatches(small_problem.samples, 4, 12, 3, True)
    np.testing.assert_array_equal(list(ours), list(expected))


def test_settings_of_earlier_versions_are_read(small_problem, tmp_path):
    history = gl.collect(small_problem, 12, 4, store=tmp_path / "store")
    record = dict(zarr.open_group(tmp_path / "store", mode="r").attrs["gradlaw"])
    later = ("storage", "rounding_alone", "transforms", "samples")
    record["settings"] = {name: value for name, value in record["settings"].items() if name not in later}
    group = zarr.create_group(tmp_path / "old", attributes={"gradlaw": record})
    for name, values in (("gradients", history[:]), ("losses", history.losses)):
        group.create_array(name, data=values.numpy(), compressors=None)  # without the checksums of today
    opened = gl.GradientHistory.open(tmp_path / "old")
    assert (opened.settings.storage.dtype, opened.settings.samples) == ("float32", small_problem.samples)
    assert dataclasses.replace(opened, notices=opened.notices[:-1]) == history


def test_settings_that_are_missing_or_unknown_are_refused(history):
    record = history.settings | {"momentum": 0.9}
    del record["seed"]
    with pytest.raises(gl.InputError, match=r"lack seed and hold momentum, which only a later version"):
        HistorySettings.from_dict(record)


def test_bands_on_disk_are_checked_and_change_no_more_than_rounding(small_problem, tmp_path):
    with pytest.raises(gl.InputError, match="band_bytes must be at least 1, got 0"):
        gl.collect(small_problem, 12, 4, store=tmp_path / "none", band_bytes=0)
    assert not (tmp_path / "none").exists()
    small, large = (
        gl.collect(small_problem, 12, 4, store=tmp_path / str(size), band_bytes=size) for size in (1, 2**20)
    )
    assert small.gradients.chunks == (1, 1)
    whole = gl.collect(small_problem, 12, 4)
    for banded in (small, large):  # how many iterations an engine takes at once is a matter of the band
        assert banded.settings == whole.settings
        torch.testing.assert_close(banded[:], whole[:], rtol=1e-5, atol=1e-7)
