"""Counts of any kind of integer, descriptions of any kind of data, and progress that is not asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import gradlaw as gl
from gradlaw.curvature import empirical_fisher, monte_carlo_fisher, split_hessian
from gradlaw.plain import description_of, plain


@pytest.fixture(scope="module")
def problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    return gl.Problem(model, cross_entropy, (torch.randn(80, 6), torch.randint(0, 3, (80,))))


def test_any_integer_is_a_count(problem, tmp_path):
    numbers = np.int64(40), np.uint8(2), torch.tensor(9), np.int16(20)
    run = gl.analyze(problem, *numbers, alpha=np.float32(0.0625), seed=np.int64(1), replacement=np.bool_(True))
    run.save(tmp_path / "run")
    again = gl.analyze(problem, 40, 2, 9, 20, seed=1, alpha=0.0625, replacement=True)
    assert gl.Analysis.load(tmp_path / "run").settings == again.settings == run.settings
    assert run.tests == again.tests
    spectrum = gl.gradient_spectrum(problem, iterations=np.int64(20), batch_size=np.int64(2), seed=torch.tensor(1))
    assert spectrum == gl.gradient_spectrum(problem, iterations=20, batch_size=2, seed=1)
    pairs = gl.hessian_spectrum(problem, np.int8(3), samples=np.int64(40), batch_size=torch.tensor(4), seed=np.int64(1))
    json.dumps(pairs.operator)
    assert pairs == gl.hessian_spectrum(problem, 3, samples=40, batch_size=4, seed=1)


def test_a_training_takes_any_integer(problem, tmp_path):
    model = nn.Linear(6, 3)
    recipe = gl.Recipe(
        epochs=np.int64(2), batch_size=np.int64(16), learning_rate=np.float64(0.1), milestones=(np.int64(1),)
    )
    run = gl.train(model, cross_entropy, problem.data, recipe=recipe, seed=np.int64(3), checkpoint_dir=tmp_path / "run")
    assert gl.load_checkpoint(run.checkpoint).settings["seed"] == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 20.0}, r"iterations must be an integer, got 20.0; int\(iterations\) makes it one"),
        ({"iterations": 20.5}, "iterations must be an integer"),
        ({"iterations": True}, "truth value"),
        ({"batch_size": "2"}, "batch_size must be an integer, got '2'"),
        ({"seed": -1}, "seed must be an integer from 0 to"),
        ({"seed": 2**64}, "seed must be an integer from 0 to"),
        ({"seed": 0.5}, "seed must be an integer"),
    ],
)
def test_what_is_no_count_is_refused_before_the_work(problem, settings, message):
    asked = {"iterations": 20, "batch_size": 2, "seed": 0} | settings
    for function in (gl.collect, gl.analyze, gl.gradient_spectrum):
        with pytest.raises(gl.InputError, match=message):
            function(problem, **asked)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"k": 2.5}, "k must be an integer"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"k": 2, "samples": 10.0}, "samples must be an integer"),
        ({"k": 2, "batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"k": 2, "measure": -1}, "measure must be at least 0, got -1"),
        ({"k": 2, "seed": -1}, "seed must be an integer from 0"),
    ],
)
def test_hessians_refuse_likewise(problem, settings, message):
    with pytest.raises(gl.InputError, match=message):
        gl.hessian_spectrum(problem, **settings)


def test_no_progress_is_asked_for_by_none(problem, tmp_path, capsys):
    silent = {"progress": None}
    history = gl.collect(problem, 20, 2, **silent)
    run = gl.analyze(problem, 20, 2, **silent)
    run.save(tmp_path / "run", **silent)
    gl.gradient_spectrum(problem, iterations=20, batch_size=2, **silent)
    gl.hessian_spectrum(problem, 2, **silent)
    operators = [
        make(problem, **silent) for make in (gl.hessian, gl.gauss_newton, empirical_fisher, monte_carlo_fisher)
    ]
    for operator in operators:
        gl.spectral_density(operator, probes=2, steps=3, **silent)
        gl.eigenpairs(operator, 2, **silent)
    operators = gl.hessian(problem), gl.gauss_newton(problem)
    split_hessian(*operators, gl.eigenpairs(operators[0], 2), k=2, probes=2, **silent)
    gl.train(nn.Linear(6, 3), cross_entropy, problem.data, recipe=gl.Recipe(epochs=1), **silent)
    gl.load_data("digits", **silent)
    assert history.shape == (20, problem.dimensions)
    assert capsys.readouterr().err == ""


class _Described(TensorDataset):
    def __init__(self, description: object):
        super().__init__(torch.randn(40, 6), torch.randint(3, (40,)))
        self.description = description


def test_descriptions_are_kept_as_plain_data(tmp_path):
    data = _Described({"name": "mine", "classes": np.array(["a", "b", "c"]), "year": np.int64(2024), "from": Path("x")})
    problem = gl.Problem(nn.Linear(6, 3), cross_entropy, data)
    run = gl.analyze(problem, 20, 2)
    run.save(tmp_path / "run")
    found = gl.Analysis.load(tmp_path / "run").provenance["problem"]["data"]
    assert found["classes"] == ["a", "b", "c"]
    assert (found["year"], found["from"], run.classes) == (2024, "x", 3)
    assert gl.Problem(nn.Linear(6, 3), cross_entropy, _Described("some text")).data_description == {}


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"a": {"b": object()}}, r"data.description\['a'\]\['b'\] is a object, which JSON cannot hold"),
        ({"a": [1.0, float("nan")]}, r"data.description\['a'\]\[1\] is nan"),
        ({"a": np.zeros((40, 40))}, r"an array of shape \(40, 40\)"),
    ],
)
def test_descriptions_that_cannot_be_kept_are_refused_with_the_problem(description, message):
    with pytest.raises(gl.InputError, match=message):
        gl.Problem(nn.Linear(6, 3), cross_entropy, _Described(description))


def test_plain_numbers():
    value = {"a": (np.float32(0.5), np.bool_(True), torch.tensor(3)), 2: torch.float32, "n": None}
    assert plain(value, "it") == {"a": [0.5, True, 3], "2": "torch.float32", "n": None}
    assert [type(item) for item in plain(value, "it")["a"]] == [float, bool, int]
    assert description_of(object()) == {}
