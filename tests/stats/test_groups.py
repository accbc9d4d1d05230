import numpy as np
import pytest
import torch

import gradlaw as gl
from gradlaw.stats.groups import rates_by_group

GROUPS = {
    "all": [slice(0, 60)],
    "left": [slice(0, 25)],
    "both ends": [slice(0, 5), slice(40, 60)],
    "one": [slice(7, 8)],
}


@pytest.fixture(scope="module")
def history() -> np.ndarray:
    """(T, n) = (80, 60), of several scales, with two dead dimensions."""
    rng = np.random.default_rng(0)
    values = rng.standard_t(3, (80, 60)) * rng.random(60) ** -1
    values[:, [3, 50]] = 0
    return values


def _columns(name: str) -> np.ndarray:
    return np.concatenate([np.arange(r.start, r.stop) for r in GROUPS[name]])


def test_dimension_wise_a_group_is_tested_as_if_it_were_the_whole_model(history):
    frame = rates_by_group(history, GROUPS, "dimension", k=20, gaussian_k=24, seed=3)
    assert list(frame.index) == ["all", "left", "both ends"]  # a single dimension has no distribution across
    for name in frame.index:
        alone = gl.gradient_tests(history[:, _columns(name)], "dimension", k=20, gaussian_k=24, seed=3).scalars()
        assert frame.loc[name, "dimensions"] == len(_columns(name))
        for key, value in alone.items():
            assert frame.loc[name, key] == value, key


def test_k_is_lowered_to_the_size_of_the_group(history):
    frame = rates_by_group(history, GROUPS | {"few": [slice(0, 7)]}, "dimension", k=40, gaussian_k=30)
    assert frame["k"].to_dict() == {"all": 40, "left": 25, "both ends": 25, "few": 7}
    assert frame["gaussian_k"].dropna().to_dict() == {"all": 30, "left": 25, "both ends": 25}
    assert np.isnan(frame.loc["few", "gaussian_rate"])


def test_iteration_wise_rates_are_over_the_dimensions_of_the_group(history):
    frame = rates_by_group(torch.from_numpy(history), GROUPS, "iteration", k=20, gaussian_k=24, seed=3)
    whole = gl.gradient_tests(history, "iteration", k=20, gaussian_k=24, seed=3)
    for name in GROUPS:
        chosen = _columns(name)
        passing = (whole.gaussian_p_value > 0.05) & ~whole.degenerate_series
        assert frame.loc[name, "gaussian_rate"] == pytest.approx(passing[chosen].mean())
        assert frame.loc[name, "power_law_rate"] == pytest.approx(whole.is_power_law[chosen].mean())
        assert frame.loc[name, "degenerate"] == pytest.approx(whole.degenerate_series[chosen].mean())
    assert frame.loc["all", "degenerate"] == pytest.approx(2 / 60)
