"""A forward pass in which known layers are cut off from their parameters and record what goes in and comes out."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap

from gradlaw._torch import pytree
from gradlaw.errors import InputError
from gradlaw.history.layers.any_layer import AnyLayer, is_plain_layer
from gradlaw.history.layers.attention import attend, is_attention, is_self_attention, packed_projection
from gradlaw.history.layers.data_reads import DataReads
from gradlaw.history.layers.rules import RULES, LayerRule, rule_of, takes_batch_statistics
from gradlaw.history.layers.sample_axes import SHARED, sample_axes
from gradlaw.problem import ParameterSlice, Problem

Record = Callable[[str, nn.Module, Tensor, Tensor], object]  # (module, layer, what its rule keeps of the input, output)


class RecordedForward:
    """Forward passes over C iterations of B samples at once.

    Args:
        problem: without randomness in its forward pass.
        batches: two minibatches, to see along which axis of a layer's input the samples lie.

    Attributes:
        parts: by module name, where its ``weight`` and ``bias`` sit in a gradient; tied parameters come up repeatedly.
        rules: of the known layers, by module name.

    Raises:
        InputError: a batch normalisation without a rule takes the statistics of the batch.
    """

    def __init__(self, problem: Problem, batches: Sequence[np.ndarray]):
        self.problem = problem
        self.parts = _parts_by_module(problem)
        self.rules = _rules_by_module(problem.model)
        self._projections = {
            name: packed_projection(module) for name, module in problem.model.named_modules() if is_attention(module)
        }
        # Parameters whose layers may be left uncut: any may, until it is known which of them autograd reaches.
        self.uncut = frozenset(part.name for part in problem.layout)
        self._axes = sample_axes(self._cut_layers(), lambda times: self._plain(batches[:times]), len(batches[0]))
        self._reads_proven = False

    def __call__(
        self,
        batches: Sequence[np.ndarray],
        state: dict[str, Tensor],
        root: Tensor,
        record: Record,
        names: Collection[str] | None = None,
    ) -> tuple[Any, Any]:
        """Outputs and targets, (C, B, ...) each.

        Args:
            batches: C of B samples.
            state: what to put in place of the model's parameters.
            root: a scalar that requires a gradient; what is recorded depends on it.
            record: called for each call of a known layer with analysed parameters.
            names: the parameters whose layers to record, by default all that are analysed.

        Raises:
            InputError: the samples are not in an input or an output where they have to be.
        """
        inputs, targets = self._samples(batches)
        calls: Counter[str] = Counter()
        iterations, samples = len(batches), len(batches) * len(batches[0])
        reads = DataReads()
        with _without_fast_path(), ExitStack() as replaced:
            for name, layer in self._cut_layers():
                parts = self.parts.get(name, {}).values()
                wanted = any(names is None or part.name in names for part in parts)
                cut = _Cut(self, name, layer, iterations, samples, root, record if wanted else None, calls)
                forward = cut.attention if name in self._projections else cut.layer
                replaced.enter_context(_replaced_forward(layer, forward))
            with reads.watch():
                outputs = self.problem.output({**state, **self.problem.buffers()}, inputs)
        readouts = {f"{name}.out_proj".removeprefix(".") for name in self._projections}
        self._axes.check_calls({name: calls[name] for name, _ in self._cut_layers() if name not in readouts})
        if reads.operations and not self._reads_proven:
            self._prove_independent(batches[:2], reads.operations)
        return pytree.tree_map(lambda leaf: _split(leaf, iterations, samples), outputs), targets

    def _prove_independent(self, batches: Sequence[np.ndarray], operations: Collection[str]) -> None:
        """See that what a pass read of tensors does not depend on the data: vmap cannot read what does.

        Raises:
            InputError: it does, or vmap cannot take the model.
        """
        inputs, _ = self.problem.fetch(np.stack(batches))
        buffers = {name: b.expand(len(batches), *b.shape).clone() for name, b in self.problem.buffers().items()}
        try:
            vmap(self.problem.output)(buffers, inputs)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"the forward pass reads values of tensors ({', '.join(sorted(operations))}), so that what it computes "
                f"may depend on which samples it gets together ({reason})"
            ) from error
        self._reads_proven = True

    def _plain(self, batches: Sequence[np.ndarray]) -> None:
        with _without_fast_path():
            self.problem.output(self.problem.buffers(), self._samples(batches)[0])

    def _samples(self, batches: Sequence[np.ndarray]) -> tuple[Any, Any]:
        inputs, targets = self.problem.fetch(np.stack(batches))
        return pytree.tree_map(lambda a: a.flatten(0, 1), inputs), targets

    def _cut_layers(self) -> list[tuple[str, nn.Module]]:
        return [
            (name, layer)
            for name, layer in self.problem.model.named_modules()
            if name in self.rules and (name in self.parts or takes_batch_statistics(layer))
        ]


class _Cut:
    """The forward of one layer in one pass."""

    def __init__(
        self,
        recorded: RecordedForward,
        name: str,
        module: nn.Module,
        iterations: int,
        samples: int,
        root: Tensor,
        record: Record | None,
        calls: Counter[str],
    ):
        self.recorded, self.name, self.module = recorded, name, module
        self.iterations, self.samples, self.root, self.record, self.calls = iterations, samples, root, record, calls

    def layer(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        """Of a layer of one input."""
        axis = self._axis(next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)), None))
        own = dict(self.module.named_parameters(recurse=False))
        if axis is None:
            self._refuse_misplaced()
            if isinstance(self.recorded.rules[self.name], AnyLayer):
                return type(self.module).forward(self.module, *args, **kwargs)
        (x,) = (*args, *kwargs.values())
        if axis is None:
            return self.recorded.rules[self.name].forward(self.module, x, own, self.iterations)[0]
        return self._cut(self.module, x, own, axis)

    def attention(self, *args: Any, **kwargs: Any) -> Any:
        """Of PyTorch's attention; cross-attention stays as it is."""
        layer, axis = self.module, self._axis(args[0] if args else kwargs["query"])
        assert isinstance(layer, nn.MultiheadAttention)
        if axis is None or axis == SHARED or not is_self_attention(args, kwargs):
            return nn.MultiheadAttention.forward(layer, *args, **kwargs)
        stub = self.recorded._projections[self.name]
        packed = {"weight": layer.in_proj_weight, "bias": layer.in_proj_bias}
        own = {name: p for name, p in packed.items() if p is not None}
        return attend(layer, lambda x: self._cut(stub, x, own, axis), args, kwargs)

    def _axis(self, x: Tensor | None) -> int | None:
        """Along which axis of this call's input the samples lie, None if the layer cannot be cut there."""
        call = self.name, self.calls[self.name]
        self.calls[self.name] += 1
        seen = self.recorded._axes
        if call not in seen.axes and (of_attention := self._attention()) is not None:
            # An attention uses the weights of its readout without calling it, until it is cut.
            return seen.axes.get((of_attention, call[1]))
        seen.check(call, () if x is None else x.shape, self.samples)
        axis, rule = seen.axes[call], self.recorded.rules[self.name]
        if isinstance(rule, AnyLayer) and call not in seen.plain:
            return None
        return axis if axis == 0 or rule.by_rows else None

    def _attention(self) -> str | None:
        """The attention whose readout this layer is."""
        owner, _, own = self.name.rpartition(".")
        return owner if own == "out_proj" and owner in self.recorded._projections else None

    def _cut(self, layer: nn.Module, x: Tensor, parameters: Mapping[str, Tensor], axis: int) -> Tensor:
        if axis == SHARED:
            x, axis = _one_each(x, self.samples), 0
        given = {name: p.detach() for name, p in parameters.items()}
        output, kept = self.recorded.rules[self.name].forward(layer, x.movedim(axis, 0), given, self.iterations)
        if self.record is not None and torch.is_grad_enabled():
            if not output.requires_grad:
                output = _Rooted.apply(output, self.root)
            self.record(self.name, layer, kept, output)
        return output.movedim(0, axis)

    def _refuse_misplaced(self) -> None:
        """A layer whose samples are elsewhere is left to autograd, unless that has been promised not to be needed."""
        names = {part.name for part in self.recorded.parts.get(self.name, {}).values()}
        if takes_batch_statistics(self.module) or not names <= self.recorded.uncut:
            raise InputError(
                f"the input of {self.name!r} ({type(self.module).__name__}) has no dimension that is that of the "
                f"{self.samples} samples; use engine='vmap' or 'loop'"
            )


