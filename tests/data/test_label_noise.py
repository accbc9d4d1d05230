import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare

import gradlaw as gl
from gradlaw.data import parse_label_noise

CLASSES = 10


def _data(n=20_000, classes=CLASSES):
    return gl.from_arrays(np.zeros((n, 1)), np.arange(n) % classes, classes=[str(i) for i in range(classes)])


@pytest.mark.parametrize("rate", [0.4, 0.8])
def test_symmetric_noise_goes_to_every_other_class_alike(rate):
    clean = _data()
    noisy = gl.corrupt_labels(clean, "symmetric", rate, seed=0)
    steps = ((noisy.targets - clean.targets) % CLASSES).numpy()
    flipped = (steps != 0).sum()
    assert binomtest(int(flipped), len(clean), rate).pvalue > 0.001
    table = [np.bincount(steps[clean.targets.numpy() == c], minlength=CLASSES)[1:] for c in range(CLASSES)]
    assert chisquare(np.ravel(table), np.repeat(np.sum(table, axis=1) / 9, 9), ddof=CLASSES - 1).pvalue > 0.001
    assert noisy.source.label_noise.realised_rate == flipped / len(clean)


def test_pair_noise_goes_to_the_next_class():
    clean = _data()
    noisy = gl.corrupt_labels(clean, "pair", 0.3, seed=0)
    steps = (noisy.targets - clean.targets) % CLASSES
    assert set(steps.tolist()) == {0, 1}
    assert binomtest(int(steps.sum()), len(clean), 0.3).pvalue > 0.001
    assert 0 in noisy.targets[clean.targets == 9]


def test_random_labels_keep_the_size_of_every_class():
    clean = _data()
    noisy = gl.corrupt_labels(clean, "random", 1.0, seed=0)
    assert torch.equal(torch.bincount(noisy.targets), torch.bincount(clean.targets))
    assert noisy.source.label_noise.realised_rate == pytest.approx(0.9, abs=0.01)  # a tenth falls on its own class


@given(kind=st.sampled_from(["symmetric", "pair"]), rate=st.floats(0, 1), seed=st.integers(0, 2**40),
       classes=st.integers(2, 7))  # fmt: skip
def test_noise_is_seeded_recorded_and_leaves_the_data_alone(kind, rate, seed, classes):
    clean = _data(50, classes)
    kept = clean.targets.clone()
    a, b = (gl.corrupt_labels(clean, kind, rate, seed) for _ in range(2))
    assert torch.equal(a.targets, b.targets)
    assert torch.equal(clean.targets, kept)
    assert a.inputs is clean.inputs
    assert 0 <= a.targets.min() <= a.targets.max() < classes
    realised = (a.targets != clean.targets).double().mean().item()
    assert a.description["label_noise"] == {"kind": kind, "rate": rate, "seed": seed, "realised_rate": realised}
    if rate in (0, 1):
        assert realised == rate


def test_other_seeds_give_other_noise():
    a, b = (gl.corrupt_labels(_data(), "symmetric", 0.5, seed).targets for seed in (0, 1))
    assert not torch.equal(a, b)


@pytest.mark.parametrize(("text", "parsed"), [("symmetric=0.4", ("symmetric", 0.4)), ("pair=1", ("pair", 1.0)), ("random", ("random", 1.0))])  # fmt: skip  # noqa: E501
def test_parsing(text, parsed):
    assert parse_label_noise(text) == parsed


@pytest.mark.parametrize("text", ["", "symmetric", "symmetric=", "symmetric=x", "symmetric=1.1", "pair=nan", "pair=-0.1", "other=0.4", "random=0.5"])  # fmt: skip  # noqa: E501
def test_bad_texts(text):
    with pytest.raises(gl.InputError, match="label noise"):
        parse_label_noise(text)


def test_what_cannot_be_corrupted(tmp_path):
    noisy = gl.corrupt_labels(_data(), "pair", 0.1, seed=0)
    with pytest.raises(gl.InputError, match="corrupted already"):
        gl.corrupt_labels(noisy, "pair", 0.1, seed=1)
    with pytest.raises(gl.InputError, match="at least two classes"):
        gl.corrupt_labels(_data(5, 1), "pair", 0.1, seed=1)
    with pytest.raises(gl.InputError, match="seed must be an integer from 0"):
        gl.corrupt_labels(_data(5), "pair", 0.1, seed=-1)
    (tmp_path / "a.txt").write_text("abc" * 100)
    with pytest.raises(gl.InputError, match="one class a sample"):
        gl.corrupt_labels(gl.load_text(tmp_path / "a.txt"), "random", 1.0, seed=0)
