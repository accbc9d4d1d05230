"""The two directions of a (T, n) matrix as streams of series."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from gradlaw.choices import AXES as AXES
from gradlaw.errors import choice
from gradlaw.stats.arrays import as_float

_BLOCK_BYTES = 64 * 2**20  # of rows
_COLUMNS = 4096  # the unit in which the Gaussian test seeds its draws


def check_axis(axis: str) -> None:
    choice(axis, "axis", AXES)


def series_shape(shape: tuple[int, int], axis: str) -> tuple[int, int]:
    """(number of series, length of each) of a (T, n) matrix."""
    check_axis(axis)
    iterations, dimensions = shape
    return (iterations, dimensions) if axis == "dimension" else (dimensions, iterations)


def series_blocks(matrix: Any, axis: str) -> Iterator[tuple[int, Tensor]]:
    """Yield (first, block): the series ``first`` onwards as the rows of a view, strided as it comes.

    ``matrix`` is a tensor, or a matrix that is indexed like one and has ``chunks``. Half precision comes as float32.
    """
    count, length = series_shape((matrix.shape[0], matrix.shape[1]), axis)
    step = _COLUMNS if axis == "iteration" else max(1, _BLOCK_BYTES // (length * matrix.element_size()))
    # A matrix in chunks is read chunk by chunk: to read less at once would read each more than once.
    step = getattr(matrix, "chunks", (step, step))[0 if axis == "dimension" else 1]
    for start in range(0, count, step):
        block = matrix[start : start + step] if axis == "dimension" else matrix[:, start : start + step].T
        yield start, as_float(block)
