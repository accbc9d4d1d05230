"""How often the network is right: the share of samples whose largest output is that of their class."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from gradlaw.analysis.section import Run, Section, register
from gradlaw.randomness import generators_in, seeded

_SAMPLES = 1000  # that are looked at, or about; a share of them has a standard error of 1.6% at most
_SHARE = 10  # of the minibatches of the run, one in so many: passes cost a few percent of the gradients at most


@dataclass(frozen=True)
class Accuracy:
    """The accuracy over the samples of the first minibatches of a run, each passed through the model as in the run.

    Attributes:
        rate: share of samples whose largest output is that of their class, in [0, 1].
        samples: how many samples were looked at.
        classes: how many outputs there are to be right among.
    """

    rate: float
    samples: int
    classes: int

    @property
    def standard_error(self) -> float:
        """Of the rate, as that of independent samples."""
        return sqrt(self.rate * (1 - self.rate) / self.samples)


@register
class AccuracySection(Section[Accuracy]):
    """Measured where outputs are numbers of shape (B, C), C >= 2, and targets are integers of shape (B,) that name
    one of C classes; negative targets are ignored, as cross-entropy ignores -100. Otherwise there is none.
    """

    name, place, kind, by_ranks = "accuracy", 0, Accuracy, True
    from_sketch = True

    def measure(self, run: Run) -> Accuracy | None:
        return run.ranks.first(lambda: _measured(run))


def _measured(run: Run) -> Accuracy | None:
    problem, settings = run.problem, run.history.settings
    if problem.by_batches:
        return None
    wanted = min(-(-_SAMPLES // settings.batch_size), max(1, settings.iterations // _SHARE))
    minibatches, right, samples, classes = settings.minibatches(), 0, 0, 0
    generators = generators_in(*problem.functions)
    with problem.undisturbed(problem.state()), torch.enable_grad():  # a model may differentiate
        for t in range(wanted):
            inputs, targets = problem.fetch(minibatches[t])
            own = seeded(generators, settings.seed, t) if problem.randomness == "seeded" else nullcontext()
            with own:
                outputs = problem.output({}, inputs)
            if not _names_classes(outputs, targets):
                return None
            counted = targets >= 0
            right += int((outputs.argmax(1) == targets)[counted].sum())
            samples, classes = samples + int(counted.sum()), outputs.shape[1]
    return Accuracy(right / samples, samples, classes) if samples else None


def _names_classes(outputs: Any, targets: Any) -> bool:
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return False
    if outputs.dim() != 2 or outputs.shape[1] < 2 or not outputs.is_floating_point():
        return False
    integers = targets.dtype != torch.bool and not targets.is_floating_point() and not targets.is_complex()
    return integers and targets.shape == outputs.shape[:1] and bool((targets < outputs.shape[1]).all())
