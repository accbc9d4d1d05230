"""Comparisons of runs: what differs, how sure that is, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.compare.text import as_text, notes

SETTINGS: dict[str, Any] = {"iterations": 60, "batch_size": 2, "k": 18, "gaussian_k": 12}


def data() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(400, 6, generator=rng), torch.randint(3, (400,), generator=rng)


def problem(network: int = 0, width: int = 8) -> gl.Problem:
    torch.manual_seed(network)
    model = nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 3))
    return gl.Problem(model, cross_entropy, data(), name="small")


def analysis(network: int = 0, **settings: Any) -> gl.Analysis:
    return gl.analyze(problem(network), **(SETTINGS | settings))


@pytest.fixture(scope="module")
def runs() -> dict[str, gl.Analysis]:
    """Three seeds at two batch sizes, each with its own network."""
    return {f"B{b}-seed{s}": analysis(s, seed=s, batch_size=b) for b in (2, 10) for s in (0, 1, 2)}


def row(comparison: gl.Comparison, quantity: str, first: str = "a", second: str = "b") -> Any:
    frame = comparison.differences
    (found,) = frame[
        (frame["quantity"] == quantity) & (frame["first"] == first) & (frame["second"] == second)
    ].itertuples()
    return found


def test_two_runs_have_their_own_values_and_the_settings_that_differ(runs):
    a, b = runs["B2-seed0"], runs["B10-seed0"]
    found = gl.compare({"a": a, "b": b})
    assert found.groups == {"a": ("a",), "b": ("b",)}
    assert list(found.settings.index) == ["settings.batch_size"]
    assert list(found.settings.loc["settings.batch_size"]) == ["2", "10"]
    values = found.to_frame()
    assert values.loc[("dimension_gaussian_rate", "a"), "value"] == a.tests["dimension"].gaussian_rate
    assert values.loc[("covariance_s", "b"), "value"] == b.spectral_verdicts()[1].fit.s
    assert values.loc[("loss", "b"), "value"] == pytest.approx(b.losses.mean())
    noise = b.noise.iloc[0]
    assert values.loc[("noise_scale", "b"), "value"] == pytest.approx(noise["noise_scale_unbiased"])
    inside = values.dropna(subset=["low"])
    assert ((inside["low"] <= inside["value"]) & (inside["value"] <= inside["high"])).all()
    np.testing.assert_array_equal(found.spectra["a"], a.spectra["covariance"].eigenvalues)
    assert repr(found).startswith("Comparison(a, b; ")


def test_runs_of_the_same_minibatches_are_compared_in_pairs():
    a, b = analysis(0), analysis(0, transforms=[gl.ClipByNorm(0.5)])
    found = gl.compare({"a": a, "b": b})
    loss = row(found, "loss")
    assert (loss.difference, loss.how) == (0, "no interval: the same difference in every iteration")
    other = analysis(1)
    pairs = other.losses - a.losses
    loss = row(gl.compare({"a": a, "b": other}), "loss")
    assert loss.how == "same minibatches, block bootstrap over pairs of iterations, blocks of 1"
    # Independent iterations: the paired t-test of the books.
    assert loss.p_value == pytest.approx(stats.ttest_1samp(pairs, 0).pvalue, rel=1e-6)
    assert "Settings that differ" in str(found)


def test_what_depends_on_sizes_is_compared_only_where_they_agree():
    a, b = analysis(0), gl.analyze(problem(0, width=12), **(SETTINGS | {"iterations": 80}))
    found = gl.compare({"a": a, "b": b})
    assert row(found, "covariance_s").how == "not compared: T is 60 and 80"
    assert row(found, "dimension_mean_d_ks").how == "not compared: n is 83 and 123"
    assert row(found, "noise_scale").p_value > 0
    assert row(found, "loss").how.startswith("the same minibatches in part")
    assert any("not compared: T is 60 and 80" in note for note in notes(found))
    clipped = analysis(0, transforms=[gl.ClipByNorm(0.5)])
    assert "gradient noise was not measured" in row(gl.compare({"a": a, "b": clipped}), "noise_scale").how


def test_intervals_that_nothing_supports_are_not_given(runs):
    found = gl.compare({"a": runs["B2-seed0"], "b": runs["B2-seed1"]}, group_seeds=False)
    for quantity in ("covariance_s", "second_moment_s", "eigengaps_s", "iteration_power_law_rate"):
        for group in "ab":
            assert np.isnan(found.values.loc[(quantity, group), "low"])
            assert "no " in found.values.loc[(quantity, group), "how"]
        assert np.isnan(row(found, quantity).p_value)


def test_seeds_of_a_setting_are_put_together_with_their_spread(runs):
    found = gl.compare(runs)
    assert found.groups == {
        "B2-seed0 (mean of 3 seeds)": ("B2-seed0", "B2-seed1", "B2-seed2"),
        "B10-seed0 (mean of 3 seeds)": ("B10-seed0", "B10-seed1", "B10-seed2"),
    }
    s = {b: np.array([runs[f"B{b}-seed{i}"].spectral_verdicts()[1].fit.s for i in range(3)]) for b in (2, 10)}
    of_group = found.values.loc[("covariance_s", "B10-seed0 (mean of 3 seeds)")]
    expected = stats.t.interval(0.95, 2, loc=s[10].mean(), scale=stats.sem(s[10]))
    np.testing.assert_allclose([of_group.low, of_group.high], expected)
    difference = row(found, "covariance_s", *found.groups)
    assert difference.p_value == pytest.approx(stats.ttest_rel(s[10], s[2]).pvalue)
    assert any("put together as seeds of one setting (each with parameters of its own)" in note for note in found.notes)

    fewer = gl.compare({name: run for name, run in runs.items() if name != "B2-seed2"})
    difference = row(fewer, "covariance_s", *fewer.groups)
    welch = stats.ttest_ind(s[10], s[2][:2], equal_var=False)
    assert (difference.p_value, difference.how) == (pytest.approx(welch.pvalue), "2 and 3 seeds, Welch's test")

    one = gl.compare({name: run for name, run in runs.items() if not name.startswith("B2-seed") or name == "B2-seed0"})
    difference = row(one, "covariance_s", "B2-seed0", "B10-seed0 (mean of 3 seeds)")
    statistic = (s[10].mean() - s[2][0]) / (s[10].std(ddof=1) * np.sqrt(4 / 3))
    assert difference.p_value == pytest.approx(2 * stats.t.sf(abs(statistic), 2))

    assert len(gl.compare(runs, group_seeds=False).groups) == 6


def test_checkpoints_of_one_training_stay_apart(tmp_path: Path):
    from safetensors.torch import save_file

    for i in range(2):
        save_file(problem(i).model.state_dict(), tmp_path / f"step-{i}.safetensors")
    made = gl.analyze_checkpoints(problem(5), sorted(tmp_path.glob("*.safetensors")), tmp_path / "runs", **SETTINGS)
    found = gl.compare(made)
    assert found.groups == {"step-0": ("step-0",), "step-1": ("step-1",)}
    assert list(found.settings.index) == ["problem.parameters_sha256"]
    again = gl.compare([tmp_path / "runs/step-0", str(tmp_path / "runs/step-1")])
    assert again == found


def test_p_values_are_adjusted_over_their_table(runs):
    from statsmodels.stats.multitest import multipletests

    found = gl.compare({"a": runs["B2-seed0"], "b": runs["B2-seed1"], "c": runs["B10-seed0"]}, group_seeds=False)
    for frame in (found.differences, found.layer_differences):
        tested = frame.dropna(subset=["p_value"])
        assert len(tested) > 3
        np.testing.assert_allclose(tested["p_holm"], multipletests(tested["p_value"], method="holm")[1])
    assert set(found.layer_differences["quantity"]) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    shares = found.layers[found.layers["run"] == "a"]["share_of_noise"]
    assert shares.sum() == pytest.approx(1)


def test_histories_give_exponents_an_interval_and_subspaces_an_overlap():
    settings = {"iterations": 60, "batch_size": 2, "seed": 0}
    a, b = analysis(0), analysis(1)
    histories = {"a": gl.collect(problem(0), **settings), "b": gl.collect(problem(1), **settings)}
    found = gl.compare({"a": a, "b": b}, histories=histories)
    of_a = found.values.loc[("covariance_s", "a")]
    assert of_a.low < of_a["value"] == a.spectral_verdicts()[1].fit.s < of_a.high
    gradients = histories["a"][:].double()
    left_out = [
        gl.gradient_spectrum(torch.cat([gradients[:i], gradients[i + 3 :]])).power_law(18).s for i in range(0, 60, 3)
    ]
    error = np.sqrt(19 / 20 * np.square(np.array(left_out) - np.mean(left_out)).sum())
    assert (of_a.high - of_a.low) / 2 == pytest.approx(error * stats.t.ppf(0.975, 19), rel=1e-4)
    assert row(found, "covariance_s").how.startswith("same minibatches, jackknife")
    between = found.overlaps[(found.overlaps["first"] == "a") & (found.overlaps["second"] == "b")]
    vectors = [
        torch.linalg.svd(h[:].double() - h[:].double().mean(dim=0), full_matrices=False)[2][:5]
        for h in histories.values()
    ]
    expected = float((vectors[0] @ vectors[1].T).square().sum() / 5)
    assert between.set_index("k").loc[5, "overlap"] == pytest.approx(expected, rel=1e-4)
    assert set(found.overlaps["second"]) == {"a", "b"}
    assert "halves of a" in str(found)


def test_a_history_of_another_run_is_refused():
    a, b = analysis(0), analysis(1)
    history = gl.collect(problem(1), 60, 2)
    with pytest.raises(gl.InputError, match="not that of the run"):
        gl.compare({"a": a, "b": b}, histories={"a": history})
    with pytest.raises(gl.InputError, match="histories of no run: c; the runs are a, b"):
        gl.compare({"a": a, "b": b}, histories={"c": history})


def test_everything_is_written_and_fits_the_terminal(runs, tmp_path: Path):
    found = gl.compare(runs)
    found.save(tmp_path / "out")
    table = pd.read_csv(tmp_path / "out/values.csv", index_col=["quantity", "group"])
    pd.testing.assert_frame_equal(table, found.values)
    record = json.loads((tmp_path / "out/comparison.json").read_text())
    assert record["groups"] == {name: list(members) for name, members in found.groups.items()}
    page = (tmp_path / "out/comparison.html").read_text()
    assert "Differences, second less first" in page
    assert "put together as seeds of one setting" in page
    assert (tmp_path / "out/figures/spectra.png").stat().st_size > 10_000
    assert "noise scale" in (tmp_path / "out/figures/layers.svg").read_text()
    assert max(map(len, as_text(found).splitlines())) <= 80
    assert max(map(len, str(gl.compare(runs, group_seeds=False)).splitlines())) <= 80


def test_bad_input_is_refused(runs, tmp_path: Path):
    a = runs["B2-seed0"]
    with pytest.raises(gl.InputError, match="at least 2 runs"):
        gl.compare([a])
    with pytest.raises(gl.InputError, match="holds no run"):
        gl.compare([a, tmp_path])
    with pytest.raises(gl.InputError, match="named twice"):
        gl.compare([tmp_path, str(tmp_path)])
    with pytest.raises(gl.InputError, match="list of analyses"):
        gl.compare("runs/a")
    with pytest.raises(gl.InputError, match="directory of one, got int"):
        gl.compare({"a": a, "b": 3})


def test_runs_that_cannot_be_tested_are_shown_all_the_same(runs):
    a = runs["B2-seed0"]
    without = replace(a, sections=a.sections | {"noise": None})
    found = gl.compare({"a": a, "b": without})
    assert "gradient noise was not measured" in row(found, "noise_scale").how
    assert isinstance(str(found), str)
