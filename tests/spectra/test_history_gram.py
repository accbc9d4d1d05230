import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.spectra.gradient import spectrum_of_gram
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.spectra.gram.history_gram import history_gram


@pytest.fixture(scope="module")
def problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 40), nn.Tanh(), nn.Linear(40, 5))
    return gl.Problem(model, cross_entropy, (torch.randn(200, 30), torch.randint(5, (200,))))


def test_little_work_is_done_on_the_gradients(problem):
    history = gl.collect(problem, 50, 1, engine="layerwise")
    gram, rounding = history_gram(history, problem)
    torch.testing.assert_close(gram, gram_matrix(history.gradients), rtol=0, atol=0)
    assert rounding == history.rounding


def test_much_work_is_done_layer_by_layer(problem):
    history = gl.collect(problem, 50, 1, engine="layerwise")
    gram, rounding = history_gram(history, problem, least_saved=1.0)
    expected = gram_matrix(history.gradients)
    assert not torch.equal(gram, expected)
    assert (gram - expected).norm() <= 1e-6 * expected.norm()
    assert rounding >= history.rounding


@pytest.mark.parametrize(
    "settings",
    [
        {"engine": "loop"},
        {"engine": "layerwise", "transforms": (gl.ClipByNorm(0.1),)},
        {"engine": "layerwise", "dtype": "bfloat16"},
        {"engine": "layerwise", "batch_size": 100},  # outer products of 100 rows an iteration cost more than gradients
    ],
)
def test_what_is_stored_counts_where_layers_give_something_else_or_cost_more(problem, settings):
    history = gl.collect(problem, 50, **({"batch_size": 1} | settings))
    gram, _ = history_gram(history, problem, least_saved=1.0)
    torch.testing.assert_close(gram, gram_matrix(history.gradients), rtol=0, atol=0)


def test_both_routes_give_one_spectrum(problem):
    history = gl.collect(problem, 60, 1, engine="layerwise")
    expected = gl.gradient_spectrum(history, center=True)
    gram, rounding = history_gram(history, problem, least_saved=1.0)
    by_layers = spectrum_of_gram(gram, problem.dimensions, True, rounding)
    assert abs(by_layers.eigenvalues - expected.eigenvalues).max() <= 1e-6 * expected.eigenvalues[0]
