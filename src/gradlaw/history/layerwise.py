"""The layer-wise engine: minibatch gradients from the inputs of layers and the gradients of their outputs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.utils import _pytree as pytree

from gradlaw.errors import InputError
from gradlaw.history.layer_rules import LayerRule, rule_of, takes_batch_statistics
from gradlaw.history.loop import LoopEngine, scalar_loss
from gradlaw.history.vmap import VmapEngine
from gradlaw.problem import ParameterSlice, Problem

_CHUNK_BYTES = 128 * 2**20  # of gradients at once
_CHUNK_SAMPLES = 512  # forward and backward passes at once
_LEAST_CHUNK = 4  # iterations at once of a model too large for the above

Record = Callable[[str, nn.Module, Tensor, Tensor], object]


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

    Raises:
        InputError: samples interact in the model in a way that is not known here, its output has not one row a
            sample, or no parameter is used by a known layer; the message says which.
    """

    name = "layerwise"

    def __init__(self, problem: Problem, batches: Sequence[np.ndarray]):
        self.problem = problem
        self._parts = _parts_by_module(problem)
        self._rules = {name: rule for name, module in problem.model.named_modules() if (rule := rule_of(module))}
        _refuse_unknown_mixing(problem.model, self._rules)
        self._losses = self._batched_losses
        # Names of the parameters that take the second pass: any may, as far as the probe knows.
        self.fallback = frozenset(part.name for part in problem.layout)
        self.fallback = self._probe(batches)
        if len(self.fallback) == len(problem.layout):
            raise InputError("no analysed parameter is used by a layer with a rule of its own, and by nothing else")
        self._second = self._second_engine(batches) if self.fallback else None

    def chunk(self, batch_size: int) -> int:
        """How many iterations to ask for at once; a rule of sizes, so that every run of a problem chunks alike."""
        by_memory = max(_LEAST_CHUNK, _CHUNK_BYTES // (self.problem.dimensions * self.problem.dtype.itemsize))
        return max(1, min(by_memory, _CHUNK_SAMPLES // batch_size))

    def gradients(self, first: int, batches: Sequence[np.ndarray], out: Tensor) -> Tensor:
        """Write the gradients of the batches to the rows of ``out``; return the losses (C,)."""
        written: set[str] = set()

        def record(name: str, layer: nn.Module, kept: Tensor, output: Tensor) -> None:
            output.register_hook(lambda g: self._write(name, layer, kept.detach(), g, out, written))

        state = {name: p.detach() for name, p in self.problem.model.named_parameters()}
        root = torch.zeros((), device=self.problem.device, requires_grad=True)
        with torch.enable_grad():
            losses = self._losses(*self._forward(batches, state, root, record))
            torch.autograd.grad(losses.sum(), [root], allow_unused=True)
        if self._second is not None:
            self._write_second(first, batches, out)
        for part in self.problem.layout:
            if part.name not in written and part.name not in self.fallback:
                out[:, part.start : part.stop] = 0
        return losses.detach()

    def _probe(self, batches: Sequence[np.ndarray]) -> frozenset[str]:
        """The parameters that autograd reaches although the known layers are cut off from theirs."""
        root = torch.zeros((), device=self.problem.device, requires_grad=True)
        with torch.enable_grad():
            outputs, targets = self._forward(batches, {}, root, lambda *_: None)
            try:
                losses = self._losses(outputs, targets)
            except RuntimeError:  # what torch.func raises for an operation that it cannot batch
                self._losses = self._looped_losses
                losses = self._losses(outputs, targets)
            if not losses.requires_grad:
                raise InputError("the loss does not depend on any of the analysed parameters")
            reached = torch.autograd.grad(losses.sum(), self.problem.parameters(), allow_unused=True)
        return frozenset(p.name for p, g in zip(self.problem.layout, reached, strict=True) if g is not None)

    def _forward(
        self, batches: Sequence[np.ndarray], state: dict[str, Tensor], root: Tensor, record: Record
    ) -> tuple[Any, Any]:
        """Outputs and targets, (C, B, ...) each, of one forward pass over all C x B samples."""
        inputs, targets = self.problem.fetch(np.stack(batches))
        inputs = pytree.tree_map(lambda a: a.flatten(0, 1), inputs)
        iterations, samples = len(batches), len(batches) * len(batches[0])
        with _without_fast_path(), ExitStack() as replaced:
            for name, layer in self.problem.model.named_modules():
                if name in self._rules and (name in self._parts or takes_batch_statistics(layer)):
                    forward = self._layer_forward(name, layer, iterations, samples, root, record)
                    replaced.enter_context(_replaced_forward(layer, forward))
            outputs = self.problem.output({**state, **self.problem.buffers()}, inputs)
        return pytree.tree_map(lambda leaf: _split(leaf, iterations, samples), outputs), targets

    def _layer_forward(
        self, name: str, layer: nn.Module, iterations: int, samples: int, root: Tensor, record: Record
    ) -> Callable[..., Tensor]:
        """A layer's forward that is cut off from its parameters and records its input and output instead."""

        def forward(*args: Tensor, **kwargs: Tensor) -> Tensor:
            (x,) = (*args, *kwargs.values())
            weight, bias = (getattr(layer, p, None) for p in ("weight", "bias"))
            if x.shape[0] % samples:
                self._refuse_misplaced(name, layer, x, samples)
                return self._rules[name].forward(layer, x, weight, bias, iterations)[0]
            weight, bias = (None if p is None else p.detach() for p in (weight, bias))
            output, kept = self._rules[name].forward(layer, x, weight, bias, iterations)
            if name not in self._parts or not torch.is_grad_enabled():
                return output
            if not output.requires_grad:
                output = _Rooted.apply(output, root)
            record(name, layer, kept, output)
            return output

        return forward

    def _refuse_misplaced(self, name: str, layer: nn.Module, x: Tensor, samples: int) -> None:
        """Layers whose input does not start with the samples are left to the second pass, if the probe saw them."""
        names = {part.name for part in self._parts.get(name, {}).values()}
        if takes_batch_statistics(layer) or not names <= self.fallback:
            raise InputError(
                f"the input of {name!r} ({type(layer).__name__}) has shape {tuple(x.shape)}, whose first dimension is "
                f"not that of the {samples} samples; use engine='vmap' or 'loop'"
            )

    def _write(self, name: str, layer: nn.Module, kept: Tensor, g: Tensor, out: Tensor, written: set[str]) -> None:
        """The share of one call of one layer in the gradients of its parameters."""
        g = g.to(out.dtype)
        kept = kept.to(out.dtype) if kept.is_floating_point() else kept
        for kind, part in self._parts[name].items():
            if part.name in self.fallback:
                continue
            rule = self._rules[name].weight if kind == "weight" else self._rules[name].bias
            target = out[:, part.start : part.stop].unflatten(1, part.shape)
            if part.name in written:
                share = torch.empty_like(target)
                rule(layer, kept, g, share)
                target += share
            else:
                rule(layer, kept, g, target)
                written.add(part.name)

    def _batched_losses(self, outputs: Any, targets: Any) -> Tensor:
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
        rest = Problem(self.problem.model, self.problem.loss, self.problem.data, sorted(self.fallback))
        batched = VmapEngine(rest)
        rows = torch.empty(len(batches), rest.dimensions, dtype=rest.dtype, device=rest.device)
        try:
            batched.gradients(0, batches, rows)
        except RuntimeError:  # what torch.func raises for an operation that it cannot batch
            return LoopEngine(rest, seed=0)
        return batched

    def _write_second(self, first: int, batches: Sequence[np.ndarray], out: Tensor) -> None:
        assert self._second is not None
        rest = self._second.problem
        rows = torch.empty(len(batches), rest.dimensions, dtype=rest.dtype, device=rest.device)
        self._second.gradients(first, batches, rows)
        columns = {part.name: part for part in self.problem.layout}
        for part in rest.layout:
            out[:, columns[part.name].start : columns[part.name].stop] = rows[:, part.start : part.stop]


class _Rooted(torch.autograd.Function):
    """The output of a layer before which nothing needs a gradient, tied to a root so that backward comes by."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, root: Tensor) -> Tensor:
        return output.detach()  # neither the input nor a view of it, so that what follows may work in place

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[None, None]:
        return None, None


def _parts_by_module(problem: Problem) -> dict[str, dict[str, ParameterSlice]]:
    """Module name -> name of its own parameter -> where that sits in a gradient; tied parameters come up repeatedly."""
    slices = {id(p): part for p, part in zip(problem.parameters(), problem.layout, strict=True)}
    found = {
        name: {own: slices[id(p)] for own, p in module.named_parameters(recurse=False) if id(p) in slices}
        for name, module in problem.model.named_modules()
    }
    return {name: parts for name, parts in found.items() if parts}


def _refuse_unknown_mixing(model: nn.Module, rules: Mapping[str, LayerRule]) -> None:
    for name, module in model.named_modules():
        if takes_batch_statistics(module) and name not in rules:
            raise InputError(
                f"{name!r} ({type(module).__name__}) takes the statistics of the batch in a way that engine "
                "'layerwise' does not know; use engine='vmap' or 'loop'"
            )


def _split(leaf: Any, iterations: int, samples: int) -> Any:
    """A tensor of the model's output with the iterations as a dimension of their own, (C, B, ...)."""
    if leaf is None:
        return None
    if not isinstance(leaf, Tensor) or leaf.dim() == 0 or leaf.shape[0] % samples:
        got = f"a tensor of shape {tuple(leaf.shape)}" if isinstance(leaf, Tensor) else type(leaf).__name__
        raise InputError(
            f"engine 'layerwise' needs outputs that start with the samples, {samples} here; the model returns {got}. "
            "Use engine='vmap' or 'loop'"
        )
    return leaf.unflatten(0, (iterations, -1))


@contextmanager
def _replaced_forward(layer: nn.Module, forward: Callable[..., Tensor]) -> Iterator[None]:
    layer.forward = forward
    try:
        yield
    finally:
        del layer.forward


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """Transformer layers in evaluation mode would not call their parts otherwise."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
