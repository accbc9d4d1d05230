"""Inner products of gradients that are sums over rows d_r x_r^T, all pairs of iterations at a time.

Of iterations s and t the product is sum over their rows r and q of (d_r . d_q) (x_r . x_q), the *outer* form; or that
of the gradients themselves, formed for a block of columns at a time, the *dense* form.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gradlaw.history.layers.base import ALL, RowFactors
from gradlaw.history.layers.convolution import ConvolutionFactors
from gradlaw.history.layers.embedding import EmbeddingFactors
from gradlaw.progress import Advance
from gradlaw.spectra.gram.blocks import DEFAULT_BLOCKS, BlockSizes
from gradlaw.spectra.gram.dense import cross_gram

_PRODUCT = 12  # multiply-adds in the time of multiplying and adding up one pair of inner products, measured
_SHIFT = 64  # multiply-adds in the time of moving and adding one inner product, measured


def outer_cost(calls: Sequence[RowFactors], bias: bool) -> int:
    """Multiply-adds of the outer form for a pair of iterations."""
    rows, first = sum(call.rows for call in calls), calls[0]
    inputs, _ = _cheapest(calls)
    return first.groups * (inputs + rows**2 * (bias + first.outputs + _PRODUCT))


def add_outer(
    gram: Tensor, calls: Sequence[RowFactors], bias: bool, advance: Advance, blocks: BlockSizes = DEFAULT_BLOCKS
) -> None:
    """Add the outer form on and below the diagonal of ``gram``.

    Args:
        gram: (T, T) float64.
        calls: all calls that use one weight; their rows add up.
        bias: whether the layers' bias is used in the same calls and counts: one more input, always 1.
        advance: called with the share of :func:`outer_cost` just done.
        blocks: the size of tiles.
    """
    iterations, rows = len(gram), sum(call.rows for call in calls)
    tall, wide = max(1, blocks.tall // rows), max(1, blocks.wide // rows)
    kind, cost = _cheapest(calls)[1], outer_cost(calls, bias) // calls[0].groups
    for group in range(calls[0].groups):
        for top in range(0, iterations, tall):
            bottom = min(top + tall, iterations)
            x, d = kind(calls, slice(top, bottom), group), OutputRows(calls, slice(top, bottom), group)
            for left in range(0, bottom, wide):
                others = slice(left, min(left + wide, bottom))
                products = x.inner(kind(calls, others, group))
                if bias:
                    products += 1
                products *= d.inner(OutputRows(calls, others, group))
                gram[top:bottom, others] += products.sum((0, 2))
            advance(cost * bottom**2 // iterations**2 - cost * top**2 // iterations**2)


class InputRows:
    """The rows x_r of some iterations."""

    def __init__(self, calls: Sequence[RowFactors], iterations: slice, group: int):
        rows = torch.cat([call.inputs(iterations, group) for call in calls], dim=1).transpose(0, 1)
        self.rows, self.values = len(rows), rows.flatten(0, 1)  # row by row, then iteration by iteration

    def inner(self, other: "InputRows") -> Tensor:
        """All inner products, (R, C, R, C of the other), float64."""
        return _unflattened(cross_gram(self.values, other.values), self.rows)

    @staticmethod
    def cost(calls: Sequence[RowFactors]) -> int:
        """Multiply-adds for a pair of iterations."""
        return sum(call.rows for call in calls) ** 2 * calls[0].channels * calls[0].width


class OutputRows(InputRows):
    """The rows d_r of some iterations."""

    def __init__(self, calls: Sequence[RowFactors], iterations: slice, group: int):
        rows = torch.cat([call.output_gradients(iterations, group) for call in calls], dim=1).transpose(0, 1)
        self.rows, self.values = len(rows), rows.flatten(0, 1)


class IndexRows(InputRows):
    """Those of an embedding, whose inner product is 1 where indices are the same."""

    def inner(self, other: InputRows) -> Tensor:
        return _unflattened((self.values[:, None] == other.values[None, :]).double(), self.rows)

    @staticmethod
    def cost(calls: Sequence[RowFactors]) -> int:
        return sum(call.rows for call in calls) ** 2


class WindowRows(InputRows):
    """Those of a convolution, whose windows overlap: products of input places, summed over the kernel's elements."""

    def __init__(self, calls: Sequence[RowFactors], iterations: slice, group: int):
        (call,) = calls
        assert isinstance(call, ConvolutionFactors)
        places = call.places(iterations, group)
        nothing = torch.zeros_like(places[:1])  # what is seen outside
        self.rows, self.parts = call.rows, []
        samples = torch.arange(call.x.shape[1], device=places.device)[:, None, None] * (len(places) // call.x.shape[1])
        for seen in call.seen:
            of_samples = torch.where(seen < 0, -1, seen + samples).transpose(0, 1).flatten(1)  # (elements, R)
            used, elements = of_samples.unique(return_inverse=True)
            values = torch.cat([nothing, places[used[1:]]]) if used[0] < 0 else places[used]
            self.parts.append((values, elements))

    def inner(self, other: InputRows) -> Tensor:
        assert isinstance(other, WindowRows)
        total = None
        for (ours, elements), (theirs, _) in zip(self.parts, other.parts, strict=True):
            products = _unflattened(cross_gram(ours.flatten(0, 1), theirs.flatten(0, 1)), len(ours))
            for element in elements:
                seen = products[element[:, None], :, element[None, :]]  # (R, R, C, C of the other)
                total = seen if total is None else total.add_(seen)
        assert total is not None
        return total.transpose(1, 2)

    @staticmethod
    def cost(calls: Sequence[RowFactors]) -> int:
        (call,) = calls
        assert isinstance(call, ConvolutionFactors)
        products = sum((call.x.shape[1] * len(seen.unique())) ** 2 for seen in call.seen) * call.channels
        return products + call.rows**2 * call.width * _SHIFT


def _cheapest(calls: Sequence[RowFactors]) -> tuple[int, type[InputRows]]:
    """How to form the inner products of inputs, and its cost."""
    if isinstance(calls[0], EmbeddingFactors):
        return IndexRows.cost(calls), IndexRows
    plain = InputRows.cost(calls), InputRows
    if not isinstance(calls[0], ConvolutionFactors) or len(calls) > 1:
        return plain
    return min(plain, (WindowRows.cost(calls), WindowRows), key=lambda pair: pair[0])


def _unflattened(products: Tensor, rows: int) -> Tensor:
    """(R C, R C) to (R, C, R, C)."""
    return products.view(rows, len(products) // rows, rows, -1)


def dense_blocks(calls: Sequence[RowFactors], bias: bool, blocks: BlockSizes = DEFAULT_BLOCKS) -> Iterator[Tensor]:
    """Yield the gradients of a weight, and of its bias, in blocks of columns, (T, columns) float64."""
    first = calls[0]
    columns = max(1, blocks.block_bytes // (8 * len(first.x)))
    tall = min(first.outputs, max(1, columns // first.width))
    wide = max(1, columns // (tall * first.width))
    for group in range(first.groups):
        for top in range(0, first.outputs, tall):
            outputs = slice(top, min(top + tall, first.outputs))
            for left in range(0, first.channels, wide):
                yield _block(calls, group, outputs, slice(left, min(left + wide, first.channels)), blocks.input_bytes)
            if bias:
                yield torch.stack([call.output_gradients(ALL, group, outputs).double().sum(1) for call in calls]).sum(0)


def _block(calls: Sequence[RowFactors], group: int, outputs: slice, channels: slice, input_bytes: int) -> Tensor:
    """Gradients of a weight's outputs and input channels, (T, outputs channels width)."""
    first = calls[0]
    count, width = len(first.x), (channels.stop - channels.start) * first.width
    block = torch.empty(count, (outputs.stop - outputs.start) * width, dtype=torch.float64, device=first.x.device)
    step = max(1, input_bytes // (first.rows * width * first.x.element_size()))
    for start in range(0, count, step):
        iterations = slice(start, start + step)
        x = torch.cat([call.inputs(iterations, group, channels) for call in calls], dim=1)
        d = torch.cat([call.output_gradients(iterations, group, outputs) for call in calls], dim=1)
        block[iterations] = torch.bmm(d.transpose(1, 2), x).flatten(1)
    return block
