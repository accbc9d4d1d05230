"""A forward pass in which known layers are detached from their parameters and record what goes in and comes out."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap

from gradlaw._torch import pytree
from gradlaw.errors import InputError
from gradlaw.history.layers.base import SHARED, LayerRule
from gradlaw.history.layers.data_reads import DataReads
from gradlaw.history.layers.normalisation import takes_batch_statistics
from gradlaw.history.layers.registry import rule_of
from gradlaw.history.layers.sample_axes import sample_axes
from gradlaw.history.layers.sample_mixing import mixing_operations
from gradlaw.problem import ParameterSlice, Problem

_RELATIVE_EPS = 1e4  # of the largest output of a minibatch: 1e-3 in float32

Record = Callable[[str, nn.Module, Tensor, Tensor], object]  # (module, layer, what its rule keeps of the input, output)


class RecordedForward:
    """Forward passes over C iterations of B samples at once.

    Args:
        problem: without randomness in its forward pass.
        batches: two minibatches, to see along which axis of a layer's input the samples lie.

    Attributes:
        parts: by module name, where its own parameters sit in a gradient; tied parameters come up repeatedly.
        rules: of the known layers, by module name.
        original: names of parameters whose layers may be left as they are; any may, until it is known which of them
            autograd reaches.
        axes: of the samples in the inputs of layers.
        mixing: operations through which samples may see one another. If there are any, the outputs of each pass are
            compared with those of each minibatch for itself.

    Raises:
        InputError: a batch normalisation without a rule takes the statistics of the batch, or samples of one minibatch
            see those of another.
    """

    def __init__(self, problem: Problem, batches: Sequence[np.ndarray]):
        self.problem = problem
        self.parts = _parts_by_module(problem)
        self.rules = _rules_by_module(problem.model)
        self.original = frozenset(part.name for part in problem.layout)
        self._layers = self._detached_layers()
        self.axes = sample_axes(self._layers, lambda times: self._plain(batches[:times]), len(batches[0]))
        self._reads_proven = False
        self.mixing = mixing_operations([one[1:] for one in self._layers], partial(self._some, batches))

    def __call__(
        self,
        batches: Sequence[np.ndarray],
        state: dict[str, Tensor],
        anchor: Tensor,
        record: Record,
        names: Collection[str] | None = None,
    ) -> tuple[Any, Any]:
        """Outputs and targets, (C, B, ...) each.

        Args:
            batches: C of B samples.
            state: what to put in place of the model's parameters.
            anchor: a scalar that requires a gradient; what is recorded depends on it.
            record: called for each call of a known layer with analysed parameters.
            names: the parameters whose layers to record, by default all that are analysed.

        Raises:
            InputError: the samples are not in an input or an output where they have to be.
        """
        inputs, targets = self._samples(batches)
        iterations, samples = len(batches), len(batches) * len(batches[0])
        forward = _Pass(self, iterations, samples, anchor, record, names)
        reads = DataReads()
        with _without_fast_path(), ExitStack() as replaced:
            for name, layer, _ in self._layers:
                replaced.enter_context(_replaced_forward(layer, forward.of(name, layer)))
            with reads.watch():
                outputs = self.problem.output({**state, **self.problem.buffers()}, inputs)
        self.axes.check_calls({name: forward.calls[name] for name, _, _ in self._layers})
        if reads.operations and not self._reads_proven:
            self._prove_independent(batches[:2], reads.operations)
        outputs = pytree.tree_map(lambda leaf: _split(leaf, iterations, samples), outputs)
        if self.mixing:
            self._check_apart(batches, outputs)
        return outputs, targets

    def _prove_independent(self, batches: Sequence[np.ndarray], operations: Collection[str]) -> None:
        """See that what a pass read of tensors does not depend on the data: vmap cannot read what does.

        Raises:
            InputError: it does, or vmap cannot take the model.
        """
        reads = f"reads values of tensors ({', '.join(sorted(operations))})"
        self._each_for_itself(batches, reads)
        self._reads_proven = True

    def _check_apart(self, batches: Sequence[np.ndarray], outputs: Any) -> None:
        """See that outputs (C, B, ...) of all minibatches together are those of each minibatch for itself.

        Raises:
            InputError: they are not, or vmap cannot take the model.
        """
        names = ", ".join(sorted(self.mixing))
        with torch.no_grad():
            apart = self._each_for_itself(
                batches, f"has operations through which samples may see one another ({names})"
            )
        pairs = zip(pytree.tree_leaves(outputs), pytree.tree_leaves(apart), strict=True)
        if not all(_equal(a.detach(), b) for a, b in pairs if isinstance(a, Tensor)):
            raise InputError(
                f"the samples of a minibatch see one another in the model (by {names}?): together with those of other "
                "minibatches they have other outputs"
            )

    def _each_for_itself(self, batches: Sequence[np.ndarray], reason: str) -> Any:
        """The outputs of each minibatch by vmap, (C, B, ...); what the reason is that they are needed.

        Raises:
            InputError: vmap cannot take the model, or cannot read what depends on the data.
        """
        inputs, _ = self.problem.fetch(np.stack(batches))
        buffers = {name: b.expand(len(batches), *b.shape).clone() for name, b in self.problem.buffers().items()}
        try:
            return vmap(self.problem.output)(buffers, inputs)
        except (RuntimeError, ValueError) as error:
            why = str(error).strip().splitlines()[0]
            raise InputError(
                f"the forward pass {reason}, so that what it computes may depend on which samples it gets together "
                f"({why})"
            ) from error

    def _some(self, batches: Sequence[np.ndarray], samples: int) -> None:
        """A pass over so many samples, those of the batches again and again."""
        inputs, _ = self.problem.fetch(np.resize(np.concatenate(batches), samples))
        with _without_fast_path():
            self.problem.output(self.problem.buffers(), inputs)

    def _plain(self, batches: Sequence[np.ndarray]) -> None:
        with _without_fast_path():
            self.problem.output(self.problem.buffers(), self._samples(batches)[0])

    def _samples(self, batches: Sequence[np.ndarray]) -> tuple[Any, Any]:
        inputs, targets = self.problem.fetch(np.stack(batches))
        if any(leaf.requires_grad for leaf in pytree.tree_leaves(inputs)):
            raise InputError(
                "the inputs require a gradient, which is for derivatives with respect to them; use engine='loop'"
            )
        return pytree.tree_map(lambda a: a.flatten(0, 1), inputs), targets

    def _detached_layers(self) -> list[tuple[str, nn.Module, LayerRule]]:
        """Name, module and rule; without those that the rule of another one calls itself."""
        rules = {name: rule for name, rule in self.rules.items() if name in self.parts}
        called = {_child(name, child) for name, rule in rules.items() for child in rule.children}
        return [
            (name, layer, self.rules[name])
            for name, layer in self.problem.model.named_modules()
            if name in self.rules and name not in called and (name in self.parts or takes_batch_statistics(layer))
        ]


class _Pass:
    """What the layers share in one pass."""

    def __init__(
        self,
        recorded: "RecordedForward",
        iterations: int,
        samples: int,
        anchor: Tensor,
        record: Record,
        names: Collection[str] | None,
    ):
        self.recorded, self.iterations, self.samples = recorded, iterations, samples
        self.anchor, self.record, self.names = anchor, record, names
        self.calls: Counter[str] = Counter()

    def of(self, name: str, layer: nn.Module) -> Callable[..., Any]:
        """What to put in place of the forward of a layer."""

        def forward(*args: Any, **kwargs: Any) -> Any:
            rule = self.recorded.rules[name]
            axis, one_tensor = self._axis(name, layer, rule, rule.input(args, kwargs))
            call = DetachedLayer(self, name, layer, SHARED if axis is None else axis, one_tensor)
            return call.original(*args, **kwargs) if axis is None else rule.run(call, args, kwargs)

        return forward

    def records(self, name: str) -> bool:
        """Whether a layer is one of those to record."""
        parts = self.recorded.parts.get(name, {}).values()
        return any(self.names is None or part.name in self.names for part in parts)

    def _axis(self, name: str, layer: nn.Module, rule: LayerRule, x: Tensor | None) -> tuple[int | None, bool]:
        """Along which axis of a call's input the samples lie, None if the layer cannot be detached there; whether it
        was called with one tensor alone in the first passes.
        """
        call = name, self.calls[name]
        self.calls[name] += 1
        axes = self.recorded.axes
        axes.check(call, () if x is None else x.shape, self.samples)
        axis = axes.axes[call]
        if axis is not None and axis != 0 and not rule.by_rows:
            axis = None
        if axis is None:
            self._refuse_misplaced(name, layer)
        return axis, call in axes.plain

    def _refuse_misplaced(self, name: str, layer: nn.Module) -> None:
        """A layer whose samples are elsewhere is left to autograd, unless that has been promised not to be needed."""
        names = {part.name for part in self.recorded.parts.get(name, {}).values()}
        if takes_batch_statistics(layer) or not names <= self.recorded.original:
            raise InputError(
                f"the input of {name!r} ({type(layer).__name__}) has no dimension that is that of the "
                f"{self.samples} samples; use engine='vmap' or 'loop'"
            )


@dataclass(frozen=True)
class DetachedLayer:
    """One call of a layer in one pass, see :class:`~gradlaw.history.layers.base.LayerCall`."""

    forward: _Pass
    name: str
    layer: Any
    axis: int
    one_tensor: bool

    def original(self, *args: Any, **kwargs: Any) -> Any:
        return type(self.layer).forward(self.layer, *args, **kwargs)

    def detached(self, x: Tensor, child: str | None = None) -> Tensor:
        recorded = self.forward.recorded
        name = self.name if child is None else _child(self.name, child)
        layer = self.layer if child is None else self.layer.get_submodule(child)
        if name not in recorded.rules:  # a child that autograd is to see
            alone: Tensor = layer(x)
            return alone
        axis = self.axis
        if axis == SHARED:
            x, axis = _one_each(x, self.forward.samples), 0
        given = {name: p.detach() for name, p in layer.named_parameters(recurse=False)}
        rule = recorded.rules[name]
        output, saved = rule.forward(layer, x.movedim(axis, 0), given, self.forward.iterations)
        if self.forward.records(name) and torch.is_grad_enabled():
            if not output.requires_grad:
                output = _Anchored.apply(output, self.forward.anchor)
            self.forward.record(name, layer, saved, output)
        return output.movedim(0, axis)


def _child(name: str, child: str) -> str:
    return f"{name}.{child}".removeprefix(".")


def _one_each(x: Tensor, samples: int) -> Tensor:
    """An input that all samples share, once for each; a first dimension of one is taken for that of the samples."""
    alone = x if x.dim() > 1 and len(x) == 1 else x[None]
    return alone.expand(samples, *alone.shape[1:])


class _Anchored(torch.autograd.Function):
    """The output of a layer before which nothing needs a gradient, tied to an anchor so that backward comes by."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, anchor: Tensor) -> Tensor:
        return output.detach()  # neither the input nor a view of it, so that what follows may work in place

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[None, None]:
        return None, None


