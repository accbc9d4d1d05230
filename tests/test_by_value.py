import copy
import dataclasses
import importlib
import operator
import pickle
import pkgutil
import types
import typing
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.by_value import ByValue, equal
from gradlaw.spectra import davis_kahan
from gradlaw.stats.alpha_stable import stable_index_rows
from gradlaw.stats.gaussianity import gaussianity_rows

# Hold tensors or arrays on the way from one part to another, and are handed to nobody.
INTERNAL = {
    "gradlaw.analysis.section",
    "gradlaw.history",
    "gradlaw.spectra.gram.passes",
    "gradlaw.spectra.gram.streamed",
    "gradlaw.curvature.eigensolver.projection",
    "gradlaw.curvature.operators.reference",
    "gradlaw.stats.alternatives.tail",
    "gradlaw.stats.tail_values",
    "gradlaw.stats.truncated",
    "gradlaw.reproduction.evidence",
    "gradlaw.training.epoch",
}


@pytest.fixture(scope="module")
def problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    return gl.Problem(model, cross_entropy, (torch.randn(80, 6), torch.randint(0, 3, (80,))))


@pytest.fixture(scope="module")
def history(problem) -> gl.GradientHistory:
    return gl.collect(problem, 30, 2)


def _results(problem: gl.Problem, history: gl.GradientHistory) -> dict[str, object]:
    """One of each kind, computed anew."""
    rows = np.random.default_rng(0).standard_normal((4, 200))
    covariance = gl.gradient_spectrum(history)
    density = gl.spectral_density(gl.hessian(problem), probes=2, steps=5)
    pairs = gl.hessian_spectrum(problem, 3, keep_vectors=True)
    leading = gl.dynamics.Subspace(pairs)
    return {
        "history": gl.collect(problem, 30, 2),
        "spectrum": covariance,
        "eigengaps": gl.eigengaps(covariance),
        "eigenvectors": covariance.eigenvectors(2),
        "outliers": gl.count_outliers(covariance, 25, 3),
        "angles": davis_kahan(history, k=2),
        "tests": gl.gradient_tests(history, "dimension", k=10, gaussian_k=20),
        "fit": gl.fit_power_law(rows[0], 50),
        "fits": gl.fit_power_law_rows(rows, 50),
        "fits of tensors": gl.fit_power_law_rows(torch.from_numpy(rows), 50),
        "stable": stable_index_rows(rows),
        "gaussianity": gaussianity_rows(rows),
        "hessian": gl.hessian_spectrum(problem, 3),
        "density": density,
        "curve": density.curve(),
        "edge": gl.dynamics.edge_of_stability(problem, 4, 0.1, minibatches=3),
        "progress": gl.dynamics.subspace_progress(problem, leading, torch.ones(problem.dimensions)),
        "rotation": gl.dynamics.subspace_rotation(pairs, pairs, 2, 0.1),
        "participation": gl.dynamics.participation_ratios(pairs, problem.layout),
        "blocks": gl.dynamics.block_distances({"a": rows[0], "b": rows[1]}),
        "analysis": dataclasses.replace(gl.analyze(problem, 30, 2, extended=True), started="", finished=""),
    }


def test_results_are_equal_by_value_and_have_no_hash(problem, history):
    first, again = _results(problem, history), _results(problem, history)
    for name, result in first.items():
        assert result == again[name], name
        assert not operator.ne(result, again[name]), name
        assert result != 3, name
        assert result != first["fit" if name != "fit" else "tests"], name
        assert copy.deepcopy(result) == result, name
        assert copy.copy(result) == result, name
        assert pickle.loads(pickle.dumps(result)) == result, name
        if name != "fit":
            with pytest.raises(TypeError, match="unhashable"):
                hash(result)


def test_another_value_of_any_field_is_another_result(problem, history):
    for name, result in _results(problem, history).items():
        if not dataclasses.is_dataclass(result):
            continue
        for field in dataclasses.fields(result):
            changed = copy.copy(result)
            object.__setattr__(changed, field.name, _other(getattr(result, field.name)))
            assert changed != result, (name, field.name)


