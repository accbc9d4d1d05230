"""What an analysis takes from the Gram matrix beside the spectra, and how it is kept and shown."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.report.formatting import with_error
from gradlaw.report.sections.noise import noise_rows
from gradlaw.spectra import control_spectrum, gradient_noise_by_layer, spectrum_over_iterations
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.spectra.layer_signals import layer_signals

RANKS = ("stable_rank", "participation_ratio", "participation_ratio_corrected")


@pytest.fixture(scope="module")
def problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 3))
    return gl.Problem(model, cross_entropy, (torch.randn(300, 12), torch.randint(3, (300,))))


@pytest.fixture(scope="module")
def history(problem) -> gl.GradientHistory:
    return gl.collect(problem, 120, 4, seed=2)


@pytest.fixture(scope="module")
def analysis(problem) -> gl.Analysis:
    return gl.analyze(problem, iterations=120, batch_size=4, k=60, gaussian_k=30, seed=2, controls=True)


def test_noise_is_that_of_every_layer_but_for_its_ranks(history, analysis):
    expected = gradient_noise_by_layer(history).reset_index()
    layers = analysis.noise["group"] == "tensor"
    ranks = [column for column in expected if column.startswith(RANKS)]
    pd.testing.assert_frame_equal(analysis.noise.drop(columns=ranks), expected.drop(columns=ranks), rtol=1e-9)
    pd.testing.assert_frame_equal(analysis.noise.loc[~layers, ranks], expected.loc[~layers, ranks], rtol=1e-9)
    assert analysis.noise.loc[layers, ranks].isna().all(axis=None)
    shares = analysis.noise.loc[layers, "trace"] / analysis.noise.loc[0, "trace"]
    assert shares.sum() == pytest.approx(1)


def test_gradients_that_are_rounding_errors_have_no_noise_scale():
    """A bias before a batch norm is taken off again; its gradient is zero but for rounding."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 3))
    problem = gl.Problem(model, cross_entropy, (torch.randn(300, 12), torch.randint(3, (300,))))
    run = gl.analyze(problem, iterations=40, batch_size=8)
    rows = run.noise.set_index("name")
    assert rows["degenerate"].to_dict() == {name: name == "0.bias" for name in rows.index}
    assert float(gl.collect(problem, 40, 8).dimension(model[0].weight.numel()).abs().max()) > 0  # not zeros
    deep = gradient_noise_by_layer(gl.collect(problem, 40, 8)).loc[("tensor", "0.bias")]
    for row in (rows.loc["0.bias"], deep):
        assert (row["trace"], row["noise_scale_unbiased"], row["signal_to_noise"]) == (0, 0, 0)
    assert any(notice.startswith("no noise scale of 0.bias: the gradients are rounding err") for notice in run.notices)
    assert ("0.bias", "16", "not above rounding", "-", "-", "-", "-", "-") in noise_rows(run.noise)


def test_small_gradients_that_are_no_rounding_errors_keep_their_noise_scale():
    """Ten layers of sigmoids: the first gradients have a share of the variance that rounding of the last also has."""
    torch.manual_seed(0)
    layers = [layer for _ in range(10) for layer in (nn.Linear(20, 20), nn.Sigmoid())]
    problem = gl.Problem(
        nn.Sequential(*layers, nn.Linear(20, 5)), cross_entropy, (torch.randn(300, 20), torch.randint(5, (300,)))
    )
    noise = gl.analyze(problem, iterations=40, batch_size=4).noise.set_index("name")
    assert noise.loc["0.weight", "trace"] < 1e-14 * noise.loc["all", "trace"]
    assert not noise["degenerate"].any()
    assert np.isfinite(noise.loc["0.weight", "noise_scale"])


def test_parameters_are_moved_for_a_moment_only():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    gl.collect(gl.Problem(model, cross_entropy, (torch.randn(300, 12), torch.randint(3, (300,)))), 5, 8)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_outliers_of_noise_are_explained_by_the_tensor_that_varies_most():
    torch.manual_seed(0)
    inputs = 0.02 * torch.randn(400, 30)  # so that the gradients of the readout's bias vary most by far
    problem = gl.Problem(nn.Linear(30, 40), cross_entropy, (inputs, torch.randint(40, (400,))))
    run = gl.analyze(problem, iterations=300, batch_size=4, k=250, controls=True)
    counts = {verdict.matrix: verdict.outliers for verdict in run.control_verdicts()}
    assert counts["permuted"] == counts["diagonal"] == 40
    said = " ".join(str(run).split())
    assert "Noise without correlations has leading eigenvalues above the line too: 40 (permuted) and 40 (dia" in said
    assert "those of bias have" in said
    assert "in 40 dimensions" in said


def test_layer_signals_of_a_history_on_disk(problem, history, tmp_path):
    stored = gl.collect(problem, 120, 4, seed=2, store=tmp_path / "store")
    gram = gram_matrix(history.gradients)
    pd.testing.assert_frame_equal(layer_signals(stored, gram), layer_signals(history, gram))


