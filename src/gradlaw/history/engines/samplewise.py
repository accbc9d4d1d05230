"""The sample-wise engine: every sample's gradient once, minibatch gradients as their means."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.history.engines.cost import MOST_SAMPLES, PassCost
from gradlaw.history.engines.layerwise import LayerwiseEngine
from gradlaw.history.engines.mean_of_samples import MeanOfSamples, refuse_other_means
from gradlaw.history.engines.means import add_means, cost_of_means, samples_at_once
from gradlaw.history.engines.verify import check_sample
from gradlaw.history.layers.normalisation import takes_batch_statistics
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem

_MARGIN = 3.0  # a flop of dense layers takes about a third of the time of one of LeNet's, in which means are counted
BAND_BYTES = 4 * 2**30  # of minibatch gradients that one pass over the samples adds up


class SamplewiseEngine:
    """At fixed parameters a sample's gradient never changes, so N passes are enough for any number of minibatches.

    The gradients of a band of minibatches are one matrix product: how often each minibatch holds each sample, times
    the samples' gradients (see :mod:`gradlaw.history.engines.means`). Adding up a gradient that is there costs far less
    than making it, which makes many minibatches affordable, and those of a large share of the data. Needs samples that
    do not interact in the model, and a loss that is the mean over samples, which is proven for every minibatch (see
    :class:`~gradlaw.history.engines.mean_of_samples.MeanOfSamples`).

    Args:
        problem: without randomness in its forward pass.
        batches: the first minibatches (two are enough), for the probe of :class:`LayerwiseEngine`.
        most_samples: that pass through the model at once; a memory knob that changes results by rounding at most.
        band_bytes: of minibatch gradients that one pass over the samples adds up; a memory knob as well.

    Raises:
        InputError: batch normalisation or another operation couples the samples, or LayerwiseEngine refuses the model.
    """

    name = "samplewise"
    fallback: frozenset[str] = frozenset()

    def __init__(
        self,
        problem: Problem,
        batches: Sequence[np.ndarray],
        most_samples: int = MOST_SAMPLES,
        band_bytes: int = BAND_BYTES,
    ):
        coupling = _coupling(problem)
        if coupling is not None:
            raise InputError(
                f"{coupling} takes the statistics of the minibatch, so that a sample has no gradient of its own"
            )
        self.problem, self._band_bytes = problem, band_bytes
        self._single = LayerwiseEngine(problem, [batch[:1] for batch in batches], most_samples)
        if self._single.mixing:
            names = ", ".join(sorted(self._single.mixing))
            raise InputError(f"samples may see one another in the model ({names}), so that none has its own gradient")
        refuse_other_means(problem, batches[0])

    @staticmethod
    def is_worth_it(problem: Problem, minibatches: Minibatches, cost: PassCost) -> bool:
        """Whether this takes less time than passes over every minibatch, by counted operations."""
        iterations, batch_size, samples = len(minibatches), minibatches.batch_size, minibatches.samples
        bands = -(-iterations // _chunk(problem))
        if bands * samples >= iterations * batch_size or _coupling(problem) is not None:
            return False
        a_pass = cost.flops / cost.samples
        means = cost_of_means(iterations, batch_size, samples, _row(problem))
        return bands * samples * a_pass + _MARGIN * means < iterations * batch_size * a_pass

    def chunk(self, batch_size: int) -> int:
        """How many iterations to ask for at once."""
        return _chunk(self.problem, self._band_bytes)

    def gradients(self, first: int, batches: Sequence[np.ndarray], out: Tensor) -> Tensor:
        """Write the gradients of the batches to the rows of ``out``; return the losses (C,).

        Raises:
            NotFinite: loss or gradient of a sample are NaN or infinite.
            InputError: the loss of one of the minibatches is not the mean of the losses of its samples.
        """
        counts = _counts(batches, self.problem.samples)
        samples = np.flatnonzero(counts.any(axis=0))
        size, step = len(batches[0]), self._single.chunk(1)
        height = samples_at_once(len(batches), size, len(samples), out[0], step)
        rows = torch.empty(min(height, len(samples)), self.problem.dimensions, dtype=out.dtype, device=out.device)
        losses = torch.zeros(len(batches), dtype=out.dtype, device=out.device)
        proof = MeanOfSamples(self.problem, samples)
        out.zero_()
        for start in range(0, len(samples), height):
            ready = samples[start : start + height]
            some = [
                self._of_samples(first, ready[i : i + step], counts, rows[i : min(i + step, len(ready))], proof)
                for i in range(0, len(ready), step)
            ]
            held = counts[:, ready]
            add_means(out, held, rows[: len(ready)], size)
            losses.addmv_(torch.from_numpy(held).to(losses) / size, torch.cat(some).to(losses))
        proof.check(first, batches, counts)
        return losses

    def _of_samples(
        self, first: int, samples: np.ndarray, counts: np.ndarray, gradients: Tensor, proof: MeanOfSamples
    ) -> Tensor:
        """The gradients of some samples, (S, n); returns their losses."""
        losses = self._single.gradients(0, list(samples[:, None]), gradients, see=proof.keep)
        if not torch.isfinite(gradients.sum() + losses.sum()):
            # A mean would spread it over all iterations, those without the sample too: 0 x NaN is NaN.
            for sample, loss, gradient in zip(samples.tolist(), losses.tolist(), gradients, strict=True):
                check_sample(first + int(counts[:, sample].argmax()), sample, loss, gradient)
        proof.keep_losses(losses)
        return losses


def _row(problem: Problem) -> Tensor:
    """Like a gradient, without its memory."""
    return torch.empty(1, dtype=problem.dtype, device=problem.device).expand(problem.dimensions)


def _chunk(problem: Problem, band_bytes: int = BAND_BYTES) -> int:
    return max(1, band_bytes // (problem.dimensions * problem.dtype.itemsize))


def _counts(batches: Sequence[np.ndarray], samples: int) -> np.ndarray:
    """How often each minibatch holds each sample, (C, N), in the smallest type that can tell."""
    rows = []
    for batch in batches:
        row = np.bincount(batch, minlength=samples)
        rows.append(row.astype(np.min_scalar_type(int(row.max()))))
    return np.stack(rows)


def _coupling(problem: Problem) -> str | None:
    """The first layer that mixes the samples of a minibatch."""
    coupling = (
        f"{name!r} ({type(module).__name__})"
        for name, module in problem.model.named_modules()
        if takes_batch_statistics(module)
    )
    return next(coupling, None)
