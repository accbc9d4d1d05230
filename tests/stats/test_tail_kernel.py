"""tail_statistics against SciPy, against the torch fit, and against itself in other layouts, tiles and threads."""

import math
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gradlaw.errors import InputError
from gradlaw.stats.powerlaw import _on_device
from gradlaw.stats.tail_kernel import TailStatistics, tail_statistics

DTYPES = (np.float32, np.float64)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _scaled(rng: np.random.Generator, rows: int, length: int) -> np.ndarray:
    """Normal values, tied at zero or elsewhere, rounded, or of tails as heavy as they come; of any sign."""
    values = rng.standard_normal((rows, length)) * np.exp(rng.normal(0, rng.choice([0.0, 1.0, 4.0]), (rows, length)))
    kind = rng.integers(5)
    if kind == 1:
        values[rng.random(values.shape) < rng.random((rows, 1))] = 0
    elif kind == 2:
        values[rng.random(values.shape) < rng.random((rows, 1))] = rng.choice([-2.0, 1e-3, 1.0])
    elif kind == 3:
        values = np.round(values, rng.integers(3))
    elif kind == 4:
        values = 1 + values * 1e-7  # neighbours among the floats
    return values


@st.composite
def matrices(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """A matrix whose rows are series, and a k that fits."""
    length = draw(st.integers(2, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = _scaled(rng, draw(st.integers(1, 12)), length) * 10.0 ** draw(st.integers(-30, 30))
    k = draw(st.one_of(st.integers(2, length), st.just(length)))
    return values.astype(draw(st.sampled_from(DTYPES))), k


def _tail(series: np.ndarray, k: int) -> np.ndarray:
    return np.sort(np.abs(series))[-k:].astype(np.float64)


def _log_sum(tail: np.ndarray) -> float:
    return math.fsum(math.log(x / tail[0]) for x in tail.tolist())


def _scipy_distance(tail: np.ndarray) -> float:
    law = scipy.stats.pareto(b=len(tail) / _log_sum(tail), scale=tail[0])
    return float(scipy.stats.kstest(tail, law.cdf, method="asymp").statistic)


def _assert_same(one: TailStatistics, other: TailStatistics) -> None:
    for name, left, right in zip(TailStatistics._fields, one, other, strict=True):
        np.testing.assert_array_equal(left, right, err_msg=name)


@settings(deadline=None, max_examples=150)
@given(matrices())
def test_every_number_of_a_row_is_that_of_scipy(drawn: tuple[np.ndarray, int]) -> None:
    matrix, k = drawn
    found = tail_statistics(matrix, k)
    assert found.finite.all()
    for row, series in enumerate(matrix):
        tail = _tail(series, k)
        assert found.lambda_min[row] == tail[0]
        assert found.nonzero[row] == np.count_nonzero(tail)
        if tail[0] == 0 or tail[-1] == tail[0]:
            assert found.log_sum[row] == found.d_ks[row] == 0
        else:
            assert found.log_sum[row] == pytest.approx(_log_sum(tail), rel=1e-13)
            assert found.d_ks[row] == pytest.approx(_scipy_distance(tail), abs=1e-12)


@settings(deadline=None, max_examples=150)
@given(matrices())
def test_the_fit_is_that_of_the_torch_implementation(drawn: tuple[np.ndarray, int]) -> None:
    matrix, k = drawn
    found = tail_statistics(matrix, k)
    by_torch = _on_device(torch.from_numpy(matrix), k)
    np.testing.assert_array_equal(found.lambda_min, by_torch.lambda_min)
    np.testing.assert_array_equal(found.nonzero, by_torch.nonzero)
    np.testing.assert_allclose(found.log_sum, by_torch.log_sum, rtol=1e-12)
    fitted = found.log_sum > 0
    np.testing.assert_allclose(found.d_ks[fitted], by_torch.d_ks[fitted], rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=100)
@given(matrices(), st.integers(0, 5), st.integers(1, 3))
def test_the_layout_in_memory_does_not_matter(drawn: tuple[np.ndarray, int], margin: int, spacing: int) -> None:
    matrix, k = drawn
    expected = tail_statistics(np.ascontiguousarray(matrix), k)
    rows, length = matrix.shape
    wide = np.full((rows * spacing + margin, length * spacing + 2 * margin), np.nan, matrix.dtype)
    inside = wide[margin : margin + rows * spacing : spacing, margin : margin + length * spacing : spacing]
    inside[:] = matrix
    for layout in (np.ascontiguousarray(matrix), np.asfortranarray(matrix), inside, matrix[:, ::-1]):
        _assert_same(tail_statistics(layout, k, axis=1), expected)
        _assert_same(tail_statistics(layout.T, k, axis=0), expected)
    _assert_same(TailStatistics(*(column[::-1] for column in tail_statistics(matrix[::-1], k))), expected)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_neither_threads_nor_tiles_nor_neighbours_change_a_bit(dtype: type, axis: int) -> None:
    rng = np.random.default_rng(1)
    rows = np.concatenate([_scaled(rng, 40, 700) for _ in range(12)]).astype(dtype)
    matrix = np.ascontiguousarray(rows.T) if axis == 0 else rows
    expected = tail_statistics(matrix, 123, axis)
    for count, tile in ((1, 2**30), (1, 1), (2, 2**14), (3, 2**16), (7, 10**5)):
        torch.set_num_threads(count)
        _assert_same(tail_statistics(matrix, 123, axis, tile), expected)
    alone = [tail_statistics(row[None], 123) for row in rows]
    _assert_same(TailStatistics(*(np.concatenate(column) for column in zip(*alone, strict=True))), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12, 1e30])
def test_a_true_power_law_is_found_at_any_scale(dtype: type, scale: float) -> None:
    values = scale * (np.random.default_rng(2).pareto(1.5, (20, 3000)) + 1)
    found = tail_statistics(values.astype(dtype), 1000)
    assert (found.d_ks < 0.045).all()
    np.testing.assert_allclose(1000 / found.log_sum, 1.5, rtol=0.15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_denormal_values_are_values(dtype: type) -> None:
    smallest = float(np.finfo(dtype).smallest_subnormal)
    values = (np.random.default_rng(3).integers(1, 2000, (5, 400)) * smallest).astype(dtype)
    values[0, 60:] = 0  # and fewer of them than k
    found = tail_statistics(values, 100)
    assert found.nonzero.tolist() == [60, 100, 100, 100, 100]
    assert found.d_ks[0] == found.log_sum[0] == found.lambda_min[0] == 0
    for row in range(1, 5):
        assert found.d_ks[row] == pytest.approx(_scipy_distance(_tail(values[row], 100)), abs=1e-12)


def test_values_too_far_apart_for_a_quotient_are_fitted_by_their_logarithms() -> None:
    tail = np.array([5e-324, 1e-10, 1.0, 1e308])
    found = tail_statistics(np.stack([tail, tail * 0 + [1.0, 2.0, 3.0, 4.0]]), 4)
    logs = np.log(tail) - np.log(tail[0])
    law = scipy.stats.expon(scale=logs.mean())
    assert found.log_sum[0] == pytest.approx(logs.sum(), rel=1e-14)
    assert found.d_ks[0] == pytest.approx(scipy.stats.kstest(logs, law.cdf).statistic, abs=1e-12)
    assert found.d_ks[1] == pytest.approx(_scipy_distance(np.array([1.0, 2.0, 3.0, 4.0])), abs=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.0, -0.0, 2.5, -1e-30])
def test_constant_series_have_no_spread(dtype: type, value: float) -> None:
    found = tail_statistics(np.full((3, 50), value, dtype), 20)
    assert found.finite.all()
    assert found.lambda_min.tolist() == [abs(float(dtype(value)))] * 3
    assert found.nonzero.tolist() == [20 if value else 0] * 3
    assert found.log_sum.tolist() == found.d_ks.tolist() == [0.0] * 3


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(DTYPES),
    st.sampled_from([math.nan, -math.nan, math.inf, -math.inf]),
    st.integers(0, 39),
    st.integers(0, 29),
    st.sampled_from([0, 1]),
)
@example(np.float32, math.nan, 0, 0, 1)
def test_series_with_nan_or_infinity_are_marked_and_leave_the_others_alone(
    dtype: type, value: float, row: int, column: int, axis: int
) -> None:
    matrix = np.random.default_rng(4).standard_normal((40, 30)).astype(dtype)
    clean = tail_statistics(matrix, 5, axis)
    matrix[row, column] = value
    found = tail_statistics(matrix, 5, axis)
    hit = column if axis == 0 else row
    assert np.flatnonzero(~found.finite).tolist() == [hit]
    assert [numbers[hit] for numbers in found] == [0, 0, 0, 0, False]
    keep = np.arange(len(found.finite)) != hit
    _assert_same(TailStatistics(*(c[keep] for c in found)), TailStatistics(*(c[keep] for c in clean)))


def test_a_signalling_nan_and_a_nan_below_the_tail_are_found() -> None:
    matrix = np.ones((2, 10), np.float32)
    matrix.view(np.uint32)[0, 3] = 0x7F800001
    matrix[1, 4] = np.nan
    assert not tail_statistics(matrix, 2).finite.any()


@pytest.mark.parametrize("axis", [0, 1])
def test_the_matrix_is_only_read(axis: int) -> None:
    matrix = np.random.default_rng(5).standard_normal((64, 48)).astype(np.float32)
    before = matrix.copy()
    matrix.flags.writeable = False
    tail_statistics(matrix, 7, axis)
    np.testing.assert_array_equal(matrix, before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("axis", [0, 1])
def test_memory_does_not_grow_with_the_matrix(axis: int) -> None:
    torch.set_num_threads(2)
    matrix = np.random.default_rng(6).standard_normal((2000, 16000), dtype=np.float32)  # 128 MB
    tracemalloc.start()
    try:
        tail_statistics(matrix, 500, axis)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="k=1 values"):
        tail_statistics(np.ones((3, 4)), 1)
    with pytest.raises(InputError, match="k=4 values were asked for; a series of 3 values"):
        tail_statistics(np.ones((3, 4)), 4, axis=0)
    with pytest.raises(InputError, match="got int64"):
        tail_statistics(np.ones((3, 4), np.int64), 2)
    with pytest.raises(InputError, match=r"shape \(4,\)"):
        tail_statistics(np.ones(4), 2)
    assert len(tail_statistics(np.ones((0, 4)), 2).d_ks) == 0
