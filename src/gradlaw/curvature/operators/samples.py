"""Which samples a mean loss is taken over, and how they are cut."""

from dataclasses import dataclass, replace

import numpy as np

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, count
from gradlaw.errors import seed as checked_seed
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.ranks import RankGroup


@dataclass(frozen=True, eq=False)
class Samples(ByValue):
    """The samples of a mean loss.

    Attributes:
        indices: shape (S,) where the loss is a mean over samples, or (M, B): the mean over M minibatches of B, for
            losses that couple the samples of a minibatch.
        seed: that chose them.
        notices: what a reader of results has to know.
    """

    indices: np.ndarray
    seed: int
    notices: tuple[str, ...] = ()

    @property
    def grouped(self) -> bool:
        """Whether the mean is over minibatches."""
        return self.indices.ndim == 2

    def chunks(self, samples: int) -> list[np.ndarray]:
        """The indices in pieces of about ``samples`` samples, sizes as equal as can be; at least one minibatch each."""
        if not len(self.indices):  # of a rank for which there are none
            return []
        per_row = self.indices.shape[1] if self.grouped else 1
        count = -(-len(self.indices) // max(1, samples // per_row))
        return np.array_split(self.indices, count)

    def share(self, ranks: RankGroup) -> "Samples":
        """Those of this rank: neighbours, or whole minibatches."""
        own = ranks.share(len(self.indices))
        return replace(self, indices=self.indices[own.start : own.stop])


def choose_samples(problem: Problem, samples: int | None, batch_size: int | None, seed: int) -> Samples:
    """The first ``samples`` of the seeded first epoch; all N in their own order by default.

    Raises:
        InputError: more samples than there are, fewer than one, or a minibatch larger than them.
    """
    seed = checked_seed(seed)
    chosen = problem.samples if samples is None else count(samples, "samples")
    if not 1 <= chosen <= problem.samples:
        raise InputError(f"samples={samples} of N={problem.samples} were asked for; give 1 to {problem.samples}")
    if batch_size is None:
        if chosen == problem.samples:
            return Samples(np.arange(chosen), seed)
        return Samples(Minibatches(problem.samples, chosen, 2, seed)[0], seed)
    problem.refuse_batches("batch_size")
    batch_size = count(batch_size, "batch_size")
    if batch_size > chosen:
        raise InputError(f"batch_size={batch_size} must be at least 1 and at most the {chosen} samples chosen")
    groups = chosen // batch_size
    minibatches = Minibatches(problem.samples, batch_size, max(2, groups), seed)
    notices = [f"the loss is the mean over {groups:,} fixed minibatches of {batch_size} (seed {seed})"]
    if chosen % batch_size:
        notices.append(f"the remainder of {chosen % batch_size} samples is left out")
    return Samples(np.stack([minibatches[t] for t in range(groups)]), seed, tuple(notices))
