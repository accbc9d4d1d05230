"""What is required of any engine, on the minibatches that it is used on: finite gradients, those of plain autograd."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradlaw import random_streams
from gradlaw.errors import InputError, listed
from gradlaw.history.engines.loop import LoopEngine, flatten
from gradlaw.history.engines.moved_theta import moved_theta
from gradlaw.minibatches import Minibatches
from gradlaw.problem import ParameterSlice, Problem

# Summation in another order moves a gradient by some eps; an engine that is wrong is off by much more than this.
_RELATIVE_EPS, _ABSOLUTE_EPS = 2e4, 100.0  # 2e-3 of the layer's norm and 1e-5 of the whole gradient's, in float32
_SHARE = 0.02  # of the iterations that are computed by the reference as well
_PERTURBATION = 8.0  # of theta in units of its eps, to see how far rounding alone moves a gradient
_PERTURBATIONS = 6  # a tie falls to the same side every time once in 2^6


class Disagreement(InputError):
    """A fast engine's gradients are not those of plain autograd."""


class Compared(NamedTuple):
    """A gradient beside the reference's: relative difference of the whole, and the length of the reference's."""

    difference: float
    length: float


class Verification:
    """Proof of a fast engine by seeded comparisons with plain autograd along a run.

    Compares some iterations of every band of work with the reference.

    In each band an iteration drawn at random, and the one with the largest loss, since what happens rarely (a branch,
    a weight, a mask) tends to show in the loss; as many as ``_SHARE`` of all iterations allow, and at least one in the
    first band.

    Args:
        problem: whose gradients.
        reference: of the same seed.
        minibatches: of the run.
    """

    def __init__(self, problem: Problem, reference: LoopEngine, minibatches: Minibatches):
        self.problem, self.reference, self.minibatches = problem, reference, minibatches
        self._rng = np.random.default_rng([random_streams.VERIFICATION, minibatches.seed])
        self.compared: dict[int, Compared] = {}  # by iteration

    @property
    def difference(self) -> float:
        """The median relative difference to the reference, which is rounding; that of all together if it is smaller.

        Gradients that the model has fitted away differ by much of themselves, and hardly count among the others.
        """
        if not self.compared:
            return 0.0
        differences, lengths = np.array(list(self.compared.values())).T
        typical = float(np.median(differences))
        whole = float(np.linalg.norm(lengths))
        return min(typical, float(np.linalg.norm(differences * lengths)) / whole) if whole else typical

    def state(self) -> dict[str, Any]:
        """What has been compared and what will be, as plain data for :meth:`restore`."""
        compared = [(t, *values) for t, values in self.compared.items()]
        return {"compared": compared, "random": self._rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.compared = {t: Compared(*values) for t, *values in state["compared"]}
        self._rng.bit_generator.state = state["random"]

    def choose(self, start: int, losses: Tensor) -> list[int]:
        """Which iterations of a band to compare, given its losses (C,)."""
        end = start + len(losses)
        free = max(1 if not self.compared else 0, int(_SHARE * end) - len(self.compared))
        drawn = start + int(self._rng.integers(len(losses)))
        chosen = dict.fromkeys([drawn, start + int(torch.nan_to_num(losses, nan=torch.inf).argmax())])
        return [t for t in chosen if t not in self.compared][:free]

    def spread(self, losses: Tensor) -> list[int]:
        """Iterations of a whole run to compare, given its losses (T,): drawn at random, and the one of largest loss."""
        count = max(1, int(_SHARE * len(losses)))
        drawn = self._rng.choice(len(losses), size=min(count, len(losses)), replace=False).tolist()
        return list(dict.fromkeys([*drawn, int(torch.nan_to_num(losses, nan=torch.inf).argmax())]))

    def check(self, name: str, start: int, rows: Tensor, losses: Tensor) -> None:
        """Compare iterations of a band, of gradients (C, n) and losses (C,).

        Raises:
            Disagreement: some differ by more than rounding can explain.
        """
        for t in self.choose(start, losses):
            self.compare(name, t, rows[t - start])

    def compare(self, name: str, t: int, row: Tensor) -> None:
        """Compare the gradient (n,) of iteration t with the reference's.

        Raises:
            Disagreement: it differs by more than rounding can explain.
        """
        expected = self.reference.row(t, self.minibatches[t])[1]
        difference = (row - expected).double()
        whole = float(expected.double().norm())
        wrong = _wrong_parts(difference, expected, self.problem.layout)
        if wrong and float(difference.norm()) > 2 * self.sensitivity(t):
            raise Disagreement(f"engine {name!r} disagrees with plain autograd on iteration {t} in {'; '.join(wrong)}")
        off = float(difference.norm())
        self.compared[t] = Compared(off / whole if whole else off, whole)

    def sensitivity(self, t: int) -> float:
        """How far the gradient of iteration t goes when theta moves by some eps: at a kink, or a tie of maxima, as far
        as any other rounding may take it.
        """
        here = self._gradient(t)
        distances = []
        for seed in range(_PERTURBATIONS):
            with moved_theta(self.problem, _PERTURBATION, seed):
                distances.append(float((self._gradient(t) - here).double().norm()))
        return max(distances)

    def _gradient(self, t: int) -> Tensor:
        return flatten(self.reference.gradient(t, self.minibatches[t])[1], self.problem)


def _wrong_parts(difference: Tensor, reference: Tensor, layout: Sequence[ParameterSlice]) -> list[str]:
    """The parameters in which a gradient is off by more than rounding, in words."""
    eps = torch.finfo(reference.dtype).eps
    whole = float(reference.double().norm())
    wrong = []
    for part in layout:
        off = float(difference[part.start : part.stop].norm())
        size = float(reference[part.start : part.stop].double().norm())
        if not off <= _RELATIVE_EPS * eps * size + _ABSOLUTE_EPS * eps * whole:
            wrong.append(f"{part.name} ({part.layer_type}): ||difference|| = {off:.3g}, ||gradient|| = {size:.3g}")
    return wrong


class NotFinite(InputError):
    """A loss or gradient of the user's problem that is NaN or infinite, whatever computes it."""


def check_finite(
    losses: Tensor,
    gradients: Tensor,
    first: int,
    layout: list[ParameterSlice],
    batches: Sequence[np.ndarray] = (),
) -> None:
    """Refuse NaN and infinity among the losses (C,) and gradients (C, n) of iterations ``first`` onwards.

    Args:
        losses: of the iterations.
        gradients: of the same.
        first: the first of them.
        layout: names the parameter of a gradient.
        batches: samples of the iterations, to be named. Default: they are not.

    Raises:
        NotFinite: names the first bad iteration, its samples, and for a gradient its parameter.
    """
    check_losses(losses, first, batches)
    # A sum is finite unless a term is not, or it overflows; only then is every value looked at.
    if torch.isfinite(gradients.sum()):
        return
    bad = (~torch.isfinite(gradients)).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        part = next(p for p in layout if column < p.stop)
        value = float(gradients[row, column])
        raise NotFinite(
            f"the gradient of iteration {first + row} is {value} at parameter {part.name!r} "
            f"(element {column - part.start} of {part.stop - part.start}), while its loss is {float(losses[row]):.4g}"
            f"{_samples(batches, row)}"
        )


def check_losses(losses: Tensor, first: int, batches: Sequence[np.ndarray] = ()) -> None:
    """Refuse NaN and infinity among the losses (C,) of iterations ``first`` onwards; arguments of :func:`check_finite`.

    Raises:
        NotFinite: names the first bad iteration and its samples.
    """
    for row, loss in enumerate(losses.tolist()):
        if not isfinite(loss):
            raise NotFinite(
                f"the loss of iteration {first + row} is {loss}: has the model diverged, or do the data hold NaN?"
                f"{_samples(batches, row)}"
            )


def check_sample(t: int, sample: int, loss: float, gradient: Tensor) -> None:
    """Refuse NaN and infinity in the loss and the gradient (n,) of one sample, which iteration t is the first to hold.

    Raises:
        NotFinite: names the sample and the iteration.
    """
    if not isfinite(loss) or not bool(torch.isfinite(gradient).all()):
        what = f"loss is {loss}" if not isfinite(loss) else f"gradient is not finite, while its loss is {loss:.4g}"
        raise NotFinite(f"the gradient of iteration {t} is not finite: of its sample {sample} the {what}")


def _samples(batches: Sequence[np.ndarray], row: int) -> str:
    return f" (samples: {listed(map(str, batches[row].tolist()), 8)})" if len(batches) else ""