def test_noise_of_every_layer_with_extended_statistics(problem, history):
    deep = gl.analyze(problem, iterations=120, batch_size=4, k=60, gaussian_k=30, seed=2, extended=True)
    pd.testing.assert_frame_equal(deep.noise.set_index(["group", "name"]), gradient_noise_by_layer(history))


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"transforms": (gl.ClipByNorm(1.0),)}, "plain gradients"),
        ({"iterations": 4}, "needs 5 iterations"),
        ({"batch_size": 300}, "whole data set"),
    ],
)
def test_where_there_is_no_noise_to_measure_the_run_says_so(problem, settings, why, tmp_path):
    run = gl.analyze(problem, **({"iterations": 30, "batch_size": 4} | settings))
    assert run.noise is None
    assert any(why in notice for notice in run.notices if "noise left out" in notice)
    run.save(tmp_path)
    assert gl.Analysis.load(tmp_path).noise is None


def test_full_batches_with_replacement_have_noise(problem):
    run = gl.analyze(problem, iterations=10, batch_size=300, replacement=True)
    assert run.noise.loc[0, "trace"] > 0


def test_spectra_over_iterations_are_fitted_to_one_k(history, analysis):
    frame = analysis.over_iterations
    assert frame["iterations"].tolist() == [15, 30, 120]
    assert (frame["k"] == 7).all()
    whole = analysis.spectra["covariance"]
    assert frame["s"].iloc[-1] == whole.power_law(7).s
    assert frame["lambda_3"].iloc[-1] == whole.eigenvalues[2]
    expected = spectrum_over_iterations(history, [15, 30], k=7, seed=2).to_frame().reset_index()
    pd.testing.assert_frame_equal(frame.iloc[:-1], expected, rtol=1e-9)


def test_controls_are_those_of_the_same_seed_and_k(history, analysis):
    assert list(analysis.controls) == ["isotropic", "permuted", "diagonal"]
    measured, *controls = analysis.control_verdicts()
    assert measured.fit == analysis.spectral_verdicts()[1].fit
    for verdict in controls:
        spectrum = control_spectrum(history, verdict.matrix, seed=2)
        np.testing.assert_array_equal(analysis.controls[verdict.matrix].eigenvalues, spectrum.eigenvalues)
        assert verdict.fit == spectrum.power_law(60)


def test_controls_are_not_made_unless_asked_for(problem):
    run = gl.analyze(problem, iterations=30, batch_size=4)
    assert (run.controls, run.control_verdicts()) == ({}, [])
    assert "isotropic" not in str(run)


def test_outliers_are_counted_beside_the_classes_less_one(analysis):
    second, covariance, gaps = analysis.spectral_verdicts()
    assert second.outliers == gl.count_outliers(analysis.spectra["second moment"], 60, 39).count
    assert covariance.outliers == gl.count_outliers(analysis.spectra["covariance"], 60, 39).count
    assert gaps.outliers is None
    assert "of the covariance" in str(analysis)


def test_a_line_too_short_has_no_outliers(problem):
    run = gl.analyze(problem, iterations=30, batch_size=4, k=21)
    assert [verdict.outliers for verdict in run.spectral_verdicts()] == [None, None, None]


def test_saved_loaded_and_shown(analysis, tmp_path):
    analysis.save(tmp_path)
    loaded = gl.Analysis.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.noise, analysis.noise)
    pd.testing.assert_frame_equal(loaded.over_iterations, analysis.over_iterations)
    for name, spectrum in analysis.controls.items():
        np.testing.assert_array_equal(loaded.controls[name].eigenvalues, spectrum.eigenvalues)
    assert loaded.control_verdicts() == analysis.control_verdicts()
    assert str(loaded) == str(analysis)
    assert max(len(line) for line in str(analysis).splitlines()) <= 100
    record = json.loads((tmp_path / "analysis.json").read_text())
    assert record["control_verdicts"][1]["matrix"] == "isotropic"
    page = (tmp_path / "report.html").read_text()
    for panel in ("noise", "controls", "over_iterations"):
        assert f'data-panel="{panel}"' in page
    for heading in ("Signal and noise", "Controls", "Over iterations"):
        assert f"<h3>{heading}</h3>" in page
    for name in ("controls", "over_iterations"):
        assert (tmp_path / f"figures/{name}.png").stat().st_size > 1000


def test_a_smaller_run_leaves_no_file_of_the_larger_one(problem, analysis, tmp_path):
    analysis.save(tmp_path)
    gl.analyze(problem, iterations=4, batch_size=4).save(tmp_path, force=True)
    for name in ("noise.parquet", "controls.parquet", "over_iterations.parquet", "figures/controls.svg"):
        assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1234.567, 56.7, "1,235 ± 57"),
        (0.012347, 0.00067, "0.01235 ± 0.00067"),
        (12345.6, 678.9, "12,350 ± 680"),
        (3.0, 0.0, "3"),
        (math.inf, math.inf, "infinite"),
        (3.0, math.inf, "3 ± infinite"),
        (math.nan, math.nan, "-"),
        (1.5e-9, 2e-10, "1.50e-09 ± 2.0e-10"),
    ],
)
def test_values_are_shown_to_the_second_digit_of_their_error(value, error, text):
    assert with_error(value, error) == text
