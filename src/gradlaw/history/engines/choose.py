"""Choosing an engine: the fastest one that takes the problem and whose gradients the reference confirms, all along."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradlaw.choices import ENGINES as ENGINES
from gradlaw.errors import InputError
from gradlaw.history.engines.cost import MOST_SAMPLES, count_pass
from gradlaw.history.engines.layerwise import LayerwiseEngine
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.history.engines.preflight import Findings
from gradlaw.history.engines.samplewise import SamplewiseEngine
from gradlaw.history.engines.verify import Disagreement, NotFinite, Verification, check_finite
from gradlaw.history.engines.vmap import VmapEngine
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem

Engine = LoopEngine | VmapEngine | LayerwiseEngine | SamplewiseEngine
_FAST = {engine.name: engine for engine in (SamplewiseEngine, LayerwiseEngine, VmapEngine)}  # the best first
_COUNTED_SAMPLES = 32  # of a minibatch whose operations are counted


class Candidate(NamedTuple):
    """An engine to try; ``whole`` if it is worth it only where it leaves no parameter to another one, ``batched`` if
    only where it leaves none to the loop.
    """

    name: str
    whole: bool = False
    batched: bool = False


class _LeavesParameters(InputError):
    """An engine that leaves parameters to another one."""


class EngineChoice:
    """The engine in use, why it is not another, and those that remain if it fails.

    An engine that batches minibatches relies on more than plain autograd does. It is left as soon as a pass shows that
    something it relies on does not hold, at whatever iteration that is; the reference takes every model.

    Args:
        candidates: engines, best first; the reference comes after them.
        problem: model, loss and data.
        minibatches: of the run.
        reference: plain autograd.
        alone: whether the one candidate was asked for by name, so that its failure is an error.
        most_samples: that pass through the model at once.

    Raises:
        InputError: ``alone``, and the candidate cannot take the problem or disagrees with the reference.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        problem: Problem,
        minibatches: Minibatches,
        reference: LoopEngine,
        *,
        alone: bool = False,
        most_samples: int = MOST_SAMPLES,
    ):
        self.problem, self.minibatches, self.reference = problem, minibatches, reference
        self._candidates, self._alone, self._most_samples = list(candidates), alone, most_samples
        self.notices: list[str] = []
        self.verification = Verification(problem, reference, minibatches)
        self.engine: Engine = self._next()

    @property
    def difference(self) -> float:
        """How far gradients were off the reference in the median, relative to their norm."""
        return self.verification.difference

    def pieces(self, rows: int, most: int | None = None) -> Iterator[slice]:
        """So many rows in pieces, each as large as the engine of the moment wants it, and at most ``most``."""
        start = 0
        while start < rows:
            size = self.engine.chunk(self.minibatches.batch_size)
            end = min(start + (size if most is None else min(size, most)), rows)
            yield slice(start, end)
            start = end

    def finite_gradients(self, first: int, out: Tensor) -> Tensor:
        """The gradients of as many of the run's iterations as ``out`` has rows, from ``first`` on; returns the losses.

        Raises:
            NotFinite: a loss or a gradient is not; the message names the iteration, its samples and the parameter.
            Disagreement, InputError: as of :meth:`gradients`.
        """
        batches = [self.minibatches[t] for t in range(first, first + len(out))]
        losses = self.gradients(first, batches, out)
        check_finite(losses, out, first, self.problem.layout, batches)
        return losses

    def gradients(self, first: int, batches: Sequence[np.ndarray], out: Tensor) -> Tensor:
        """Write the gradients of iterations ``first`` onwards to the rows of ``out``; return the losses (C,).

        Raises:
            Disagreement: some of them, or of those before, are not those of plain autograd; another engine is in use
                now, and all has to be computed again.
            InputError: the same of an engine that was asked for by name.
        """
        losses = torch.empty(len(batches), dtype=out.dtype, device=out.device)
        start = 0
        while start < len(batches):
            chunk = slice(start, min(start + self.engine.chunk(len(batches[0])), len(batches)))
            try:
                losses[chunk] = self.engine.gradients(first + start, batches[chunk], out[chunk]).to(losses.dtype)
            except NotFinite:  # so are the user's loss and data, whatever computes them
                raise
            except Exception as error:  # anything that a model written for one minibatch may raise when it gets several
                if self._alone or isinstance(error, IndexError):  # a label that is no class, it may be
                    for t, batch in enumerate(batches[chunk], start=first + start):
                        self.reference.gradient(t, batch)  # plain autograd says of which sample
                self.leave(error, first + start)
                continue
            if self.engine is not self.reference:
                try:
                    self.verification.check(self.engine.name, first + start, out[chunk], losses[chunk])
                except Disagreement as error:
                    self.leave(error, first + start)
                    raise
            start = chunk.stop
        return losses

    def state(self) -> dict[str, Any]:
        """The engine in use, those that remain and what was seen, as plain data for :meth:`restore`."""
        candidates = [list(candidate) for candidate in self._candidates]
        return {
            "engine": self.engine.name,
            "candidates": candidates,
            "notices": self.notices,
            "verification": self.verification.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same run."""
        self.notices = list(state["notices"])
        self._candidates = [Candidate(*candidate) for candidate in state["candidates"]]
        if state["engine"] != self.engine.name:
            is_reference = state["engine"] == self.reference.name
            self.engine = self.reference if is_reference else self._made(state["engine"])
        self.verification.restore(state["verification"])

    def leave(self, error: Exception, t: int) -> None:
        """Take another engine from iteration t on, because of an error.

        Raises:
            Exception: the error, if there is no other.
        """
        if self.engine is self.reference:
            raise error
        if self._alone:
            at = f"engine {self.engine.name!r} cannot go on at iteration {t}: "
            how = "" if isinstance(error, Disagreement) else at
            raise InputError(f"{how}{_reason(error)}. Use engine='auto' or 'loop'") from error
        self.notices.append(f"engine {self.engine.name} left at iteration {t}: {_reason(error)}")
        self._candidates = [other for other in self._candidates if other.name != self.engine.name]
        self.engine = self._next()

    def _next(self) -> Engine:
        """The next candidate that agrees with the reference on the first minibatches, or the reference."""
        while self._candidates:
            candidate = self._candidates.pop(0)
            try:
                return self._tried(candidate)
            except Exception as error:
                if self._alone:
                    if isinstance(error, InputError):
                        raise InputError(str(error)) from error
                    raise InputError(
                        f"engine {candidate.name!r} cannot batch this model: {_reason(error)}. Use engine='loop'"
                    ) from error
                self.notices.append(f"engine {candidate.name} left out: {_reason(error)}")
                if not isinstance(error, _LeavesParameters):
                    self._candidates = [other for other in self._candidates if other.name != candidate.name]
        return self.reference

    def _tried(self, candidate: Candidate) -> Engine:
        first = self._first()
        engine = self._made(candidate.name)
        if candidate.whole and engine.fallback:
            raise _LeavesParameters(f"it has no rule for {', '.join(sorted(engine.fallback))}")
        if candidate.batched and isinstance(engine, LayerwiseEngine) and isinstance(engine.second, LoopEngine):
            raise InputError(f"only the loop takes {', '.join(sorted(engine.fallback))}")
        rows = torch.empty(2, self.problem.dimensions, dtype=self.problem.dtype, device=self.problem.device)
        engine.gradients(0, first, rows)
        for t in (0, 1):
            self.verification.compare(candidate.name, t, rows[t])
        return engine

    def _first(self) -> list[np.ndarray]:
        return [self.minibatches[0], self.minibatches[1]]  # two, so that a mix-up between them shows

    def _made(self, name: str) -> VmapEngine | LayerwiseEngine | SamplewiseEngine:
        return _FAST[name](self.problem, self._first(), self._most_samples)


def choose_engine(
    asked: str, problem: Problem, minibatches: Minibatches, reference: LoopEngine, findings: Findings
) -> EngineChoice:
    """The engine asked for, or with ``"auto"`` the fastest that can be used.

    Raises:
        InputError: the engine asked for cannot take the problem, or disagrees with the reference.
    """
    if asked == "loop":
        return EngineChoice((), problem, minibatches, reference)
    if problem.by_batches:
        if asked != "auto":
            raise InputError(f"engine {asked!r} takes samples, and a step takes batches; use engine='loop'")
        choice = EngineChoice((), problem, minibatches, reference)
        choice.notices.append("engine loop: a step is a function of its batch, which only it can take as it is")
        return choice
    if findings.random:
        if asked != "auto":
            raise InputError(f"engine {asked!r} cannot seed the randomness of each iteration; use engine='loop'")
        choice = EngineChoice((), problem, minibatches, reference)
        choice.notices.append("engine loop: the model draws random numbers, which only it can seed")
        return choice
    cost = findings.cost or count_pass(reference, minibatches[0][:_COUNTED_SAMPLES])
    if asked != "auto":
        most = cost.most_samples()
        return EngineChoice([Candidate(asked)], problem, minibatches, reference, alone=True, most_samples=most)
    candidates = [
        Candidate(name, whole=True) for name, engine in _FAST.items() if engine.is_worth_it(problem, minibatches, cost)
    ]
    if Candidate(LayerwiseEngine.name, whole=True) in candidates:
        # Two passes, of which the second is for few parameters, still batch what the loop would not.
        candidates.append(Candidate(LayerwiseEngine.name, batched=True))
    return EngineChoice(candidates, problem, minibatches, reference, most_samples=cost.most_samples())


def _reason(error: Exception) -> str:
    """The first line of an error, or its name."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
