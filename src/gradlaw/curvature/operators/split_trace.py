"""A linearised function, traced once and cut in two: what does not depend on the tangent, and the linear rest."""

import operator
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.func import functionalize
from torch.fx.experimental.proxy_tensor import make_fx

from gradlaw._torch import EFFICIENT_ZEROS, is_functional

aten = torch.ops.aten
_ZEROS = (aten.zeros_like.default, aten.zeros.default, aten.new_zeros.default, EFFICIENT_ZEROS)


class SplitTrace:
    """A function f(data, tangents) that is linear in its tangents, as two graphs of aten operations.

    ``torch.func.linearize`` does the same for one point. Here the data stay arguments: ``keep(data)`` computes what
    the linear part needs of them, ``apply(kept, tangents)`` multiplies, and one trace serves all data of one shape.

    Args:
        function: of the data tensors followed by the tangents, to a tuple of tensors. It may differentiate inside.
        data: an example.
        tangents: an example.
        constant: how many of the function's results, the last ones, do not depend on the tangents; ``keep`` returns
            them beside what it keeps.

    Raises:
        RuntimeError: an operation has no forward-mode derivative or no batching rule, or the control flow depends on
            values.
    """

    def __init__(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        data: Sequence[Tensor],
        tangents: Sequence[Tensor],
        constant: int = 0,
    ):
        with warnings.catch_warnings():
            # torch scripts some of its own rules for forward mode.
            warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
            traced = make_fx(function)(*data, *tangents)
        # Without mutations: a product may not write to what is kept for the next one. In a pass of its own, because
        # functionalize cannot see through the forward-mode rules of custom autograd functions; it takes as long as the
        # first, and is left out where nothing is written to.
        if any(_writes(node) for node in traced.graph.nodes):
            traced = make_fx(functionalize(traced, remove="mutations"))(*data, *tangents)
        _simplify(traced)
        self._constants = {_attribute(traced, n).untyped_storage().data_ptr() for n in _nodes(traced, "get_attr")}
        self._constant = constant
        self._keep, self._apply = _split(traced, len(data), constant)

    def keep(self, data: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """All that ``apply`` needs of the data, and the constant results."""
        with torch.no_grad():
            everything = self._keep(*data)
        cut = len(everything) - self._constant
        return everything[:cut], everything[cut:]

    def apply(self, kept: Sequence[Tensor], tangents: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """f(data, tangents), without its constant results."""
        with torch.no_grad():
            return self._apply(*kept, *tangents)

    def kept_bytes(self, kept: Sequence[Tensor]) -> int:
        """The memory that ``kept`` holds beyond the constants of the function (its parameters)."""
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
        return sum(size for place, size in storages.items() if place not in self._constants)


def _writes(node: fx.Node) -> bool:
    if node.op != "call_function" or node.target is operator.getitem:
        return False
    return not is_functional(node.target)


def _simplify(traced: fx.GraphModule) -> None:
    """Drop nodes that no result depends on, repeat another or do nothing; the graph has no operation in place.

    make_fx leaves comparisons of shapes behind, which keep alive what they compare, and forward mode starts its sums
    from zeros.
    """
    seen: dict[Any, fx.Node] = {}
    for node in traced.graph.nodes:
        if node.op not in ("call_function", "get_attr"):
            continue
        own = id(_attribute(traced, node)) if node.op == "get_attr" else node.target
        # The arguments by name: those that repeat another have been replaced by it.
        first = seen.setdefault((own, str(node.args), str(node.kwargs)), node)
        same = _same_as(node) or first
        if same is not node:
            node.replace_all_uses_with(same)
    traced.graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))


def _same_as(node: fx.Node) -> fx.Node | None:
    """The argument that a node returns as it is, if it does."""
    if node.target in (aten.detach.default, aten.alias.default):
        return node.all_input_nodes[0]
    if node.target is aten.add.Tensor and not node.kwargs and len(node.all_input_nodes) == 2:
        first, second = node.all_input_nodes
        for zero, other in ((first, second), (second, first)):
            if zero.target in _ZEROS and _kind(zero) == _kind(other) == _kind(node):
                return other
    return None


def _kind(node: fx.Node) -> Any:
    value = node.meta["tensor_meta"]
    return value.shape, value.dtype


def _nodes(traced: fx.GraphModule, op: str) -> list[fx.Node]:
    return [node for node in traced.graph.nodes if node.op == op]


def _attribute(traced: fx.GraphModule, node: fx.Node) -> Tensor:
    return getattr(traced, str(node.target))


def _split(traced: fx.GraphModule, data: int, constant: int) -> tuple[fx.GraphModule, fx.GraphModule]:
    linear = set(_nodes(traced, "placeholder")[data:])
    for node in traced.graph.nodes:
        if node.op != "output" and any(argument in linear for argument in node.all_input_nodes):
            linear.add(node)
    (output,) = _nodes(traced, "output")
    results: list[Any] = list(output.args[0])  # type: ignore[arg-type]
    varying, constants = results[: len(results) - constant], results[len(results) - constant :]
    if any(node in linear for node in constants):
        raise RuntimeError("a result that is to be constant depends on the tangents")
    needed = {argument for node in linear for argument in node.all_input_nodes} | set(varying)
    boundary = [node for node in traced.graph.nodes if node in needed - linear]
    keep, apply = fx.Graph(), fx.Graph()
    in_keep: dict[fx.Node, Any] = {}
    in_apply: dict[fx.Node, Any] = {node: apply.placeholder(f"kept_{i}") for i, node in enumerate(boundary)}
    for node in traced.graph.nodes:
        if node.op == "output":
            continue
        if node in linear:
            in_apply[node] = apply.node_copy(node, in_apply.__getitem__)
        else:
            in_keep[node] = keep.node_copy(node, in_keep.__getitem__)
    keep.output(tuple(in_keep[node] for node in (*boundary, *constants)))
    apply.output(tuple(in_apply[node] for node in varying))
    return fx.GraphModule(traced, keep), fx.GraphModule(traced, apply)
