"""Choosing an engine: the fastest one that takes the problem and whose gradients the reference confirms."""

from dataclasses import dataclass, field

import torch

from gradlaw.errors import InputError
from gradlaw.history.crosscheck import check_engine
from gradlaw.history.layerwise import LayerwiseEngine
from gradlaw.history.loop import LoopEngine
from gradlaw.history.preflight import Findings
from gradlaw.history.samplewise import SamplewiseEngine
from gradlaw.history.vmap import VmapEngine
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem

Engine = LoopEngine | VmapEngine | LayerwiseEngine | SamplewiseEngine
_FAST = {engine.name: engine for engine in (SamplewiseEngine, LayerwiseEngine, VmapEngine)}  # the first that pays
ENGINES = ("auto", LoopEngine.name, *reversed(_FAST))


@dataclass
class Choice:
    """An engine, how far it was off the reference on the first minibatches, and why it is not another."""

    engine: Engine
    difference: float = 0.0
    notices: list[str] = field(default_factory=list)


def choose_engine(
    asked: str, problem: Problem, minibatches: Minibatches, reference: LoopEngine, findings: Findings
) -> Choice:
    """The engine asked for, or with ``"auto"`` the fastest that can be used.

    Raises:
        InputError: the engine asked for cannot take the problem, or disagrees with the reference.
    """
    if asked == "loop":
        return Choice(reference)
    if findings.random:
        if asked != "auto":
            raise InputError(f"engine {asked!r} cannot seed the randomness of each iteration; use engine='loop'")
        return Choice(reference, notices=["engine loop: the model draws random numbers, which only it can seed"])
    if asked != "auto":
        return _tried(asked, problem, minibatches, reference)
    return _fastest(problem, minibatches, reference)


def _fastest(problem: Problem, minibatches: Minibatches, reference: LoopEngine) -> Choice:
    notices = []
    for name, engine in _FAST.items():
        if not engine.pays(problem, minibatches):
            continue
        try:
            choice = _tried(name, problem, minibatches, reference, whole=True)
        except InputError as error:
            notices.append(f"engine {name} left out: {error}")
        else:
            return Choice(choice.engine, choice.difference, notices)
    return Choice(reference, notices=notices)


def _tried(name: str, problem: Problem, minibatches: Minibatches, reference: LoopEngine, whole: bool = False) -> Choice:
    """An engine that agrees with the reference; with ``whole``, one that needs no other for some parameters."""
    first = [minibatches[0], minibatches[1]]  # two, so that a mix-up between them shows
    rows = torch.empty(2, problem.dimensions, dtype=problem.dtype, device=problem.device)
    try:
        engine = _FAST[name](problem, first)
        if whole and engine.fallback:
            raise InputError(f"it has no rule for {', '.join(sorted(engine.fallback))}")
        engine.gradients(0, first, rows)
    except InputError:
        raise
    except Exception as error:  # anything that a model written for one minibatch may raise when it gets several
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"engine {name!r} cannot batch this model: {reason}. Use engine='loop'") from error
    expected = torch.empty_like(rows)
    reference.gradients(0, first, expected)
    return Choice(engine, check_engine(name, rows, expected, problem.layout))
