"""The layer-wise engine: minibatch gradients from the inputs of layers and the gradients of their outputs."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap

from gradlaw._torch import pytree
from gradlaw.errors import InputError
from gradlaw.history.engines.cost import MOST_SAMPLES, PassCost
from gradlaw.history.engines.gradient_hooks import refuse_gradient_hooks
from gradlaw.history.engines.loop import NO_PARAMETER, LoopEngine, scalar_loss
from gradlaw.history.engines.plain_cross_entropy import cross_entropies, is_plain_cross_entropy
from gradlaw.history.engines.vmap import VmapEngine
from gradlaw.history.layers.base import LayerRule, RowFactors
from gradlaw.history.layers.recorded_forward import RecordedForward
from gradlaw.minibatches import Minibatches
from gradlaw.problem import ParameterSlice, Problem

See = Callable[[Any, list[Tensor | None], Any], object]  # (outputs, their gradients, targets), (C, B, ...) each

_CHUNK_BYTES = 128 * 2**20  # of gradients at once
_LEAST_CHUNK = 4  # iterations at once of a model too large for the above


@dataclass(frozen=True)
class Contribution:
    """What one call of one layer adds to the gradients of one of its parameters, for C iterations.

    Attributes:
        part: the parameter.
        name: of the parameter in the layer, such as ``"weight"``.
        rule: of the layer.
        layer: the module.
        saved: what the forward pass saved, (C B, ...).
        g: gradient of the output, (C B, ...).
    """

    part: ParameterSlice
    name: str
    rule: LayerRule
    layer: nn.Module
    saved: Tensor
    g: Tensor

    @property
    def is_weight(self) -> bool:
        """Whether it is the sum over rows that the rule knows."""
        return self.rule.factors is not None and self.name == self.rule.weight

    @property
    def is_bias(self) -> bool:
        """Whether it is the sum of the output gradients of these rows."""
        return self.rule.factors is not None and self.name == self.rule.bias

    def room(self, iterations: int, chunk: int) -> RowFactors:
        """Room for the factors of ``iterations`` iterations; the contribution is of ``chunk`` of them."""
        assert self.rule.factors is not None
        return self.rule.factors.empty(self.layer, self.saved, self.g, iterations, chunk)

    def write(self, out: Tensor) -> None:
        """Write it to ``out``, (C, *shape of the parameter)."""
        self.rule.write(self.layer, self.name, self.saved, self.g, out)


Take = Callable[[Contribution], object]


class LayerwiseEngine:
    """Minibatch gradients of C iterations from one forward and one backward pass over their C x B samples.

    A layer's input x and the gradient g of its output give the gradient of its weight for each iteration at once
    (for a linear layer the sum of g x^T over the iteration's samples), so autograd never sees a parameter and no
    per-sample gradient is formed. Batch normalisation takes the statistics of each iteration's own minibatch.

    Parameters that the model uses in any other way (a layer without a rule, a weight used by a function, as in a tied
    readout) are found by a probe: with every known layer cut off from its parameters, autograd still reaches them.
    They are computed in a second pass by vmap, or by the loop where vmap cannot batch the model.

    Args:
        problem: without randomness in its forward pass.
        batches: the first minibatches (two are enough), for the probe.
        most_samples: that pass through the model at once; a memory knob that changes results by rounding at most.

    Raises:
        InputError: samples interact in the model in a way that is not known here, its output has not one row a
            sample, no parameter is used by a known layer, gradients pass through hooks, or the inputs require a
            gradient; the message says which.
    """

    name = "layerwise"

    def __init__(self, problem: Problem, batches: Sequence[np.ndarray], most_samples: int = MOST_SAMPLES):
        self.problem, self.most_samples = problem, most_samples
        self._state = problem.state()
        refuse_gradient_hooks(problem)
        with problem.undisturbed(self._state):
            self._forward = RecordedForward(problem, batches)
        self._losses = self._batched_losses
        self.fallback = self._forward.original = self._probe(batches)  # names of the parameters of the second pass
        if len(self.fallback) == len(problem.layout):
            raise InputError("no analysed parameter is used by a layer with a rule of its own, and by nothing else")
        self.second = self._second_engine(batches) if self.fallback else None

    @property
    def mixing(self) -> frozenset[str]:
        """Operations through which samples may see one another, by name."""
        return self._forward.mixing

    @staticmethod
    def is_worth_it(problem: Problem, minibatches: Minibatches, cost: PassCost) -> bool:
        """Whether this is faster than the loop, if every parameter has a rule."""
        size = minibatches.batch_size
        return cost.batching_is_worth_it(size) and _chunk(problem, size, cost.most_samples()) > 1

    def chunk(self, batch_size: int) -> int:
        """How many iterations to ask for at once."""
        return _chunk(self.problem, batch_size, self.most_samples)

    def gradients(
        self,
        first: int,
        batches: Sequence[np.ndarray],
        out: Tensor,
        see: See | None = None,
    ) -> Tensor:
        """Write the gradients of the batches to the rows of ``out``; return the losses (C,). For ``see`` and errors,
        :meth:`contributions`.
        """
        written: set[str] = set()
        losses = self.contributions(batches, lambda contribution: _write(contribution, out, written), see=see)
        if self.second is not None:
            self._write_second(first, batches, out)
        for part in self.problem.layout:
            if part.name not in written and part.name not in self.fallback:
                out[:, part.start : part.stop] = 0
        return losses

    def contributions(
        self,
        batches: Sequence[np.ndarray],
        take: Take,
        names: Collection[str] | None = None,
        see: See | None = None,
    ) -> Tensor:
        """Call ``take`` with every contribution to the batches' gradients in turn, and return the losses (C,).

        With ``names``, only those of the layers of the parameters named, and backward goes no further than to them.
        Parameters in ``fallback`` have none. ``see`` is called with the outputs of the model (C, B, ...), the
        gradients of the sum of the losses in their tensors, and the targets.

        Raises:
            InputError: this pass differs from the first minibatches: it reaches a parameter in a way of its own, or
                its layers see inputs of other shapes. What has been taken of it is void.
        """

        def record(name: str, layer: nn.Module, saved: Tensor, output: Tensor) -> None:
            output.register_hook(lambda g: self._pass_on(name, layer, saved.detach(), g, take))

        by_rules = {part.name: p for part, p in zip(self.problem.layout, self.problem.parameters(), strict=True)}
        for name in self.fallback:
            by_rules.pop(name)
        state = {name: p.detach() for name, p in self.problem.model.named_parameters() if name not in by_rules}
        anchor = torch.zeros((), device=self.problem.device, requires_grad=True)
        with self.problem.undisturbed(self._state), torch.enable_grad():
            outputs, targets = self._forward(batches, state, anchor, record, names)
            losses = self._losses(outputs, targets)
            leaves = [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)] if see else []
            live = [leaf for leaf in leaves if leaf.requires_grad]
            wanted = [anchor, *live, *by_rules.values()]
            _, *gradients = torch.autograd.grad(losses.sum(), wanted, allow_unused=True)
        reached = [name for name, g in zip(by_rules, gradients[len(live) :], strict=True) if g is not None]
        if reached:
            raise InputError(
                f"the loss reaches {', '.join(reached)} in a way that it does not with the first minibatches: which "
                "parameters are used, or how, depends on the data"
            )
        if see is not None:
            of_live = dict(zip(map(id, live), gradients, strict=False))
            detached = pytree.tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, outputs)
            see(detached, [of_live.get(id(leaf)) for leaf in leaves], targets)
        return losses.detach()

    def contributions_by_parameter(self, batches: Sequence[np.ndarray]) -> dict[str, list[Contribution]]:
        """All contributions to the batches' gradients, by the name of the parameter in the model."""
        by_parameter: dict[str, list[Contribution]] = {}
        self.contributions(batches, lambda one: by_parameter.setdefault(one.part.name, []).append(one))
        return by_parameter

    def _probe(self, batches: Sequence[np.ndarray]) -> frozenset[str]:
        """The parameters that autograd reaches although the known layers are cut off from theirs."""
        anchor = torch.zeros((), device=self.problem.device, requires_grad=True)
        with self.problem.undisturbed(self._state), torch.enable_grad():
            outputs, targets = self._forward(batches, {}, anchor, lambda *_: None)
            try:
                losses = self._losses(outputs, targets)
            except RuntimeError:  # what torch.func raises for an operation that it cannot batch
                self._losses = self._looped_losses
                losses = self._losses(outputs, targets)
            if not losses.requires_grad:
                raise InputError(NO_PARAMETER)
            reached = torch.autograd.grad(losses.sum(), self.problem.parameters(), allow_unused=True)
        return frozenset(p.name for p, g in zip(self.problem.layout, reached, strict=True) if g is not None)

    def _pass_on(self, name: str, layer: nn.Module, saved: Tensor, g: Tensor, take: Take) -> None:
        """The contributions of one call of one layer, in the type of the gradients."""
        dtype = self.problem.dtype
        saved, g = saved.to(dtype) if saved.is_floating_point() else saved, g.to(dtype)
        for parameter, part in self._forward.parts[name].items():
            if part.name not in self.fallback:
                take(Contribution(part, parameter, self._forward.rules[name], layer, saved, g))

    def _batched_losses(self, outputs: Any, targets: Any) -> Tensor:
        if is_plain_cross_entropy(self.problem.loss):
            losses = cross_entropies(outputs, targets)
            if losses is not None:
                return losses
        axes = pytree.tree_map(lambda leaf: 0 if isinstance(leaf, Tensor) else None, outputs)
        return vmap(self._loss, in_dims=(axes, 0))(outputs, targets)

    def _looped_losses(self, outputs: Any, targets: Any) -> Tensor:
        count = len(pytree.tree_leaves(targets)[0])
        one = lambda tree, i: pytree.tree_map(lambda a: a[i] if isinstance(a, Tensor) else a, tree)  # noqa: E731
        return torch.stack([self._loss(one(outputs, i), one(targets, i)) for i in range(count)])

    def _loss(self, output: Any, targets: Any) -> Tensor:
        return scalar_loss(self.problem.loss(output, targets))

    def _second_engine(self, batches: Sequence[np.ndarray]) -> VmapEngine | LoopEngine:
        """An engine for the parameters that have no rule, by themselves."""
        rest = self.problem.part(sorted(self.fallback))
        batched = VmapEngine(rest, most_samples=self.most_samples)
        rows = torch.empty(len(batches), rest.dimensions, dtype=rest.dtype, device=rest.device)
        try:
            batched.gradients(0, batches, rows)
        except RuntimeError:  # what torch.func raises for an operation that it cannot batch
            return LoopEngine(rest, seed=0)
        return batched

    def _write_second(self, first: int, batches: Sequence[np.ndarray], out: Tensor) -> None:
        assert self.second is not None
        rest = self.second.problem
        rows = torch.empty(len(batches), rest.dimensions, dtype=rest.dtype, device=rest.device)
        self.second.gradients(first, batches, rows)
        columns = {part.name: part for part in self.problem.layout}
        for part in rest.layout:
            out[:, columns[part.name].start : columns[part.name].stop] = rows[:, part.start : part.stop]


def _chunk(problem: Problem, batch_size: int, most_samples: int) -> int:
    """A rule of sizes, so that every run of a problem chunks alike."""
    by_memory = max(_LEAST_CHUNK, _CHUNK_BYTES // (problem.dimensions * problem.dtype.itemsize))
    return max(1, min(by_memory, most_samples // batch_size))


def _write(contribution: Contribution, out: Tensor, written: set[str]) -> None:
    """Add a contribution to the rows of ``out``, whose columns hold nothing before the first one."""
    part = contribution.part
    target = out[:, part.start : part.stop].unflatten(1, part.shape)
    if part.name in written:
        more = torch.empty_like(target)
        contribution.write(more)
        target += more
    else:
        contribution.write(target)
        written.add(part.name)
