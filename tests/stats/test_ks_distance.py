import numpy as np
import pytest
from scipy import stats

from gradlaw.stats.ks_distance import exponential_ks_distances, ks_distances


@pytest.mark.parametrize("k", [2, 3, 10, 501])
def test_distances_equal_kstest(k):
    rng = np.random.default_rng(k)
    rows = np.sort(rng.gamma(0.7, size=(20, k)), axis=1)
    rows[0] = np.floor(4 * rows[0])  # ties
    expected = [stats.kstest(row, stats.gamma(0.7).cdf).statistic for row in rows]
    np.testing.assert_allclose(ks_distances(stats.gamma(0.7).cdf(rows)), expected, rtol=1e-13)
    np.testing.assert_allclose(ks_distances(stats.gamma(0.7).sf(rows[:, ::-1])), expected, rtol=1e-12)
    fitted = [stats.kstest(row, stats.expon(scale=row.mean()).cdf).statistic for row in rows]
    found = exponential_ks_distances(rows[:, ::-1].copy(), rows.sum(axis=1))
    np.testing.assert_allclose(found, fitted, rtol=1e-12)


def test_a_row_without_a_fit_has_no_distance():
    rows = np.array([[0.0, 0.0, 0.0], [2.0, 1.0, 0.0]])
    assert (exponential_ks_distances(rows.copy(), rows.sum(axis=1)) > 0).tolist() == [False, True]
