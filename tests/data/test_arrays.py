import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import gradlaw as gl


def test_digits_from_arrays_are_those_by_name():
    digits = load_digits()
    for inputs, targets in ((digits.images, digits.target), (torch.tensor(digits.images), torch.tensor(digits.target))):
        data, named = gl.from_arrays(inputs, targets), gl.load_data("digits")
        assert torch.equal(data.targets, named.targets)
        torch.testing.assert_close(data.inputs, named.inputs)
        assert data.source.normalisation.std == pytest.approx(named.source.normalisation.std)
    problem = gl.Problem(
        gl.build_model("fcn", data.sample_shape, data.classes), torch.nn.functional.cross_entropy, data
    )
    assert problem.describe()["data"]["name"] == "arrays"


def test_another_split_takes_the_statistics_and_classes_of_training():
    train = gl.from_arrays(np.array([[1.0], [3.0]]), ["fox", "owl"])
    test = gl.from_arrays(np.array([[5.0], [2.0]]), ["owl", "fox"], training=train, split="test")
    assert (test.inputs.tolist(), test.targets.tolist()) == ([[3.0], [0.0]], [1, 0])
    assert test.source.normalisation == train.source.normalisation
    assert gl.from_arrays(np.array([[5.0]]), [1], training=train).targets.tolist() == [1]


def test_targets_are_numbered_unless_classes_are_given():
    inputs = np.zeros((3, 2))
    assert gl.from_arrays(inputs, [7, 3, 7]).targets.tolist() == [1, 0, 1]
    data = gl.from_arrays(inputs, [2, 0, 2], classes=["a", "b", "c"])
    assert (data.targets.tolist(), data.classes) == ([2, 0, 2], 3)


def test_the_arrays_stay_as_they_are():
    inputs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    kept = inputs.copy()
    for normalise in ("none", "channel"):
        data = gl.from_arrays(inputs, np.arange(5), normalise=normalise)
        data.inputs += 1
        assert np.array_equal(inputs, kept)


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (np.zeros((2, 8, 8, 3)), [0, 1], "channels last"),
        (np.zeros(4), [0] * 4, r"got shape \(4,\)"),
        (np.zeros((0, 4)), [], "not empty"),
        (np.array([["a"]]), [0], "inputs must be numbers"),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), [0, 1], r"inputs are nan in sample 1, at \(1,\)"),
        (np.zeros((2, 2)), [0], r"targets must have shape \(2,\)"),
        (np.zeros((2, 2)), [[0], [1]], r"targets must have shape \(2,\)"),
        (np.zeros((2, 2)), [0.5, 1.5], "targets must be class numbers or names, got float64"),
    ],
)
def test_bad_arrays(inputs, targets, message):
    with pytest.raises(gl.InputError, match=message):
        gl.from_arrays(inputs, targets)


def test_bad_classes_and_training():
    train = gl.from_arrays(np.zeros((2, 2)), ["fox", "owl"])
    with pytest.raises(gl.InputError, match="target of sample 1 is none of the 2 classes"):
        gl.from_arrays(np.zeros((2, 2)), ["owl", "elk"], training=train)
    with pytest.raises(gl.InputError, match="target of sample 0 is none of the 2 classes"):
        gl.from_arrays(np.zeros((2, 2)), [2, 1], classes=["a", "b"])
    with pytest.raises(gl.InputError, match=r"samples have shape \(3,\), those of training \(2,\)"):
        gl.from_arrays(np.zeros((2, 3)), ["owl", "fox"], training=train)