def _one_each(x: Tensor, samples: int) -> Tensor:
    """An input that all samples share, once for each; a first dimension of one is taken for that of the samples."""
    alone = x if x.dim() > 1 and len(x) == 1 else x[None]
    return alone.expand(samples, *alone.shape[1:])


class _Rooted(torch.autograd.Function):
    """The output of a layer before which nothing needs a gradient, tied to a root so that backward comes by."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, root: Tensor) -> Tensor:
        return output.detach()  # neither the input nor a view of it, so that what follows may work in place

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[None, None]:
        return None, None


def _parts_by_module(problem: Problem) -> dict[str, dict[str, ParameterSlice]]:
    slices = {id(p): part for p, part in zip(problem.parameters(), problem.layout, strict=True)}
    found = {}
    for name, module in problem.model.named_modules():
        prefix = "in_proj_" if is_attention(module) else ""
        own = {own.removeprefix(prefix): p for own, p in module.named_parameters(recurse=False)}
        found[name] = {own: slices[id(p)] for own, p in own.items() if id(p) in slices}
    return {name: parts for name, parts in found.items() if parts}


def _rules_by_module(model: nn.Module) -> dict[str, LayerRule]:
    rules: dict[str, LayerRule] = {}
    for name, module in model.named_modules():
        rule = RULES[nn.Linear] if is_attention(module) else rule_of(module)
        if rule is not None:
            rules[name] = rule
        elif is_plain_layer(module) and not takes_batch_statistics(module):
            rules[name] = AnyLayer()
        elif takes_batch_statistics(module):
            raise InputError(
                f"{name!r} ({type(module).__name__}) takes the statistics of the batch in a way that engine "
                "'layerwise' does not know; use engine='vmap' or 'loop'"
            )
    return rules


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
