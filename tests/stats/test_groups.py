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
    groups = GROUPS | {"most": [slice(0, 10), slice(20, 45)]}
    frame = rates_by_group(history, groups, "dimension", k=10, gaussian_k=24, seed=3)
    assert list(frame.index) == ["all", "left", "both ends", "most"]  # a single dimension has no distribution across
    for name in ("all", "most"):
        chosen = np.concatenate([np.arange(r.start, r.stop) for r in groups[name]])
        alone = gl.gradient_tests(history[:, chosen], "dimension", k=10, gaussian_k=24, seed=3).scalars()
        assert frame.loc[name, "dimensions"] == len(chosen)
        for key, value in alone.items():
            assert frame.loc[name, key] == value, key


def test_k_is_lowered_to_a_third_of_the_group(history):
    frame = rates_by_group(history, GROUPS | {"most": [slice(0, 35)]}, "dimension", k=40, gaussian_k=30)
    assert frame["k"].dropna().to_dict() == {"all": 20, "most": 11}
    assert frame["gaussian_k"].dropna().to_dict() == {"all": 30, "left": 25, "both ends": 25, "most": 30}


def test_groups_of_too_few_values_have_no_power_law(history):
    groups = {"all": [slice(0, 60)], "29": [slice(0, 29)], "30": [slice(0, 30)], "7": [slice(0, 7)]}
    frame = rates_by_group(history, groups, "dimension", k=40, gaussian_k=30, seed=3)
    columns = ["power_law_rate", "power_law_rate_calibrated", "mean_d_ks", "d_critical", "k"]
    assert frame[columns].notna().all(axis=1).to_dict() == {"all": True, "29": False, "30": True, "7": False}
    assert frame[columns].isna().all(axis=1).to_dict() == {"all": False, "29": True, "30": False, "7": True}
    assert frame.loc["30", "no_verdict"].startswith("100% of Gaussian series of 30 values pass too at K = 10")
    alone = gl.gradient_tests(history[:, :29], "dimension", k=9, gaussian_k=29, seed=3)
    assert frame.loc["29", "gaussian_rate"] == alone.gaussian_rate
    assert np.isnan(frame.loc["7", "gaussian_rate"])


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
