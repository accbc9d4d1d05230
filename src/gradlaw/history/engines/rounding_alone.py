"""Parameter tensors whose gradients are rounding errors and nothing else."""

import numpy as np
from torch import Tensor

from gradlaw.history.engines.loop import LoopEngine, flatten
from gradlaw.history.engines.moved_theta import moved_theta
from gradlaw.history.engines.preflight import Findings
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem

_PERTURBATION = 4.0  # of a parameter, in units of its own rounding error
_MOST_CHANGE = 0.1  # of a gradient by that: 1e-6 is common where a gradient is more than rounding, 1.4 where it is not


def rounding_alone(
    problem: Problem,
    minibatches: Minibatches,
    findings: Findings,
    reference: LoopEngine,
) -> list[str]:
    """Names of the parameter tensors whose true gradient is zero but for rounding.

    Such are biases before a batch norm, which takes them off again, or biases of the keys of attention. Their
    gradients are small numbers that change altogether when every parameter moves by a few of its rounding errors, while
    others change in their last digits, however small they are. Asked of the first minibatch and, if any tensor
    is suspect, once more of the second; a tensor whose gradients are exactly zero is none.

    Args:
        problem: whose parameters are moved for one pass, and put back.
        minibatches: those of the history.
        findings: of the first minibatch: its gradient, that of few of its samples, and what float64 has shown.
        reference: computes gradients.
    """
    found = _suspects(problem, minibatches, findings, reference)
    for t in range(min(2, len(minibatches))):
        if found:
            before = findings.gradient if t == 0 else reference.row(t, minibatches[t])[1]
            found &= _changed(problem, t, minibatches[t], before, reference)
    return [part.name for part in problem.layout if part.name in found]


def _suspects(problem: Problem, minibatches: Minibatches, findings: Findings, reference: LoopEngine) -> set[str]:
    """Those that can be at all: as float64 has shown or, without it, as few samples show, whose passes cost less."""
    samples, of_few = findings.few
    if findings.suspects is not None:
        return set(findings.suspects)
    if len(samples) == len(minibatches[0]):
        return {part.name for part in problem.layout}
    parts = {part.name: slice(part.start, part.stop) for part in problem.layout}
    silent = {name for name, part in parts.items() if findings.gradient[part].any() and not of_few[part].any()}
    return silent | _changed(problem, 0, samples, of_few, reference)


def _changed(problem: Problem, t: int, indices: np.ndarray, gradient: Tensor, reference: LoopEngine) -> set[str]:
    with moved_theta(problem, _PERTURBATION):
        moved = flatten(reference.gradient(t, indices)[1], problem)
    found = set()
    for part in problem.layout:
        before = gradient[part.start : part.stop].double()
        change = moved[part.start : part.stop].double() - before
        if bool(before.any()) and not float(change.norm()) <= _MOST_CHANGE * float(before.norm()):
            found.add(part.name)
    return found
