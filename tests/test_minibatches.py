import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradlaw import InputError
from gradlaw.minibatches import Minibatches


@given(st.integers(1, 40), st.data())
def test_every_epoch_holds_each_sample_at_most_once(samples, data):
    batch_size = data.draw(st.integers(1, samples))
    per_epoch = samples // batch_size
    batches = np.stack(list(Minibatches(samples, batch_size, max(2, 3 * per_epoch), seed=5)))
    for start in range(0, len(batches) - per_epoch + 1, per_epoch):
        epoch = batches[start : start + per_epoch].ravel()
        assert len(set(epoch)) == per_epoch * batch_size
        assert set(epoch) <= set(range(samples))


def test_any_order_of_access_gives_the_same_batches():
    one, other = Minibatches(10, 3, 12, seed=1), Minibatches(10, 3, 12, seed=1)
    forward = [one[t] for t in range(12)]
    backward = [other[t] for t in reversed(range(12))][::-1]
    assert np.array_equal(forward, backward)


def test_epochs_and_seeds_differ():
    batches = Minibatches(50, 50, 2, seed=0)
    assert not np.array_equal(batches[0], batches[1])
    assert not np.array_equal(batches[0], Minibatches(50, 50, 2, seed=1)[0])


def test_replacement_draws_uniformly_and_may_exceed_the_samples():
    drawn = np.concatenate(list(Minibatches(4, 1000, 20, seed=2, replacement=True)))
    counts = np.bincount(drawn, minlength=4)
    assert abs(counts / 5000 - 1).max() < 5 / np.sqrt(5000)  # five standard deviations


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 11, 5), "batch_size=11 is larger than the data set \\(N=10\\)"),
        ((10, 0, 5), "at least 1"),
        ((10, 2, 1), "iterations must be at least 2"),
        ((10, 2, 5, -1), "seed"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Minibatches(*arguments)


def test_iterations_outside_the_run_are_an_error():
    with pytest.raises(IndexError):
        Minibatches(10, 2, 5)[5]
