"""How each layer's share of a Gram matrix is formed, and in how many passes over the minibatches."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from gradlaw.errors import InputError
from gradlaw.history.engines.layerwise import Share
from gradlaw.history.layers.factors import call_type, empty_call
from gradlaw.problem import ParameterSlice, Problem
from gradlaw.resources import memory_budget
from gradlaw.spectra.gram.products import outer_cost

OUTER, DENSE = "outer", "dense"
FORMS = ("auto", OUTER, DENSE)
_MEMORY_SHARE = 0.25  # of what is free, for factors and gradients


@dataclass(frozen=True)
class Piece:
    """Dimensions whose share of the Gram matrix is formed together.

    Attributes:
        part: a parameter, the weight of a layer if factors are kept.
        bias: the layer's bias if it goes with the weight.
        form: ``OUTER`` or ``DENSE``.
        factors: whether the inputs and output gradients of the layer are kept, otherwise the gradients themselves.
        start, stop: columns of the parameter; all of them if factors are kept.
        size: bytes that an iteration keeps.
        cost: multiply-adds for each of the T^2 / 2 pairs of iterations.
    """

    part: ParameterSlice
    bias: ParameterSlice | None
    form: str
    factors: bool
    start: int
    stop: int
    size: int
    cost: int

    @property
    def names(self) -> list[str]:
        """Of the parameters."""
        return [part.name for part in (self.part, self.bias) if part is not None]


@dataclass(frozen=True)
class Pass:
    """Pieces whose factors and gradients are kept at the same time; ``layerwise`` or by an engine of gradients."""

    pieces: list[Piece]
    layerwise: bool

    @property
    def names(self) -> list[str]:
        """Of all parameters."""
        return [name for piece in self.pieces for name in piece.names]

    @property
    def columns(self) -> int:
        """Of the gradients that are kept."""
        return sum(piece.stop - piece.start for piece in self.pieces if not piece.factors)


def plan_passes(
    problem: Problem,
    shares: Mapping[str, Sequence[Share]],
    rest: Iterable[str],
    iterations: int,
    probed: int,
    memory: int | None,
    form: str,
) -> list[Pass]:
    """Choose form and storage of each layer by counted cost and size, and group layers into passes.

    Args:
        problem: whose parameters.
        shares: by the name of a parameter, its shares in the gradients of the first minibatches.
        rest: names of the parameters that the layer-wise engine leaves to another.
        iterations: T.
        probed: how many minibatches the shares are of.
        memory: bytes for factors and gradients; by default a quarter of what is free.
        form: one of ``FORMS``; ``OUTER`` and ``DENSE`` wherever it is possible.

    Raises:
        InputError: no such form, or ``memory`` is not positive.
    """
    if form not in FORMS:
        raise InputError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    if memory is not None and memory <= 0:
        raise InputError(f"memory must be positive, got {memory}")
    memory = memory_budget(problem.device, memory, _MEMORY_SHARE)
    budget = max(1, memory // iterations)
    weights = _weights_with_bias(shares)
    with_weight = set(weights.values())
    parts = {part.name: part for part in problem.layout}
    pieces: list[Piece] = []
    for name in (name for name in parts if name in shares and name not in with_weight):
        bias = weights.get(name)
        piece = _by_factors(parts, shares, name, bias, probed, budget, form) if name in weights else None
        whole = [_by_gradients(parts[own], problem.dtype) for own in (name, bias) if own is not None]
        pieces += whole if piece is None else [piece]
    by_layers = _passes(pieces, problem.dtype, budget, True)
    others = [_by_gradients(part, problem.dtype) for part in problem.layout if part.name in rest]
    return [*by_layers, *_passes(others, problem.dtype, budget, False)]


def describe_plan(passes: Sequence[Pass], iterations: int) -> str:
    """The plan in a few lines."""
    cost = sum(piece.cost for one in passes for piece in one.pieces) * iterations**2 // 2
    kept = max(sum(piece.size for piece in one.pieces) for one in passes) * iterations
    outer = [piece.part.name for one in passes for piece in one.pieces if piece.form == OUTER]
    dense = {piece.part.name for one in passes for piece in one.pieces if piece.form == DENSE}
    return (
        f"Gram matrix of T={iterations:,} gradients by layers: {len(passes)} "
        f"{'pass' if len(passes) == 1 else 'passes'} over the minibatches, up to {kept / 1e9:.2f} GB kept, "
        f"{cost:.2g} multiply-adds. By factors: {', '.join(outer) or 'none'}; {len(dense)} by gradients"
    )


def _weights_with_bias(shares: Mapping[str, Sequence[Share]]) -> dict[str, str | None]:
    """The weights whose gradient is a sum over rows, and the bias that is used in the same calls of the same layers."""
    by_calls = {
        tuple(id(share.layer) for share in some): name
        for name, some in shares.items()
        if all(share.kind == "bias" for share in some)
    }
    return {
        name: by_calls.get(tuple(id(share.layer) for share in some))
        for name, some in shares.items()
        if all(share.kind == "weight" for share in some) and _same_rows(some)
    }


def _same_rows(shares: Sequence[Share]) -> bool:
    """Whether shares of one weight are sums over rows of one kind."""
    kinds = {(call_type(share.layer), getattr(share.layer, "groups", 1)) for share in shares}
    return len(kinds) == 1 and call_type(shares[0].layer) is not None


def _by_factors(
    parts: Mapping[str, ParameterSlice],
    shares: Mapping[str, Sequence[Share]],
    name: str,
    bias: str | None,
    probed: int,
    budget: int,
    form: str,
) -> Piece | None:
    """The piece of a weight if its factors are to be kept; None if its gradients are."""
    calls = [empty_call(share.layer, share.kept, share.g, probed, probed) for share in shares[name]]
    part, biases = parts[name], None if bias is None else parts[bias]
    dimensions = sum(p.stop - p.start for p in (part, biases) if p is not None)
    size = sum(call.x[0].nbytes + call.g[0].nbytes for call in calls)
    outer = outer_cost(calls, bias is not None)
    piece = Piece(part, biases, OUTER, True, 0, part.stop - part.start, size, outer)
    if size > budget:
        return None
    if form == OUTER or (form == "auto" and outer < dimensions):
        return piece
    by_blocks = calls[0].x.is_floating_point() and size < dimensions * calls[0].g.element_size()
    return replace(piece, form=DENSE, cost=dimensions) if by_blocks else None


def _by_gradients(part: ParameterSlice, dtype: torch.dtype) -> Piece:
    columns = math.prod(part.shape)
    return Piece(part, None, DENSE, False, 0, columns, columns * dtype.itemsize, columns)


def _passes(pieces: Iterable[Piece], dtype: torch.dtype, budget: int, layerwise: bool) -> list[Pass]:
    """In the order of the pieces, as many at a time as fit."""
    passes: list[list[Piece]] = []
    free = 0
    for piece in _split(pieces, dtype, budget):
        if piece.size > free:
            passes.append([])
            free = max(budget, piece.size)
        passes[-1].append(piece)
        free -= piece.size
    return [Pass(some, layerwise) for some in passes]


def _split(pieces: Iterable[Piece], dtype: torch.dtype, budget: int) -> Iterator[Piece]:
    """Gradients that do not fit, in ranges of columns that do."""
    width = max(1, budget // dtype.itemsize)
    for piece in pieces:
        if piece.factors:
            yield piece
            continue
        for start in range(0, piece.stop, width):
            stop = min(start + width, piece.stop)
            yield replace(piece, start=start, stop=stop, size=(stop - start) * dtype.itemsize, cost=stop - start)
