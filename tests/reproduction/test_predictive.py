"""Predictive distributions against simulated seeds and closed forms."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from gradlaw.errors import InputError
from gradlaw.reproduction.predictive import Predictive, Spread


@pytest.mark.parametrize("seeds", [3, 10])
def test_a_further_seed_agrees_as_often_as_the_level_says(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    draws = np.exp(rng.normal(0.3, 0.05, (4000, seeds + 1)))
    agrees = [Predictive.of("s", list(row[:-1])).agrees(row[-1]) for row in draws]
    assert np.mean(agrees) == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


def test_many_seeds_give_the_normal_density() -> None:
    values = np.exp(norm.ppf((np.arange(20_000) + 0.5) / 20_000) * 0.1 - 1)
    found = Predictive.of("d_ks", list(values))
    assert found.log_density(math.exp(-0.9)) == pytest.approx(norm.logpdf(-0.9, -1, 0.1), abs=1e-3)
    assert found.percentile(math.exp(-1)) == pytest.approx(0.5, abs=1e-9)


def test_a_spread_is_pooled_over_settings() -> None:
    groups = [[1.0, math.e], [math.e**5, math.e**6, math.e**7], [2.0]]
    pooled = Spread.of("s", groups)
    assert (pooled.std, pooled.degrees) == (pytest.approx(math.sqrt((0.5 + 2) / 3)), 3)
    assert Predictive.of("s", [2.0], pooled).z(2.0) == 0


def test_rates_of_none_and_all_have_a_place() -> None:
    assert Predictive.of("gaussian_rate", [0.0, 0.0, 0.0]).agrees(0.0)
    assert not Predictive.of("power_law_rate", [1.0, 1.0, 1.0]).agrees(0.5)


def test_too_few_seeds_are_refused() -> None:
    with pytest.raises(InputError, match="at least 3"):
        Predictive.of("s", [1.0, 2.0])
    with pytest.raises(InputError, match="one seed a setting"):
        Spread.of("s", [[1.0], [2.0]])