def _parts_by_module(problem: Problem) -> dict[str, dict[str, ParameterSlice]]:
    slices = {id(p): part for p, part in zip(problem.parameters(), problem.layout, strict=True)}
    parts = {
        module_name: {name: slices[id(p)] for name, p in module.named_parameters(recurse=False) if id(p) in slices}
        for module_name, module in problem.model.named_modules()
    }
    return {name: of_module for name, of_module in parts.items() if of_module}


def _rules_by_module(model: nn.Module) -> dict[str, LayerRule]:
    rules: dict[str, LayerRule] = {}
    for name, module in model.named_modules():
        rule = rule_of(module)
        if rule is not None:
            rules[name] = rule
        elif takes_batch_statistics(module):
            raise InputError(
                f"{name!r} ({type(module).__name__}) takes the statistics of the batch in a way that engine "
                "'layerwise' does not know; use engine='vmap' or 'loop'"
            )
    return rules


def _equal(together: Tensor, apart: Tensor) -> bool:
    """Whether outputs (C, ...) of all minibatches at once are those of each, but for rounding."""
    if not together.is_floating_point():
        return torch.equal(together, apart)
    size = torch.maximum(together.abs(), apart.abs()).flatten(1).amax(dim=1)
    off = (together - apart).abs().flatten(1).amax(dim=1)
    # What is not finite is refused by name, of the loss.
    return bool(((off <= _RELATIVE_EPS * torch.finfo(together.dtype).eps * size) | ~off.isfinite()).all())


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
def _replaced_forward(layer: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
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
