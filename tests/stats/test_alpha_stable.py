import math

import numpy as np
import pytest
import torch
from scipy import stats

import gradlaw as gl
from gradlaw.stats import alpha_stable
from gradlaw.stats.alpha_stable import stable_index_rows


def _published(values: np.ndarray, block: int) -> float:
    """1/alpha by Corollary 2.4 of Mohammadi et al., sum by sum."""
    count = len(values) // block
    sums = []
    for i in range(count):
        total = 0.0
        for j in range(block):
            total += float(values[i * block + j])
        sums.append(math.log(abs(total)))
    singles = [math.log(abs(float(value))) for value in values[: count * block]]
    return (math.fsum(sums) / count - math.fsum(singles) / len(singles)) / math.log(block)


def _deviation(alpha: float, block: int, length: int) -> float:
    """Of the estimate of 1/alpha: ln|Y| of a symmetric stable law has the variance pi^2/6 (1/alpha^2 + 1/2).

    The mean of ln|X| adds about 1/K1 of it and takes as much away again, being correlated with the sums.
    """
    return math.sqrt(math.pi**2 / 6 * (1 / alpha**2 + 0.5) * block / length) / math.log(block)


@pytest.mark.parametrize("block", [2, 7, 100, 300])
def test_estimates_equal_the_published_formula(block):
    matrix = np.random.default_rng(0).standard_t(2, (5, 300)) * 10.0 ** np.array([[-300], [-30], [0], [30], [300]])
    result = stable_index_rows(matrix, block)
    expected = [_published(row, block) for row in matrix]
    np.testing.assert_allclose(result.inverse, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(result.alpha, [1 / x if x > 0 else np.inf for x in expected], rtol=1e-11)
    assert not result.degenerate.any()


@pytest.mark.parametrize("alpha", [1.0, 1.2, 1.5, 1.8, 2.0])
def test_stable_samples_give_their_index(alpha):
    rows, length = 200, 10_000
    rng = np.random.default_rng(int(10 * alpha))
    matrix = stats.levy_stable.rvs(alpha, 0, size=(rows, length), random_state=rng)
    result = stable_index_rows(matrix)
    deviation = _deviation(alpha, 100, length)
    assert result.block == 100
    assert result.inverse.mean() == pytest.approx(1 / alpha, abs=4 * deviation / math.sqrt(rows))
    assert result.inverse.std() == pytest.approx(deviation, rel=4 / math.sqrt(2 * rows))


def test_numpy_cauchy_and_gaussian_samples_give_one_and_two():
    rng = np.random.default_rng(5)
    matrix = np.stack([rng.standard_cauchy(10**6), rng.standard_normal(10**6)])
    cauchy, gaussian = stable_index_rows(matrix, block=7).alpha
    # The deviation of alpha is alpha^2 that of 1/alpha.
    assert cauchy == pytest.approx(1, abs=4 * _deviation(1, 7, 10**6))
    assert gaussian == pytest.approx(2, abs=4 * 4 * _deviation(2, 7, 10**6))


@pytest.mark.parametrize(("length", "block"), [(4, 2), (5000, 70), (10_000, 100), (61_706, 248)])
def test_the_default_block_is_the_root_of_the_length(length, block):
    assert stable_index_rows(np.ones((1, length))).block == block


def test_the_remainder_is_dropped():
    matrix = np.random.default_rng(0).standard_normal((3, 107))
    np.testing.assert_array_equal(stable_index_rows(matrix, 10).alpha, stable_index_rows(matrix[:, :100], 10).alpha)


def test_zeros_are_left_out_and_cost_no_bias():
    rng = np.random.default_rng(1)
    rows, length, block = 400, 4000, 20
    matrix = rng.standard_normal((rows, length)) * (rng.random((rows, length)) > 0.4)
    matrix[:, 400:800] = 0  # whole sums of zeros
    result = stable_index_rows(matrix, block)
    inverse = []
    for row in matrix[:5]:
        blocks = [part for part in row.reshape(-1, block) if part.any()]
        sums = np.mean([math.log(abs(part.sum())) for part in blocks])
        counts = np.mean([math.log(np.count_nonzero(part)) for part in blocks])
        inverse.append((sums - np.mean(np.log(np.abs(row[row != 0])))) / counts)
    np.testing.assert_allclose(result.inverse[:5], inverse, rtol=1e-11)
    deviation = _deviation(2, 12, 0.9 * 0.6 * length)  # sums of about twelve values
    assert result.inverse.mean() == pytest.approx(0.5, abs=4 * deviation / math.sqrt(rows))


def test_scales_that_differ_between_layers_look_heavy_tailed_once_they_are_mixed():
    rng = np.random.default_rng(2)
    matrix = rng.standard_normal((50, 10_000)) * 10.0 ** np.repeat(np.arange(5), 2000)
    ordered, mixed = stable_index_rows(matrix, 20), stable_index_rows(matrix, 20, shuffle_seed=0)
    assert ordered.alpha.mean() == pytest.approx(2, abs=0.02)
    assert mixed.alpha.mean() < 1


def test_neighbours_that_are_equal_look_heavy_tailed_until_they_are_mixed():
    values = np.random.default_rng(3).standard_normal((50, 500)).repeat(20, axis=1)
    ordered, mixed = stable_index_rows(values, 20), stable_index_rows(values, 20, shuffle_seed=0)
    np.testing.assert_allclose(ordered.alpha, 1, rtol=1e-12)
    assert mixed.alpha.mean() == pytest.approx(2, abs=0.1)


def test_the_permutation_is_seeded_and_common_to_all_rows():
    matrix = np.random.default_rng(4).standard_normal((6, 1003))
    order = alpha_stable._permutation(1003, 7).numpy()
    assert sorted(order) == list(range(1003))
    shuffled = stable_index_rows(matrix, 10, shuffle_seed=7)
    assert shuffled.shuffle_seed == 7
    np.testing.assert_allclose(shuffled.alpha, stable_index_rows(matrix[:, order], 10).alpha, rtol=1e-12)
    assert (shuffled.alpha != stable_index_rows(matrix, 10, shuffle_seed=8).alpha).all()


def test_centring_takes_out_a_mean():
    matrix = np.random.default_rng(5).standard_normal((100, 10_000)) + 5
    plain, centred = stable_index_rows(matrix), stable_index_rows(matrix, center=True)
    assert plain.alpha.mean() == pytest.approx(1, abs=0.02)  # sums grow as n
    assert 1 / centred.inverse.mean() == pytest.approx(2, abs=4 * 4 * _deviation(2, 100, 10_000) / 10)
    np.testing.assert_array_equal(stable_index_rows(matrix[:5] * 2.0**-40, center=True).alpha, centred.alpha[:5])


def test_degenerate_series_are_marked_and_are_not_nan():
    alone = np.zeros(100)
    alone[::10] = 1.0  # no sum has two values
    cancelling = np.tile([1.0, -1.0], 50)  # no sum is left
    matrix = np.stack([np.zeros(100), alone, cancelling, np.full(100, 0.1), np.arange(1.0, 101)])
    result = stable_index_rows(matrix, 10)
    assert result.degenerate.tolist() == [True, True, True, False, False]
    assert result.alpha[:3].tolist() == [np.inf] * 3
    assert result.inverse[:3].tolist() == [0.0] * 3
    assert result.alpha[3] == pytest.approx(1, rel=1e-12)
    assert stable_index_rows(matrix, 10, center=True).degenerate.tolist() == [True, True, True, True, False]


def test_sums_that_do_not_grow_have_no_finite_index():
    result = stable_index_rows(np.tile([2.0, -1.0, -0.5], 33)[None], 3)  # 0.5 each, the values 1 on geometric average
    assert result.inverse[0] == pytest.approx(math.log(0.5) / math.log(3), rel=1e-12)
    assert result.alpha[0] == np.inf
    assert not result.degenerate[0]


def test_arrays_and_tensors_give_the_same_in_any_number_of_parts():
    matrix = np.random.default_rng(6).standard_t(2, (37, 300)).astype(np.float32)
    whole, tensors = stable_index_rows(matrix), stable_index_rows(torch.from_numpy(matrix))
    parts = stable_index_rows(matrix, block_bytes=10_000)
    for name in ("alpha", "inverse", "degenerate"):
        assert isinstance(getattr(whole, name), np.ndarray)
        assert isinstance(getattr(tensors, name), torch.Tensor)
        np.testing.assert_array_equal(getattr(whole, name), getattr(tensors, name).numpy())
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    assert stable_index_rows(matrix[:0]).alpha.shape == (0,)


def test_the_largest_values_do_not_overflow():
    values = np.random.default_rng(7).uniform(0.5, 1, (2, 400)) * 1.7e308
    for center in (False, True):
        np.testing.assert_allclose(
            stable_index_rows(values, center=center).alpha,
            stable_index_rows(values / 2.0**1000, center=center).alpha,
            rtol=1e-12,
        )


@pytest.mark.parametrize(
    ("matrix", "block", "message"),
    [
        (np.ones((2, 3)), None, "3 values is too short"),
        (np.ones((2, 9)), 1, "block=1 .* 9 allows 2 to 9"),
        (np.ones((2, 9)), 10, "block=10 .* 9 allows 2 to 9"),
        (np.ones(9), 3, "two dimensions"),
        (np.array([[1.0, 2, 3, 4], [1, 2, 3, -np.inf]]), 2, "row 1, column 3 is -inf"),
        (np.array([[1.0, 2, np.nan, 4, 5]]), 2, "row 0, column 2 is nan"),
    ],
)
def test_bad_input_is_refused(matrix, block, message):
    with pytest.raises(gl.InputError, match=message):
        stable_index_rows(matrix, block)


def test_integers_give_the_same_index_in_any_unit_of_measure():
    values = np.round(np.random.default_rng(8).standard_t(2, (3, 20_000)) * 3)
    plain = stable_index_rows(values, 10)
    for unit in (2.0**-30, 0.1, 1 / 3, 7.0, 2.0**40, 1e-300):
        np.testing.assert_allclose(stable_index_rows(values * unit, 10).alpha, plain.alpha, rtol=1e-9)
    np.testing.assert_allclose(stable_index_rows(values.astype(np.float32) / 10, 10).alpha, plain.alpha, rtol=1e-4)
    np.testing.assert_array_equal(stable_index_rows(values.astype(np.int32), 10).alpha, plain.alpha)
    largest = values.copy()
    largest[:, 0] = 2.0 ** np.ceil(np.log2(np.abs(values).max()))  # one value of 20,000
    np.testing.assert_allclose(stable_index_rows(largest, 10).alpha, plain.alpha, atol=0.02)


def test_sums_that_vanish_are_found_as_fractions_find_them():
    tenths = np.random.default_rng(9).integers(-9, 10, (4, 600))
    result = stable_index_rows(tenths / 10, 6)  # 0.1 + 0.2 - 0.3 is not zero in binary
    sums = tenths.reshape(4, -1, 6).sum(axis=2)
    counts = np.count_nonzero(tenths.reshape(4, -1, 6), axis=2)
    np.testing.assert_allclose(result.zero_sums, [((s == 0) & (c > 1)).sum() / (c > 1).sum()
                                                  for s, c in zip(sums, counts, strict=True)])  # fmt: skip
    for i in range(4):
        used = sums[i] != 0
        expected = np.log(abs(sums[i][used])).mean() - np.log(abs(tenths[i][tenths[i] != 0])).mean()
        assert result.inverse[i] == pytest.approx(expected / np.log(counts[i][used]).mean(), rel=1e-9)


def test_a_lattice_is_told_and_continuous_values_are_not_suspected():
    rng = np.random.default_rng(10)
    values = rng.standard_t(2, (5, 20_000))
    values[:, ::3] = 0  # dead units are no lattice
    continuous, rounded = stable_index_rows(values, 10), stable_index_rows(np.round(values, 1), 10)
    assert (continuous.zero_sums == 0).all()
    assert (continuous.tied == 0).all()
    assert (rounded.zero_sums > 0.002).all()
    assert (rounded.tied > 0.9).all()
    dice = stable_index_rows(rng.integers(1, 7, (5, 20_000)) - 3.5, 10)
    assert (dice.tied == 1).all()
    assert (dice.zero_sums > 0.05).all()
    assert ((dice.alpha > 1.9) & (dice.alpha < 2.4)).all()
    half = stable_index_rows(torch.from_numpy(values).bfloat16(), 10)
    assert (half.tied > 0.5).all()
    np.testing.assert_allclose(half.alpha, continuous.alpha, rtol=0.02)


def test_values_of_every_magnitude_are_counted():
    values = 10.0 ** np.random.default_rng(11).uniform(-300, 300, (3, 1000))
    expected = [_published(row, 5) for row in values]
    np.testing.assert_allclose(stable_index_rows(values, 5).inverse, expected, rtol=1e-11)


@pytest.mark.parametrize(
    ("alpha", "block", "share"), [(0.5, 2, 0.53), (0.5, 20, 0.88), (1.0, 100, 0.97), (2.0, 7, 1.0)]
)
def test_the_scatter_is_the_stated_share_of_the_formula(alpha, block, share):
    rng = np.random.default_rng(int(10 * alpha + block))
    rows, length = 600, 1000
    inverse = stable_index_rows(stats.levy_stable.rvs(alpha, 0, size=(rows, length), random_state=rng), block).inverse
    assert inverse.std() / _deviation(alpha, block, length) == pytest.approx(share, rel=4 / math.sqrt(2 * rows) + 0.01)
