"""How each layer's part of a Gram matrix is formed, and in how many passes over the minibatches."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from gradlaw.errors import InputError
from gradlaw.history.engines.layerwise import Contribution
from gradlaw.problem import ParameterSlice, Problem
from gradlaw.resources import memory_budget
from gradlaw.spectra.gram.products import outer_cost

OUTER, DENSE = "outer", "dense"
FORMS = ("auto", OUTER, DENSE)


@dataclass(frozen=True)
class GramTerm:
    """Dimensions whose part of the Gram matrix is formed together.

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
class GramPass:
    """Pieces whose factors and gradients are kept at the same time; ``layerwise`` or by an engine of gradients."""

    terms: list[GramTerm]
    layerwise: bool

    @property
    def names(self) -> list[str]:
        """Of all parameters."""
        return [name for term in self.terms for name in term.names]

    @property
    def cost(self) -> int:
        """Multiply-adds for each of the T^2 / 2 pairs of iterations."""
        return sum(term.cost for term in self.terms)

    @property
    def columns(self) -> int:
        """Of the gradients that are kept."""
        return sum(term.stop - term.start for term in self.terms if not term.factors)


def plan_passes(
    problem: Problem,
    contributions: Mapping[str, Sequence[Contribution]],
    rest: Iterable[str],
    iterations: int,
    probed: int,
    memory: int | None,
    form: str,
) -> list[GramPass]:
    """Choose form and storage of each layer by counted cost and size, and group layers into passes.

    Args:
        problem: whose parameters.
        contributions: by the name of a parameter, its contributions in the gradients of the first minibatches.
        rest: names of the parameters that the layer-wise engine leaves to another.
        iterations: T.
        probed: how many minibatches the contributions are of.
        memory: bytes for factors and gradients; by default half of what is free.
        form: one of ``FORMS``; ``OUTER`` and ``DENSE`` wherever it is possible.

    Raises:
        InputError: no such form, or ``memory`` is not positive.
    """
    if form not in FORMS:
        raise InputError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    if memory is not None and memory <= 0:
        raise InputError(f"memory must be positive, got {memory}")
    memory = memory_budget(problem.device, memory)
    budget = max(1, memory // iterations)
    weights = _weights_with_bias(contributions)
    with_weight = set(weights.values())
    parts = {part.name: part for part in problem.layout}
    terms: list[GramTerm] = []
    for name in (name for name in parts if name in contributions and name not in with_weight):
        bias = weights.get(name)
        term = _by_factors(parts, contributions, name, bias, probed, budget, form) if name in weights else None
        whole = [_by_gradients(parts[parameter], problem.dtype) for parameter in (name, bias) if parameter is not None]
        terms += whole if term is None else [term]
    by_layers = _passes(terms, problem.dtype, budget, True)
    others = [_by_gradients(part, problem.dtype) for part in problem.layout if part.name in rest]
    return [*by_layers, *_passes(others, problem.dtype, budget, False)]


def describe_plan(passes: Sequence[GramPass], iterations: int) -> str:
    """The plan in a few lines."""
    cost = sum(gram_pass.cost for gram_pass in passes) * iterations**2 // 2
    kept = max(sum(term.size for term in gram_pass.terms) for gram_pass in passes) * iterations
    terms = [term for gram_pass in passes for term in gram_pass.terms]
    outer = [term.part.name for term in terms if term.form == OUTER]
    dense = {term.part.name for term in terms if term.form == DENSE}
    return (
        f"Gram matrix of T={iterations:,} gradients by layers: {len(passes)} "
        f"{'pass' if len(passes) == 1 else 'passes'} over the minibatches, up to {kept / 1e9:.2f} GB kept, "
        f"{cost:.2g} multiply-adds. By factors: {', '.join(outer) or 'none'}; {len(dense)} by gradients"
    )


def _weights_with_bias(contributions: Mapping[str, Sequence[Contribution]]) -> dict[str, str | None]:
    """The weights whose gradient is a sum over rows, and the bias that is used in the same calls of the same layers."""
    biases = {
        tuple(id(call.layer) for call in calls): name
        for name, calls in contributions.items()
        if all(call.is_bias for call in calls)
    }
    return {
        name: biases.get(tuple(id(call.layer) for call in calls))
        for name, calls in contributions.items()
        if _same_rows(calls)
    }


def _same_rows(contributions: Sequence[Contribution]) -> bool:
    """Whether contributions to one weight are sums over rows of one kind."""
    kinds = {(call.rule.factors, getattr(call.layer, "groups", 1)) for call in contributions}
    return len(kinds) == 1 and all(call.is_weight for call in contributions)


def _by_factors(
    parts: Mapping[str, ParameterSlice],
    contributions: Mapping[str, Sequence[Contribution]],
    name: str,
    bias: str | None,
    probed: int,
    budget: int,
    form: str,
) -> GramTerm | None:
    """The term of a weight if its factors are to be kept; None if its gradients are."""
    calls = [contribution.room(probed, probed) for contribution in contributions[name]]
    part, biases = parts[name], None if bias is None else parts[bias]
    dimensions = sum(p.stop - p.start for p in (part, biases) if p is not None)
    size = sum(call.x[0].nbytes + call.g[0].nbytes for call in calls)
    outer = outer_cost(calls, bias is not None)
    term = GramTerm(part, biases, OUTER, True, 0, part.stop - part.start, size, outer)
    if size > budget:
        return None
    if form == OUTER or (form == "auto" and outer < dimensions):
        return term
    by_blocks = calls[0].x.is_floating_point() and size < dimensions * calls[0].g.element_size()
    return replace(term, form=DENSE, cost=dimensions) if by_blocks else None


def _by_gradients(part: ParameterSlice, dtype: torch.dtype) -> GramTerm:
    columns = math.prod(part.shape)
    return GramTerm(part, None, DENSE, False, 0, columns, columns * dtype.itemsize, columns)


def _passes(terms: Iterable[GramTerm], dtype: torch.dtype, budget: int, layerwise: bool) -> list[GramPass]:
    """In the order of the terms, as many at a time as fit."""
    passes: list[list[GramTerm]] = []
    free = 0
    for term in _split(terms, dtype, budget):
        if term.size > free:
            passes.append([])
            free = max(budget, term.size)
        passes[-1].append(term)
        free -= term.size
    return [GramPass(terms_of_pass, layerwise) for terms_of_pass in passes]


def _split(terms: Iterable[GramTerm], dtype: torch.dtype, budget: int) -> Iterator[GramTerm]:
    """Gradients that do not fit, in ranges of columns that do."""
    width = max(1, budget // dtype.itemsize)
    for term in terms:
        if term.factors:
            yield term
            continue
        for start in range(0, term.stop, width):
            stop = min(start + width, term.stop)
            yield replace(term, start=start, stop=stop, size=(stop - start) * dtype.itemsize, cost=stop - start)
