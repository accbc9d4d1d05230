"""The interval of a ratio of means against Fieller's closed form and simulation."""

import numpy as np
import pytest
from scipy import stats

from gradlaw.errors import InputError
from gradlaw.stats.ratio_interval import ratio_interval


def fieller(x, y, level):
    """The roots of (mean x - R mean y)^2 = t^2 var / n."""
    n, t = len(x), stats.t.ppf(0.5 + level / 2, len(x) - 1)
    (xx, xy), (_, yy) = np.cov(x, y) * t**2 / n
    return np.sort(np.roots([y.mean() ** 2 - yy, -2 * (x.mean() * y.mean() - xy), x.mean() ** 2 - xx]))


def symmetric(rng, shape):
    """Pairs whose differences have no skewness at all."""
    half = rng.standard_normal(shape)
    return np.concatenate([half, -half])


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_of_symmetric_data_it_is_that_of_fieller(level):
    rng = np.random.default_rng(0)
    x, y = 1e9 * (5 + symmetric(rng, 20)), 1e-3 * (2 + symmetric(rng, 20))
    low, high = ratio_interval(x, y, level)
    np.testing.assert_allclose([low, high], fieller(x, y, level), rtol=2e-2)
    # The other test accepts a little more, never less.
    assert low <= fieller(x, y, level)[0] * (1 + 1e-12)
    assert high >= fieller(x, y, level)[1] * (1 - 1e-12)


def test_limits_of_many_ratios_are_those_of_each():
    rng = np.random.default_rng(1)
    x, y = 5 + rng.gamma(1, size=(30, 4)), rng.standard_normal((30, 4)) + np.arange(4)
    low, high = ratio_interval(x, y)
    for i in range(4):
        np.testing.assert_allclose((low[i], high[i]), ratio_interval(x[:, i], y[:, i]), rtol=1e-12)
    assert np.isinf(high[0])


@pytest.mark.parametrize("skewed", ["above", "below", "neither"])
def test_it_covers_the_truth_about_as_often_as_it_says(skewed):
    rng = np.random.default_rng(2)
    shape = (40, 4000)
    x, y = rng.standard_normal(shape), rng.standard_normal(shape)
    if skewed == "above":
        x = rng.standard_exponential(shape) - 1
    if skewed == "below":
        y = rng.standard_exponential(shape) - 1
    low, high = ratio_interval(6 + x, 2 + y)
    assert abs(((low <= 3) & (high >= 3)).mean() - 0.95) < 0.015


def test_what_has_no_limits():
    rng = np.random.default_rng(3)
    noise = rng.standard_normal(50)
    low, high = ratio_interval(10 + noise, noise - noise.mean())
    assert low > 0
    assert high == np.inf
    assert ratio_interval(10 + noise, noise - 5) == (np.inf, np.inf)
    assert ratio_interval(np.zeros(50), noise) == (0, 0)
    low, high = ratio_interval(np.full(9, 6.0), np.full(9, 2.0))
    assert (low, high) == pytest.approx((3, 3), rel=1e-9)


def test_wrong_arguments():
    for x, y in ((np.ones(2), np.ones(2)), (np.ones(4), np.ones(5)), (np.full(4, np.nan), np.ones(4))):
        with pytest.raises(InputError, match=r"T >= 3|not finite"):
            ratio_interval(x, y)
    with pytest.raises(InputError, match="level"):
        ratio_interval(np.ones(4), np.ones(4), 1.0)
