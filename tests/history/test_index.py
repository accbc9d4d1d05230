"""A history is indexed like a matrix, in memory and on disk alike, and says what it does not have."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl


@pytest.fixture(scope="module")
def histories(tmp_path_factory) -> list[gl.GradientHistory]:
    torch.manual_seed(0)
    problem = gl.Problem(nn.Linear(4, 3), cross_entropy, (torch.randn(40, 4), torch.randint(3, (40,))))
    return [gl.collect(problem, 12, 2, store=store) for store in (None, tmp_path_factory.mktemp("index") / "store")]


@pytest.mark.parametrize("key", [
    0, -1, np.int64(3), torch.tensor(3), slice(None), slice(3, 99), slice(0, 10, 2), [0, 1], np.array([0, -2]),
    torch.tensor([1, 2]), np.arange(12) % 2 == 0, (0, 14), (slice(None), -1), (1,), ..., [],
], ids=repr)  # fmt: skip
def test_memory_and_disk_give_the_same(histories, key):
    gradients = np.asarray(histories[0])
    for history in histories:
        np.testing.assert_array_equal(history[key].numpy(), gradients[key.numpy() if torch.is_tensor(key) else key])
        np.testing.assert_array_equal(history[2:4, [3, 1]].numpy(), gradients[2:4][:, [3, 1]])


@pytest.mark.parametrize(("key", "message"), [
    (12, "has 12 iterations, 0 to 11; there is no 12"), (-13, "there is no -13"), ([0, 99], "there is no 99"),
    ((0, 15), "has 15 dimensions, 0 to 14; there is no 15"), (None, "by whole numbers, slices or arrays"),
    (1.5, "got 1.5"), ("a", "got 'a'"), (True, "got True"), (float("nan"), "got nan"), ((0, 1, 2), "got 3 indices"),
    (slice(None, None, -1), "a step of at least 1"), (slice(1.5, 3), "whole bounds"),
    (torch.tensor(1.0), "got float32 of"),
    (np.ones(11, bool), "or by 12 truth values"), (np.ones((2, 2), int), "got int64 of shape"), ([[0], [1, 2]], "list"),
], ids=str)  # fmt: skip
def test_what_is_not_there_is_named(histories, key, message):
    for history in histories:
        with pytest.raises(gl.InputError, match=message) as raised:
            history[key]
        assert isinstance(raised.value, IndexError)


def test_a_history_can_be_gone_through_and_a_dimension_is_one(histories):
    for history in histories:
        assert torch.equal(torch.stack(list(history)), history[:])
        assert torch.equal(history.dimension(3), history[:, 3])
        for i in (None, 2.0, slice(None), [1], 15):
            with pytest.raises(gl.InputError, match="dimension"):
                history.dimension(i)
    with pytest.raises(gl.InputError, match="folder must be a text or a path, got None"):
        gl.GradientHistory.open(None)
