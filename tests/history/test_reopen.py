"""A finished history on disk is read in place of collecting the same again."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

import gradlaw as gl

SETTINGS = {"iterations": 24, "batch_size": 4, "k": 10, "gaussian_k": 10, "seed": 3}


@pytest.fixture
def problem() -> gl.Problem:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).eval()
    return gl.Problem(model, cross_entropy, (torch.randn(80, 6), torch.randint(3, (80,))))


def test_the_second_run_reads_what_the_first_one_left(problem, tmp_path):
    calls = []

    def counted(outputs, targets):
        calls.append(len(targets))
        return cross_entropy(outputs, targets)

    store, problem = tmp_path / "store", gl.Problem(problem.model, counted, problem.data)
    first = gl.analyze(problem, store=store, **SETTINGS)
    files = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    assert len(calls) > 1
    calls.clear()
    # What the tests and the figures depend on may differ: nothing of it is in the history.
    again = gl.analyze(problem, store=str(store), **(SETTINGS | {"k": 12, "alpha": 0.01}))
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == files
    np.testing.assert_array_equal(again.spectra["covariance"].eigenvalues, first.spectra["covariance"].eigenvalues)
    assert again.settings["k"] == 12
    # The first minibatch, the last and the one of largest loss, to see that they are the same.
    assert calls == [SETTINGS["batch_size"]] * 3
    assert again.provenance["problem"] == first.provenance["problem"]


def test_what_collect_left_is_read_too(problem, tmp_path):
    gl.collect(problem, 24, 4, seed=3, engine="loop", store=tmp_path / "store")
    assert gl.analyze(problem, store=tmp_path / "store", **SETTINGS).settings["engine"] == "loop"


def test_collecting_twice_into_one_folder_reads_what_is_there(problem, tmp_path):
    first = gl.collect(problem, 24, 4, seed=3, store=tmp_path / "store")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")}
    assert gl.collect(problem, np.int64(24), np.int32(4), torch.tensor(3), store=tmp_path / "store") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*")} == files
    with pytest.raises(gl.InputError, match="seed is 3, not 4"):
        gl.collect(problem, 24, 4, seed=4, store=tmp_path / "store")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 30}, "iterations is 24, not 30"),
        ({"batch_size": 5}, "batch_size is 4, not 5"),
        ({"seed": 4}, "seed is 3, not 4"),
        ({"replacement": True}, "replacement is False, not True"),
        ({"transforms": (gl.ClipByNorm(1.0),)}, r"transforms is \[\], not \['clip-norm=1.0"),
        ({"dtype": "bfloat16"}, "stored as is float32, not bfloat16"),
        ({"engine": "loop"}, "not loop"),
    ],
)
def test_a_history_of_other_settings_is_refused(problem, tmp_path, settings, message):
    gl.analyze(problem, store=tmp_path / "store", **SETTINGS)
    with pytest.raises(gl.InputError, match=message):
        gl.analyze(problem, store=tmp_path / "store", **(SETTINGS | settings))


def test_a_history_of_another_problem_is_refused(problem, tmp_path):
    gl.analyze(problem, store=tmp_path / "store", **SETTINGS)
    (inputs, targets), model = problem.data, problem.model
    moved = copy.deepcopy(model)
    with torch.no_grad():
        moved[0].bias[0] += 1
    one_hot = nn.functional.one_hot(targets, 3).float()
    for other, message in (
        (gl.Problem(moved, cross_entropy, (inputs, targets)), "parameters_sha256"),
        (gl.Problem(model, cross_entropy, (inputs + 1, targets)), "sha256 of the data"),
        (gl.Problem(model, mse_loss, (inputs, one_hot)), "loss is cross_entropy, not mse_loss"),
        (gl.Problem(model, cross_entropy, (inputs, targets), parameters="0.*"), "dimensions"),
    ):
        with pytest.raises(gl.InputError, match=message):
            gl.analyze(other, store=tmp_path / "store", **SETTINGS)


def test_other_buffers_show_in_the_loss(problem, tmp_path):
    gl.analyze(problem, store=tmp_path / "store", **SETTINGS)
    problem.model[1].running_mean += 1
    with pytest.raises(gl.InputError, match="the loss of the first minibatch is"):
        gl.analyze(problem, store=tmp_path / "store", **SETTINGS)
