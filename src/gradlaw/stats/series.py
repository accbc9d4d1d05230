"""The two directions of a (T, n) matrix as streams of series."""

from collections.abc import Iterator

from torch import Tensor

from gradlaw.errors import InputError

AXES = ("dimension", "iteration")
_BLOCK_BYTES = 64 * 2**20


def check_axis(axis: str) -> None:
    if axis not in AXES:
        raise InputError(f"axis must be one of {', '.join(AXES)}, got {axis!r}")


def series_shape(shape: tuple[int, int], axis: str) -> tuple[int, int]:
    """(number of series, length of each) of a (T, n) matrix."""
    check_axis(axis)
    iterations, dimensions = shape
    return (iterations, dimensions) if axis == "dimension" else (dimensions, iterations)


def series_blocks(matrix: Tensor, axis: str) -> Iterator[tuple[int, Tensor]]:
    """Yield (first, block): series ``first`` onwards as the rows of a contiguous block of at most about 64 MB."""
    count, length = series_shape((matrix.shape[0], matrix.shape[1]), axis)
    step = max(1, _BLOCK_BYTES // (length * matrix.element_size()))
    for start in range(0, count, step):
        rows = matrix[start : start + step] if axis == "dimension" else matrix[:, start : start + step].T
        yield start, rows.contiguous()
