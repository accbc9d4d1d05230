"""The seeded stream of index batches."""

from collections.abc import Iterator

import numpy as np

from gradlaw import random_streams
from gradlaw.errors import InputError, count
from gradlaw.errors import seed as checked_seed


class Minibatches:
    """``iterations`` index batches of ``batch_size`` out of ``samples``; ``minibatches[t]`` is an int64 array (B,).

    Epochs are shuffled without replacement and the remainder is dropped, as a ``DataLoader(shuffle=True,
    drop_last=True)`` does. With ``replacement=True`` every batch is drawn independently. Any iteration can be asked
    for in any order and is always the same for the same seed.

    Raises:
        InputError: T < 2, B < 1, or B > N without replacement; no integers; a seed outside 0 to 2^64 - 1.
    """

    def __init__(self, samples: int, batch_size: int, iterations: int, seed: int = 0, replacement: bool = False):
        iterations = count(iterations, "iterations", 2)  # a covariance needs two gradients
        batch_size, seed = count(batch_size, "batch_size"), checked_seed(seed)
        if batch_size > samples and not replacement:
            raise InputError(
                f"batch_size={batch_size} is larger than the data set (N={samples}); lower it to at most {samples}, "
                "or sample with replacement"
            )
        self.samples, self.batch_size, self.iterations = samples, batch_size, iterations
        self.seed, self.replacement = seed, bool(replacement)
        self._epoch, self._permutation = -1, np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return self.iterations

    def __getitem__(self, t: int) -> np.ndarray:
        if not 0 <= t < self.iterations:
            raise IndexError(f"iteration {t} is outside 0 to {self.iterations - 1}")
        if self.replacement:
            rng = np.random.default_rng([random_streams.REPLACEMENT, self.seed, t])
            return rng.integers(self.samples, size=self.batch_size)
        epoch, position = divmod(t, self.samples // self.batch_size)
        if epoch != self._epoch:
            rng = np.random.default_rng([random_streams.EPOCH, self.seed, epoch])
            self._epoch, self._permutation = epoch, rng.permutation(self.samples)
        return self._permutation[position * self.batch_size : (position + 1) * self.batch_size]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[t] for t in range(self.iterations))
