import numpy as np
import pytest

import gradlaw as gl
from gradlaw.stats import scan_tail_start, tail_start_uncertainty


def _sample(rng):
    return np.where(rng.random(800) < 0.3, rng.pareto(1.5, 800) + 1, rng.random(800))


def test_the_point_is_that_of_the_scan_and_both_exponents_say_the_same():
    values = _sample(np.random.default_rng(0))
    result = tail_start_uncertainty(values, samples=60, points=30)
    best = scan_tail_start(values, points=30).best
    assert (result.k, result.beta, result.s) == (best.k, best.beta, best.s)
    assert result.k_interval[0] <= result.k_interval[1]
    low, high = result.s_interval
    assert result.beta_interval == pytest.approx((1 + 1 / high, 1 + 1 / low), rel=1e-12)
    assert result == tail_start_uncertainty(np.r_[values, np.nan], samples=60, points=30, nan_policy="omit")
    assert result != tail_start_uncertainty(values, samples=60, points=30, seed=1)


def test_the_interval_covers_more_than_that_of_a_fixed_k():
    rng = np.random.default_rng(1)
    covered, fixed, wider = 0, 0, 0
    count = 60
    for _ in range(count):
        values = _sample(rng)
        result = tail_start_uncertainty(values, samples=40, points=20)
        low, high = gl.fit_power_law(values, result.k).beta_interval()
        covered += result.beta_interval[0] < 2.5 < result.beta_interval[1]
        fixed += low < 2.5 < high
        wider += np.diff(result.beta_interval)[0] > high - low
    assert covered >= 0.95 * count - 4 * np.sqrt(count * 0.05)
    assert wider > count / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 30}, "level=0.95 needs at least 40 samples"),
        ({"level": 0.0}, "level"),
        ({"smallest": 1}, "smallest=1"),
        ({"tail": "up"}, "tail must be one of"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(gl.InputError, match=message):
        tail_start_uncertainty(np.arange(1.0, 50), **arguments)
