"""The minibatches of an epoch of training."""

import numpy as np

from gradlaw import random_streams


def epoch_batches(samples: int, batch_size: int, seed: int, epoch: int, least: int = 1) -> list[np.ndarray]:
    """Indices of all samples in a random order, ``batch_size`` at a time; the last batch may be smaller.

    The order is a function of the seed and the epoch alone, so that any epoch can be repeated by itself.

    Args:
        samples: N.
        batch_size: B.
        seed: of the training.
        epoch: counted from 0.
        least: a last batch of fewer samples is left out (2 for BatchNorm, which cannot normalise a single sample).

    Returns:
        Arrays of int64.
    """
    order = np.random.default_rng([random_streams.TRAINING_ORDER, seed, epoch]).permutation(samples)
    batches = [order[start : start + batch_size] for start in range(0, samples, batch_size)]
    return batches if len(batches[-1]) >= least else batches[:-1]
