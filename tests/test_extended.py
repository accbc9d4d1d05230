import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.problem import layer_groups
from gradlaw.report.sections.extended import families_rows
from gradlaw.stats.alpha_stable import stable_index_rows
from gradlaw.stats.tail_index import hill_rows, moment_rows


@pytest.fixture(scope="module")
def problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 20), nn.LayerNorm(20), nn.Tanh(), nn.Linear(20, 3))
    return gl.Problem(model, cross_entropy, (torch.randn(200, 6), torch.randint(3, (200,))))


@pytest.fixture(scope="module")
def history(problem) -> gl.GradientHistory:
    return gl.collect(problem, 120, 4, seed=2)


@pytest.fixture(scope="module")
def analysis(problem) -> gl.Analysis:
    return gl.analyze(problem, iterations=120, batch_size=4, k=40, gaussian_k=30, seed=2, extended=True)


def test_groups_are_the_model_its_tensors_and_its_types_of_layer(problem):
    groups = layer_groups(problem.layout)
    assert groups[("model", "all")] == [slice(0, problem.dimensions)]
    assert groups[("tensor", "1.bias")] == [slice(160, 180)]
    assert groups[("layer type", "Linear")] == [slice(0, 120), slice(120, 140), slice(180, 240), slice(240, 243)]
    assert {kind for kind, _ in groups} == {"model", "tensor", "layer type"}


def test_layers_hold_the_rates_of_both_directions(history, analysis):
    layers = analysis.extended.layers
    whole = layers[layers["group"] == "model"].set_index("axis")
    for axis, tests in analysis.tests.items():
        assert whole.loc[axis, "gaussian_rate"] == tests.gaussian_rate
        assert whole.loc[axis, "mean_d_ks"] == tests.mean_d_ks
    norm = layers[(layers["axis"] == "dimension") & (layers["name"] == "LayerNorm")].iloc[0]
    alone = gl.gradient_tests(np.asarray(history)[:, 140:180], "dimension", k=13, gaussian_k=30, seed=2)
    assert norm["mean_d_ks"] == pytest.approx(alone.mean_d_ks)


def test_tail_indices_are_those_of_the_estimators(history, analysis):
    frame = analysis.extended.tail_indices
    matrix = np.asarray(history)
    noise = matrix - matrix.astype(np.float64).mean(axis=0).astype(np.float32)
    for axis, gradients, centred in (("dimension", matrix, noise), ("iteration", matrix.T, noise.T)):
        rows = frame[frame["axis"] == axis]
        np.testing.assert_allclose(rows["hill"], hill_rows(gradients, 40).index, rtol=1e-12)
        np.testing.assert_allclose(rows["moment"], moment_rows(gradients, 40).index, rtol=1e-9)
        np.testing.assert_allclose(rows["alpha_stable"], stable_index_rows(centred).alpha, rtol=1e-9)
        permuted = stable_index_rows(centred, shuffle_seed=2).alpha
        np.testing.assert_allclose(rows["alpha_stable_permuted"], permuted, rtol=1e-9)


def test_gaussianity_is_on_all_iterations(history, analysis):
    frame = analysis.extended.gaussianity
    matrix = np.asarray(history, dtype=np.float64)
    np.testing.assert_allclose(frame["skewness"], stats.skew(matrix), atol=1e-9)
    np.testing.assert_allclose(frame["excess_kurtosis"], stats.kurtosis(matrix), atol=1e-9)
    np.testing.assert_allclose(frame["dagostino_p_value"], stats.normaltest(matrix).pvalue, atol=1e-9)


def test_every_sample_is_compared_with_four_families(analysis):
    frame = analysis.extended.comparisons
    samples = ["dimension-wise example", "iteration-wise example", "second moment", "covariance"]
    assert list(frame["sample"].unique()) == samples
    assert (frame.groupby("sample").size() == 4).all()
    assert (frame["status"] != "not converged").all()


def test_outcomes_of_comparisons_are_at_the_level_of_the_run(analysis):
    p_values = analysis.extended.comparisons["nested_p_value"].fillna(analysis.extended.comparisons["p_value"])
    for alpha in (0.001, 0.5):
        outcomes = [row[-1] for row in families_rows(analysis.extended, alpha)]
        decided = [outcome.startswith("fits") for outcome in outcomes]
        assert decided == ((p_values <= alpha) & (analysis.extended.comparisons["ratio"] != 0)).tolist()
    assert [row[-1] for row in families_rows(analysis.extended, 0.001)] != outcomes


def test_exponents_come_with_intervals_and_the_scan(analysis):
    frame = analysis.extended.exponents.set_index("sample")
    fit = analysis.spectral_verdicts()[0].fit
    row = frame.loc["second moment"]
    assert row["s"] == pytest.approx(fit.s)
    assert row["s_low"] < row["s"] < row["s_high"]
    assert row["s_standard_error"] == pytest.approx(fit.s / np.sqrt(40))
    assert row["scan_d_ks"] <= fit.d_ks + 1e-12 or row["scan_k"] > 40


def test_saved_loaded_and_reported(analysis, tmp_path):
    analysis.save(tmp_path)
    loaded = gl.Analysis.load(tmp_path)
    for name in ("layers", "tail_indices", "gaussianity", "exponents", "comparisons"):
        pd.testing.assert_frame_equal(
            getattr(loaded.extended, name), getattr(analysis.extended, name), check_dtype=False
        )
    assert (tmp_path / "figures/tail_indices.svg").is_file()
    assert (tmp_path / "figures/layers.png").is_file()
    page = (tmp_path / "report.html").read_text()
    assert 'data-panel="hill"' in page
    assert "<h3>Other families of tails</h3>" in page
    assert "Alpha-stable tail index of the noise" in str(loaded)


def test_a_saved_run_forgets_the_extended_statistics_of_the_one_it_overwrites(problem, analysis, tmp_path):
    analysis.save(tmp_path)
    gl.analyze(problem, iterations=40, batch_size=4, k=20, gaussian_k=20).save(tmp_path, force=True)
    assert not (tmp_path / "layers.parquet").exists()
    assert not (tmp_path / "figures/tail_indices.png").exists()
    assert gl.Analysis.load(tmp_path).extended is None


def test_the_fewest_iterations(problem, tmp_path):
    with pytest.raises(gl.InputError, match="at least 8 iterations, got 7"):
        gl.analyze(problem, iterations=7, batch_size=4, extended=True)
    gl.analyze(problem, iterations=8, batch_size=4, extended=True).save(tmp_path)


def test_an_example_with_fewer_nonzero_values_than_the_shortest_tail_scanned():
    torch.manual_seed(0)
    inputs = torch.randn(64, 6)
    inputs[:, 2] = 0  # five of 53 dimensions never move
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    run = gl.analyze(gl.Problem(model, cross_entropy, (inputs, torch.randint(3, (64,)))), 60, 4, extended=True)
    rows = run.extended.exponents.set_index("sample")
    assert rows.loc["dimension-wise example", "scan_k"] == 48


def test_both_sides_of_the_literature():
    # Independent Gaussian noise whose scale differs from dimension to dimension: Gaussian iteration-wise, heavy-tailed
    # dimension-wise. This is the paper's reading of why the two lines of research disagree.
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(400, 900, generator=generator) * torch.rand(900, generator=generator) ** -1.5
    across = stable_index_rows(matrix, shuffle_seed=0).alpha.median()
    along = stable_index_rows(matrix.T, shuffle_seed=0).alpha.median()
    assert across < 1.5
    assert 1.9 < along < 2.1