def _other(value: object) -> object:
    if isinstance(value, np.ndarray | torch.Tensor) and len(value):
        changed = copy.deepcopy(value)
        changed[-1] = ~changed[-1] if "bool" in str(value.dtype) else changed[-1] + 1
        return changed
    if isinstance(value, pd.DataFrame):
        return value.iloc[:-1]
    return "another"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, dataclasses.replace])
def test_copies_of_a_spectrum_know_its_gradients(history, copied):
    spectrum = gl.gradient_spectrum(history)
    found = copied(spectrum)
    assert found is not spectrum
    assert found.eigenvectors(3) == spectrum.eigenvectors(3)


def test_a_deep_copy_is_its_own(history):
    spectrum = gl.gradient_spectrum(history)
    found = copy.deepcopy({"a": [spectrum]})["a"][0]
    found.eigenvalues[0] += 1
    assert found != spectrum
    assert spectrum == gl.gradient_spectrum(history)


def test_other_eigenvalues_have_no_eigenvectors(history):
    spectrum = gl.gradient_spectrum(history)
    scaled = dataclasses.replace(spectrum, eigenvalues=2 * spectrum.eigenvalues)
    with pytest.raises(gl.InputError, match="not those of the gradients that it was computed from"):
        scaled.eigenvectors(2)


def test_a_pickled_spectrum_says_why_it_has_no_eigenvectors(history):
    spectrum = gl.gradient_spectrum(history)
    data = pickle.dumps(spectrum)
    assert len(data) < 1500  # no gradients inside
    found = pickle.loads(data)
    assert found == spectrum
    with pytest.raises(gl.InputError, match="does not know its gradients"):
        found.eigenvectors(2)


def test_a_history_on_disk_equals_one_in_memory(problem, history, tmp_path):
    stored = gl.collect(problem, 30, 2, store=tmp_path / "store")
    assert stored == history
    assert history == stored
    assert gl.GradientHistory.open(tmp_path / "store") == history
    assert gl.collect(problem, 30, 2, seed=1) != history


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (np.array([1.0]), np.array([1.0], np.float32), False),
        (np.array([1.0]), torch.tensor([1.0], dtype=torch.float64), False),
        (np.zeros((2, 3)), np.zeros((3, 2)), False),
        (torch.tensor([1.0, np.nan]), torch.tensor([1.0, np.nan]), True),
        (float("nan"), float("nan"), True),
        ({"a": np.ones(2)}, {"a": np.ones(2)}, True),
        ({"a": np.ones(2)}, {"b": np.ones(2)}, False),
        ([np.ones(2)], [np.ones(2), np.ones(2)], False),
        (np.array(["a"]), np.array(["a"]), True),
        (None, np.ones(2), False),
    ],
)
def test_equal(a, b, same):
    assert equal(a, b) is same


def _array_like(hint: object) -> bool:
    if isinstance(hint, type):
        return issubclass(hint, np.ndarray | torch.Tensor | pd.DataFrame | ByValue)
    if typing.get_origin(hint) in (typing.Union, types.UnionType, list, tuple, dict, Mapping):
        return any(_array_like(part) for part in typing.get_args(hint))
    return False


def test_every_dataclass_that_holds_arrays_is_compared_by_value():
    found = []
    for module in pkgutil.walk_packages(gl.__path__, "gradlaw."):
        if module.name.endswith("__main__"):
            continue
        for member in vars(importlib.import_module(module.name)).values():
            if not isinstance(member, type) or member.__module__ != module.name or member.__name__.startswith("_"):
                continue
            if not dataclasses.is_dataclass(member) or module.name.startswith(tuple(INTERNAL)):
                continue
            if any(map(_array_like, typing.get_type_hints(member, localns={"pd": pd}).values())):  # loaded when used
                found.append(member)
    assert len(found) > 25
    assert [c.__name__ for c in found if not issubclass(c, ByValue)] == []
    assert [c.__name__ for c in found if c.__eq__ is not ByValue.__eq__] == []
