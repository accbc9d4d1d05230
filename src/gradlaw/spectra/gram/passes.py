"""Passes over minibatches that keep factors and gradients of some layers and add what these make of a Gram matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlaw.history.engines.choose import Engine
from gradlaw.history.engines.layerwise import Contribution, LayerwiseEngine
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.history.engines.verify import check_finite, check_losses
from gradlaw.history.engines.vmap import VmapEngine
from gradlaw.history.layers.base import RowFactors
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.progress import Advance, Progress
from gradlaw.spectra.gram.blocks import BlockSizes
from gradlaw.spectra.gram.dense import add_block, column_blocks, even_edges, mirrored
from gradlaw.spectra.gram.memory import zero_gram
from gradlaw.spectra.gram.plan import OUTER, GramPass, GramTerm
from gradlaw.spectra.gram.products import add_outer, dense_blocks

PROBED = 2  # minibatches computed by the reference too; two, so that a mix-up between them shows


@dataclass(frozen=True)
class _Store:
    """What the layers of one pass keep of T iterations."""

    gradients: Tensor  # (T, columns)
    calls: dict[str, list[RowFactors]]  # by the name of the weight


class FactorPasses:
    """Passes over minibatches, each of which adds the part of some layers to a Gram matrix."""

    def __init__(self, engine: Engine, minibatches: Minibatches, passes: Sequence[GramPass], blocks: BlockSizes):
        self.problem, self.engine, self.minibatches, self.passes = engine.problem, engine, minibatches, passes
        self.blocks = blocks

    def run(self, iterations: int, progress: Progress) -> tuple[Tensor, Tensor]:
        """Gram matrix and losses of the first ``iterations`` minibatches."""
        device, dtype = self.problem.device, self.problem.dtype
        gram = zero_gram(iterations, device)
        losses = torch.empty(iterations, dtype=dtype, device=device)
        for number, gram_pass in enumerate(self.passes, start=1):
            which = f" {number}/{len(self.passes)}" if len(self.passes) > 1 else ""
            store = _Store(torch.zeros(iterations, gram_pass.columns, dtype=dtype, device=device), {})
            with progress.stage(f"forward and backward{which}", iterations) as advance:
                fill = self._by_layers if gram_pass.layerwise else self._by_rows
                fill(gram_pass, store, losses, advance)
            with progress.stage(f"Gram matrix{which}", gram_pass.cost) as advance:
                _accumulate(gram, gram_pass, store, advance, self.blocks)
        gram = mirrored(gram)
        self._refuse_not_finite(~torch.isfinite(gram.diagonal()))
        return gram, losses

    def _by_layers(self, gram_pass: GramPass, store: _Store, losses: Tensor, advance: Advance) -> None:
        """Fill what is kept from the contributions of the layer-wise engine."""
        assert isinstance(self.engine, LayerwiseEngine)
        names = set(gram_pass.names)
        step = self._chunk(self.engine, names)
        for start in range(0, len(losses), step):
            end = min(start + step, len(losses))
            taker = _Taker(gram_pass, store, slice(start, end), len(losses))
            batches = [self.minibatches[t] for t in range(start, end)]
            losses[start:end] = self.engine.contributions(batches, taker.take, names)
            check_losses(losses[start:end], start, batches)
            if not taker.finite:
                suspects = torch.zeros(len(losses), dtype=torch.bool)
                suspects[start:end] = True
                self._refuse_not_finite(suspects)
            advance(end - start)

    def _chunk(self, engine: LayerwiseEngine, names: set[str]) -> int:
        """How many iterations at once, by what their layers take."""
        first, sizes = [self.minibatches[t] for t in range(PROBED)], [0]

        def add(contribution: Contribution) -> None:
            gradient = (contribution.part.stop - contribution.part.start) * contribution.g.element_size()
            sizes.append(gradient + (contribution.saved.nbytes + contribution.g.nbytes) // len(first))

        engine.contributions(first, add, names)
        return max(1, min(self.blocks.pass_bytes // max(1, sum(sizes)), self.blocks.pass_samples // len(first[0])))

    def _by_rows(self, gram_pass: GramPass, store: _Store, losses: Tensor, advance: Advance) -> None:
        """Fill what is kept from whole gradients of the parameters of one pass."""
        part = self.problem.part(gram_pass.names)
        engine = self._engine_of_rows(part)
        step = engine.chunk(self.minibatches.batch_size)
        rows = torch.empty(step, part.dimensions, dtype=part.dtype, device=part.device)
        columns = {parameter.name: parameter.start for parameter in part.layout}
        for start in range(0, len(losses), step):
            end = min(start + step, len(losses))
            block = rows[: end - start]
            batches = [self.minibatches[t] for t in range(start, end)]
            losses[start:end] = engine.gradients(start, batches, block)
            check_finite(losses[start:end], block, start, part.layout, batches)
            offset = 0
            for term in gram_pass.terms:
                width, shift = term.stop - term.start, columns[term.part.name] + term.start
                store.gradients[start:end, offset : offset + width] = block[:, shift : shift + width]
                offset += width
            advance(end - start)

    def _engine_of_rows(self, part: Problem) -> VmapEngine | LoopEngine:
        """Of whole gradients: vmap where it is known to work on this model, otherwise the loop."""
        source = self.engine.second if isinstance(self.engine, LayerwiseEngine) else self.engine
        return VmapEngine(part) if isinstance(source, VmapEngine) else LoopEngine(part, self.minibatches.seed)

    def _refuse_not_finite(self, suspects: Tensor) -> None:
        """Compute the gradients of suspect iterations plainly and refuse them if they are not finite."""
        reference = LoopEngine(self.problem, self.minibatches.seed)
        row = torch.empty(1, self.problem.dimensions, dtype=self.problem.dtype, device=self.problem.device)
        for t in suspects.nonzero().flatten().tolist():
            loss = reference.gradients(t, [self.minibatches[t]], row)
            check_finite(loss, row, t, self.problem.layout, [self.minibatches[t]])


class _Taker:
    """Takes the contributions of the iterations of one ``chunk`` into what is kept of all of them."""

    def __init__(self, gram_pass: GramPass, store: _Store, chunk: slice, iterations: int):
        self.store, self.chunk, self.iterations = store, chunk, iterations
        self.chunk_size = chunk.stop - chunk.start
        self.finite = True
        self._by_factors = {term.part.name for term in gram_pass.terms if term.factors}
        self._places: dict[str, tuple[int, GramTerm]] = {}
        self._seen: dict[str, int] = {}
        offset = 0
        for term in gram_pass.terms:
            if not term.factors:
                self._places[term.part.name] = offset, term
                offset += term.stop - term.start

    def take(self, contribution: Contribution) -> None:
        """What :meth:`LayerwiseEngine.contributions` calls."""
        name = contribution.part.name
        self.finite &= bool(torch.isfinite(contribution.g.sum() + contribution.saved.sum()))
        if name in self._by_factors:
            self._take_factors(name, contribution)
        elif name in self._places:
            self._take_gradients(*self._places[name], contribution)

    def _take_factors(self, name: str, contribution: Contribution) -> None:
        calls, number = self.store.calls.setdefault(name, []), self._seen.get(name, 0)
        self._seen[name] = number + 1
        if number == len(calls):
            calls.append(contribution.room(self.iterations, self.chunk_size))
        calls[number].x[self.chunk] = contribution.saved.unflatten(0, (self.chunk_size, -1))
        calls[number].g[self.chunk] = contribution.g.unflatten(0, (self.chunk_size, -1))

    def _take_gradients(self, offset: int, term: GramTerm, contribution: Contribution) -> None:
        rows = torch.empty(
            self.chunk_size, *contribution.part.shape, dtype=contribution.g.dtype, device=contribution.g.device
        )
        contribution.write(rows)
        columns = slice(offset, offset + term.stop - term.start)
        self.store.gradients[self.chunk, columns] += rows.flatten(1)[:, term.start : term.stop]


def _accumulate(gram: Tensor, gram_pass: GramPass, store: _Store, advance: Advance, blocks: BlockSizes) -> None:
    """Add the part of one pass on and below the diagonal."""
    for _, block in column_blocks(
        store.gradients, even_edges(len(gram), 0, store.gradients.shape[1], blocks.block_bytes)
    ):
        add_block(gram, block)
        advance(block.shape[1])
    for term in gram_pass.terms:
        calls = store.calls.pop(term.part.name, [])
        if not calls:
            continue
        if term.form == OUTER:
            add_outer(gram, calls, term.bias is not None, advance, blocks)
        else:
            for block in dense_blocks(calls, term.bias is not None, blocks):
                add_block(gram, block)
                advance(block.shape[1])
