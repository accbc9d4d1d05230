"""Wrong arguments of the front doors are refused by name, and errors of the user's own code say what went in."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import gradlaw as gl

WRONG = [None, 1.5, float("nan"), -1, "no such thing", [], {}, torch.tensor([1, 2]), np.array([]), object(), b"a"]
HISTORY_ONLY: dict[str, Callable[[Any, Any], Any]] = {
    "problem of collect": lambda _, wrong: gl.collect(wrong, 10, 2),
    "problem of analyze": lambda _, wrong: gl.analyze(wrong),
    "problem of hessian": lambda _, wrong: gl.hessian(wrong),
    "problem of critical_batch_size": lambda _, wrong: gl.critical_batch_size(wrong),
    "engine": lambda problem, wrong: gl.collect(problem, 10, 2, engine=wrong),
    "iterations": lambda problem, wrong: gl.collect(problem, wrong, 2),
    "batch_size": lambda problem, wrong: gl.collect(problem, 10, wrong),
    "replacement": lambda problem, wrong: gl.collect(problem, 10, 2, replacement=wrong),
    "spectrum": lambda _, wrong: gl.eigengaps(wrong),
    "tol": lambda problem, wrong: gl.hessian_spectrum(problem, 2, tol="x" if isinstance(wrong, int | float) else wrong),
    "run": lambda _, wrong: gl.Analysis.load(wrong),
    "checkpoint": lambda _, wrong: gl.load_checkpoint(wrong),
    "directory": lambda _, wrong: gl.verify(wrong),
    "log": lambda _, wrong: gl.read_watch(wrong),
    "recipe": lambda problem, wrong: gl.train(problem.model, cross_entropy, problem.data, recipe=wrong or "sgd"),
    "rate": lambda _, wrong: gl.corrupt_labels(gl.load_data("digits"), "symmetric", wrong, 0),
    "seed": lambda _, wrong: gl.corrupt_labels(gl.load_data("digits"), "symmetric", 0.2, wrong),
    "parameters": lambda problem, wrong: gl.Problem(problem.model, cross_entropy, problem.data, wrong or [1]),
    "width": lambda _, wrong: gl.build_model("fcn", (4,), 2, width="x" if wrong is None else wrong),
}


def _is_empty_array(value: object) -> bool:
    return isinstance(value, np.ndarray | torch.Tensor)


@pytest.mark.parametrize("argument", HISTORY_ONLY)
def test_whatever_is_given_instead_is_refused(small_problem, argument):
    for wrong in WRONG:
        if argument in ("recipe", "parameters") and _is_empty_array(wrong):
            continue  # has no truth value, which the cases above ask for
        with pytest.raises(gl.InputError) as refused:
            HISTORY_ONLY[argument](small_problem, wrong)
        assert len(str(refused.value)) > 15


@pytest.mark.parametrize("wrong", [True, 1, "yes", print, np.array([1, 2])])
def test_progress_says_what_it_takes(small_problem, wrong):
    with pytest.raises(gl.InputError, match=r"progress must be a gradlaw Progress or None, got .*Progress\(\) shows"):
        gl.collect(small_problem, 10, 2, progress=wrong)


def test_what_python_refuses_stays_a_type_error(small_problem):
    with pytest.raises(TypeError, match="unexpected keyword argument 'iteration'"):
        gl.collect(small_problem, iteration=10)
    with pytest.raises(TypeError, match="problem"):
        gl.collect()


def test_an_error_of_the_user_s_loss_stays_and_says_what_went_in():
    model = torch.nn.Linear(4, 3)
    problem = gl.Problem(model, cross_entropy, (torch.randn(30, 5), torch.full((30,), 2)), name="mine")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as raised:
        gl.collect(problem, 10, 2)
    (note,) = raised.value.__notes__
    assert note.startswith("gradlaw: raised in the model mine or its loss cross_entropy, called with inputs float32 (2")
    assert note.endswith("targets int64 (2,) from 2 to 2")


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("meta", "have no values"),
        ("privateuseone", "cannot be used"),
        ("nowhere", "cannot be used"),
        (10**30, "cannot be used"),
    ],
)
def test_devices_that_cannot_be_used_are_refused(device, message):
    data = torch.randn(9, 4), torch.randint(3, (9,))
    with pytest.raises(gl.InputError, match=message):
        gl.Problem(torch.nn.Linear(4, 3), cross_entropy, data, device=device)


@pytest.mark.parametrize("sizes", [{"width": 10**12}, {"width": 10**30}, {"depth": 10**9}, {"width": True}])
def test_absurd_sizes_are_refused_before_anything_is_allocated(sizes):
    with pytest.raises(gl.InputError, match=r"must be (at most|an integer)"):
        gl.build_model("lnn", (4,), 3, **sizes)
    with pytest.raises(gl.InputError, match=r"cannot have these sizes|take .* GB|must be at most"):
        gl.build_model("lenet", (1, 28, 28), 10, padding=10**9)
