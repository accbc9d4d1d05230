import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy import stats

import gradlaw as gl
from awkward_rows import matrices
from gradlaw import random_streams
from gradlaw.stats.gaussian import draw_without_replacement


@given(matrices())
@settings(max_examples=300, deadline=None)
def test_p_values_equal_normaltest(matrix):
    p_values = gl.gaussian_test_rows(matrix, k=matrix.shape[1])
    with np.errstate(over="ignore"):
        expected = stats.normaltest(matrix, axis=1).pvalue
    np.testing.assert_allclose(p_values, expected, rtol=0, atol=1e-12)


def test_drawn_values_are_tested():
    matrix = np.random.default_rng(0).standard_t(5, (50, 400))
    p_values = gl.gaussian_test_rows(matrix, k=100, seed=7)
    from gradlaw.stats.gaussian import drawn_places

    drawn = np.take_along_axis(matrix, drawn_places(400, 100, 7, 0, 50), axis=1)
    np.testing.assert_allclose(p_values, stats.normaltest(drawn, axis=1).pvalue, atol=1e-12)


def test_draws_do_not_depend_on_the_parts_in_which_rows_come():
    matrix = torch.randn(9000, 120, dtype=torch.float64)
    whole = gl.gaussian_test_rows(matrix, k=20, seed=3)
    parts = [gl.gaussian_test_rows(matrix[a:b], k=20, seed=3, first=a) for a, b in ((0, 5), (5, 4100), (4100, 9000))]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(gl.gaussian_test_rows(matrix, k=20, seed=4), whole)


def test_draws_are_without_replacement_and_uniform():
    drawn = draw_without_replacement(12, 5, 60_000, [1, 2])
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()
    counts = np.bincount(drawn.ravel(), minlength=12)
    assert abs(counts - 25_000).max() < 5 * np.sqrt(60_000 * 5 / 12 * 7 / 12)  # five standard deviations
    pairs = ((drawn == 0).any(axis=1) & (drawn == 11).any(axis=1)).mean()
    assert pairs == pytest.approx(5 / 12 * 4 / 11, abs=5 * np.sqrt(0.152 * 0.848 / 60_000))


def test_a_mean_far_from_zero_costs_no_digits():
    values = np.random.default_rng(0).standard_normal((20, 100))
    shifted = (values * 2.0**-20 + 1.0) - 1.0  # what of the values survives next to 1
    np.testing.assert_allclose(gl.gaussian_test_rows(shifted + 1.0), gl.gaussian_test_rows(shifted), atol=1e-9)


def test_constant_rows_do_not_pass_and_are_not_nan():
    matrix = np.vstack([np.zeros(100), np.full(100, 2.5), np.random.default_rng(0).standard_normal(100)])
    p_values = gl.gaussian_test_rows(matrix)
    assert p_values[0] == p_values[1] == 0
    assert p_values[2] > 0.05


@pytest.mark.parametrize(("length", "k"), [(100, 7), (100, 101), (7, 7)])
def test_sizes_that_do_not_fit_are_refused(length, k):
    with pytest.raises(gl.InputError, match=f"gaussian_k={k}"):
        gl.gaussian_test_rows(np.ones((2, length)), k)


def test_drawn_infinities_are_refused():
    with pytest.raises(gl.InputError, match="row 1, column 3 is inf"):
        gl.gaussian_test_rows(np.array([[1.0] * 8, [1, 2, 3, np.inf, 5, 6, 7, 8]]), 8)


@pytest.mark.parametrize("scale", [2.0**1023, 2.0**-900, 1.0])
def test_values_at_the_ends_of_the_range_have_the_p_values_of_the_middle(scale):
    rng = np.random.default_rng(3)
    matrix = np.vstack([rng.uniform(-1.9, 1.9, (3, 100)), [[1.9, -1.9] * 50], rng.standard_t(3, (2, 100)) / 99])
    p_values = gl.gaussian_test_rows(matrix * scale)
    np.testing.assert_array_equal(p_values, gl.gaussian_test_rows(matrix))
    tests = gl.gradient_tests(matrix * scale, k=20)
    assert tests.scalars()["gaussian_rate"] == gl.gradient_tests(matrix, k=20).gaussian_rate
    assert np.isfinite(tests.mean_p_value)


def test_symmetric_values_have_no_skewness_score():
    """SciPy's takes a skewness of exactly zero for one."""
    half = np.random.default_rng(4).integers(1, 50, 30) / 8  # sums of cubes cancel exactly
    values = np.concatenate([half, -half])
    assert stats.skew(values) == 0
    kurtosis_alone = stats.chi2(2).sf(stats.kurtosistest(values).statistic ** 2)
    assert gl.gaussian_test_rows(values[None], 60)[0] == pytest.approx(kurtosis_alone, rel=1e-12)
    assert stats.normaltest(values).pvalue != pytest.approx(kurtosis_alone, rel=1e-3)


@pytest.mark.parametrize(
    ("length", "k", "rows"), [(8, 8, 700), (12, 5, 700), (100, 99, 60), (3000, 200, 30), (9, 1, 40)]
)
def test_draws_are_those_of_floyds_algorithm_step_by_step(length, k, rows):
    rng = np.random.default_rng([1, 2])
    sets = [[] for _ in range(rows)]
    for last in range(length - k, length):
        for chosen, candidate in zip(sets, rng.integers(last + 1, size=rows), strict=True):
            chosen.append(last if candidate in chosen else candidate)
    np.testing.assert_array_equal(draw_without_replacement(length, k, rows, [1, 2]), sets)
    some = draw_without_replacement(length, k, rows, [1, 2], slice(7, 11))
    np.testing.assert_array_equal(some, sets[7:11])


def test_draws_of_many_values_take_time_in_proportion():
    matrix = np.random.default_rng(5).standard_normal((1, 30_000))

    def seconds(k: int) -> float:
        start = time.process_time()
        gl.gaussian_test_rows(matrix, k)
        return time.process_time() - start

    seconds(1500)
    assert seconds(12_000) < 4 * 8 * seconds(1500)  # quadratic: 64 times


@pytest.mark.parametrize(("length", "k"), [(60, 30), (1020, 1001)])  # draws of up to 1000 values are kept
def test_parts_of_a_matrix_are_drawn_as_the_whole(length, k):
    rng = np.random.default_rng(6)
    matrix = np.zeros((4100, length))
    tested = [0, *range(4090, 4100)]  # draws are seeded in blocks of 4096 rows
    matrix[tested] = rng.standard_normal((11, length))
    blocks = [draw_without_replacement(length, k, 4096, [random_streams.GAUSSIAN, 0, block]) for block in (0, 1)]
    drawn = np.take_along_axis(matrix[tested], np.concatenate(blocks)[tested], axis=1)
    expected = gl.gaussian_test_rows(drawn, k)  # all of them
    np.testing.assert_allclose(gl.gaussian_test_rows(matrix, k)[tested], expected, rtol=1e-10)
    np.testing.assert_array_equal(
        gl.gaussian_test_rows(matrix[4090:], k, first=4090), gl.gaussian_test_rows(matrix, k)[4090:]
    )
