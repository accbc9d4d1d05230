"""What a power-law fit needs of the tail of a series, for many series in main memory at once.

NumPy's partition, sort, log and expm1 run on vector units and outside the interpreter lock, but the first two only
along contiguous memory and best on integers. So tiles of a few series that fit in the cache are copied, transposed if
the series are columns, as integers that order the magnitudes, and threads of Python share the tiles out.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import NamedTuple

import numpy as np
import torch

from gradlaw.errors import InputError
from gradlaw.stats.ks_distance import exponential_ks_distances

_TILE_BYTES = 2**20  # of keys, about the size of an L2 cache
_KEY_TYPES: dict[np.dtype, np.dtype] = {
    np.dtype(np.float32): np.dtype(np.uint32),
    np.dtype(np.float64): np.dtype(np.uint64),
}


class TailStatistics(NamedTuple):
    """The k largest magnitudes of m series, their tails, in numbers: arrays of shape (m,).

    lambda_min: the k-th largest magnitude, float64.
    log_sum: sum of ln(x / lambda_min) over the tail, float64; 0 if the tail has a zero.
    nonzero: how many values of the tail are not zero, int64.
    d_ks: Kolmogorov-Smirnov distance from the power law fitted by maximum likelihood, float64; 0 where log_sum is.
    finite: whether the series has no NaN and no infinity, bool; the other numbers are 0 where it has.
    """

    lambda_min: np.ndarray
    log_sum: np.ndarray
    nonzero: np.ndarray
    d_ks: np.ndarray
    finite: np.ndarray


def tail_statistics(matrix: np.ndarray, k: int, axis: int = 1, tile_bytes: int = _TILE_BYTES) -> TailStatistics:
    """The tail statistics of every row (``axis=1``) or column (``axis=0``) of a float32 or float64 matrix.

    Any strides will do, those of a transpose or of a slice of columns among them; only tiles are copied. The number of
    threads is ``torch.get_num_threads()``; they are not OpenMP's, so they neither wait for torch's nor crowd them once
    done. The statistics of a series depend on its values alone, bit for bit, and not on ``tile_bytes``, the keys that a
    thread works on at a time.

    Raises:
        InputError: another type, not two dimensions, or a k that does not fit the length of a series.
    """
    count = matrix.shape[1 - axis]
    result = TailStatistics(*(np.zeros(count, t) for t in (np.float64, np.float64, np.int64, np.float64, np.bool_)))

    def describe(tile: slice, tails: np.ndarray, scratch: "_Scratch") -> None:
        _describe(tails, scratch, TailStatistics(*(column[tile] for column in result)))

    _by_tiles(matrix, k, axis, tile_bytes, describe)
    return result


def largest_magnitudes(matrix: np.ndarray, k: int, tile_bytes: int = _TILE_BYTES) -> np.ndarray:
    """The k largest magnitudes of every row, descending, in the type of the matrix; NaN and infinity come first.

    Shape (m, k); matrix, threads and errors as of :func:`tail_statistics`.
    """
    result = np.empty((len(matrix), k), matrix.dtype)

    def keep(tile: slice, tails: np.ndarray, scratch: "_Scratch") -> None:
        result[tile] = tails

    _by_tiles(matrix, k, 1, tile_bytes, keep)
    return result


def _by_tiles(
    matrix: np.ndarray, k: int, axis: int, tile_bytes: int, take: Callable[[slice, np.ndarray, "_Scratch"], None]
) -> None:
    """Call ``take`` with some of the series and their k largest magnitudes, from several threads."""
    if matrix.dtype not in _KEY_TYPES or matrix.ndim != 2:
        raise InputError(f"a float32 or float64 matrix is needed, got {matrix.dtype} of shape {matrix.shape}")
    series = np.moveaxis(matrix.view(_KEY_TYPES[matrix.dtype]), axis, 1)
    count, length = series.shape
    if not 2 <= k <= length:
        raise InputError(f"k={k} values were asked for; a series of {length} values allows k from 2 to {length}")
    step = max(1, min(count, tile_bytes // (length * series.itemsize)))
    scratch = _Scratch(step, length, k, series.dtype)

    def work(start: int) -> None:
        tile = slice(start, min(start + step, count))
        take(tile, _largest(series[tile], k, scratch), scratch)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for _ in pool.map(work, range(0, count, step)):
            pass  # here an exception in a thread surfaces


class _Scratch(local):
    """Memory for one tile, of each thread its own: to allocate it tile by tile would double the time."""

    def __init__(self, step: int, length: int, k: int, dtype: np.dtype):
        self.keys = np.empty((step, length), dtype)
        self.untransposed = np.empty((length, step), dtype)  # untouched, so no memory, unless the series are columns
        self.logs = np.empty((step, k))


def _largest(series: np.ndarray, k: int, scratch: _Scratch) -> np.ndarray:
    """The k largest magnitudes of each row of bit patterns, descending; NaN and infinity come first."""
    kind = series.dtype.type
    sign = kind(1 << (8 * series.itemsize - 1))
    keys = scratch.keys[: len(series)]
    # The bits of a float without its sign ascend with its magnitude; ~(x | sign) descends. It has to: the partition
    # is 40 times slower if most values tie for its smallest, and gradients tie at zero.
    if abs(series.strides[0]) < abs(series.strides[1]):
        # Two steps, since writing across a tile in the cache is cheap and reading across the whole matrix is not.
        columns = np.bitwise_or(series.T, sign, out=scratch.untransposed[:, : len(series)])
        np.copyto(keys, columns.T)
    else:
        np.bitwise_or(series, sign, out=keys)
    np.invert(keys, out=keys)
    keys.partition(k - 1, axis=1)
    largest = keys[:, :k]
    largest.sort(axis=1)
    np.bitwise_and(np.invert(largest, out=largest), ~sign, out=largest)
    return largest.view(f"f{series.itemsize}")


def _describe(tails: np.ndarray, scratch: _Scratch, out: TailStatistics) -> None:
    """Write the statistics of a tile; ``tails`` are descending rows."""
    finite = np.isfinite(tails[:, 0])
    out.finite[:] = finite
    # As integers, since NaN as a truth value draws a warning.
    out.nonzero[finite] = np.count_nonzero(tails.view(f"u{tails.itemsize}"), axis=1)[finite]
    out.lambda_min[finite] = tails[finite, -1]
    fitted = out.lambda_min > 0
    tails = tails if fitted.all() else tails[fitted]
    logs = _log_ratios(tails, scratch.logs[: len(tails)])
    log_sum = logs.sum(axis=1)
    out.log_sum[fitted] = log_sum
    out.d_ks[fitted] = exponential_ks_distances(logs, log_sum)


def _log_ratios(tails: np.ndarray, out: np.ndarray) -> np.ndarray:
    """ln(x / lambda_min) of positive, descending rows."""
    np.copyto(out, tails)
    # A quotient, since a difference of logarithms loses the digits of close values.
    with np.errstate(over="ignore"):
        out /= out[:, -1:].copy()
    wide = np.isinf(out[:, 0])
    np.log(out, out=out)
    if wide.any():  # values of float64 can be too far apart for a quotient
        logs = np.log(tails[wide])
        out[wide] = logs - logs[:, -1:]
    return out
