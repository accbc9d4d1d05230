import dataclasses
import hashlib
import html
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.cli.main import main

FILES = {
    "analysis.json", "eigenvalues.parquet", "dimension_wise.parquet", "iteration_wise.parquet", "examples.parquet",
    "noise.parquet", "accuracy.parquet", "two_halves.parquet", "report.html", "manifest.json",
    *(f"figures/{name}.{kind}" for name in ("distances", "gradients", "layers", "noise", "p_values", "spectra")
      for kind in ("png", "svg")),
}  # fmt: skip


@pytest.fixture(scope="module")
def problem() -> gl.Problem:
    """Five dimensions never move: the third input is always zero."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    inputs = torch.randn(64, 6)
    inputs[:, 2] = 0
    return gl.Problem(model, cross_entropy, (inputs, torch.randint(3, (64,))))


@pytest.fixture(scope="module")
def analysis(problem) -> gl.Analysis:
    return gl.analyze(problem, iterations=60, batch_size=4, k=20, gaussian_k=30, seed=2)


def _files(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


def _digests(directory: Path) -> dict[str, str]:
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in _files(directory)}


def test_parts_equal_the_functions_called_one_by_one(problem, analysis):
    history = gl.collect(problem, 60, 4, seed=2)
    for axis in ("dimension", "iteration"):
        tests = gl.gradient_tests(history, axis, k=20, gaussian_k=30, seed=2)
        pd.testing.assert_frame_equal(tests.to_frame(), analysis.tests[axis].to_frame())
    for name, center in (("second moment", False), ("covariance", True)):
        spectrum = gl.gradient_spectrum(history, center)
        atol = 1e-13 * spectrum.eigenvalues[0]
        np.testing.assert_allclose(analysis.spectra[name].eigenvalues, spectrum.eigenvalues, rtol=0, atol=atol)
    np.testing.assert_array_equal(analysis.losses, history.losses.double())
    second, covariance, gaps = analysis.spectral_verdicts()
    assert second.fit == analysis.spectra["second moment"].power_law(20)
    assert covariance.fit == analysis.spectra["covariance"].power_law(20)
    assert gaps.fit == gl.eigengaps(analysis.spectra["covariance"]).power_law(20)


def test_examples_have_the_median_distance(problem, analysis):
    history = gl.collect(problem, 60, 4, seed=2)
    for axis, example in analysis.examples.items():
        tests = analysis.tests[axis]
        tested = tests.d_ks[~tests.degenerate_series]
        assert not tests.degenerate_series[example.index]
        assert tests.d_ks[example.index] == np.sort(tested)[len(tested) // 2]
        series = history[example.index] if axis == "dimension" else history.dimension(example.index)
        np.testing.assert_array_equal(example.magnitudes, np.sort(np.abs(series.numpy()))[::-1])
        np.testing.assert_array_equal(np.abs(series.numpy())[example.places], example.magnitudes)
    assert analysis.tests["iteration"].degenerate == 5 / 53


def test_saved_and_loaded_is_the_same(analysis, tmp_path):
    analysis.save(tmp_path / "run")
    assert _files(tmp_path / "run") == FILES
    loaded = gl.Analysis.load(tmp_path / "run")
    for field in dataclasses.fields(gl.Analysis):
        if field.name not in ("losses", "sections"):
            assert getattr(loaded, field.name) == getattr(analysis, field.name), field.name
    np.testing.assert_array_equal(loaded.losses, analysis.losses)
    for axis in analysis.tests:
        assert loaded.tests[axis].scalars() == analysis.tests[axis].scalars()
        pd.testing.assert_frame_equal(loaded.tests[axis].to_frame(), analysis.tests[axis].to_frame())
        assert loaded.examples[axis] == analysis.examples[axis]
    for name, spectrum in analysis.spectra.items():
        np.testing.assert_array_equal(loaded.spectra[name].eigenvalues, spectrum.eigenvalues)
        assert (loaded.spectra[name].floor, loaded.spectra[name].rank) == (spectrum.floor, spectrum.rank)
    pd.testing.assert_frame_equal(loaded.noise, analysis.noise)
    assert loaded.over_iterations is analysis.over_iterations is None
    assert loaded.spectral_verdicts() == analysis.spectral_verdicts()
    assert str(loaded) == str(analysis)


def test_every_file_records_where_it_came_from(analysis, tmp_path):
    analysis.save(tmp_path)
    record = json.loads((tmp_path / "analysis.json").read_text())
    provenance = record["provenance"]
    assert provenance["settings"]["seed"] == 2
    assert provenance["versions"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert len(provenance["problem"]["parameters_sha256"]) == len(provenance["problem"]["data"]["sha256"]) == 64
    assert provenance["machine"]["device"] == "cpu"
    for name in ("eigenvalues", "dimension_wise", "iteration_wise", "examples"):
        assert json.loads(pq.read_schema(tmp_path / f"{name}.parquet").metadata[b"gradlaw"]) == provenance
    assert '"seed": 2' in (tmp_path / "figures/spectra.svg").read_text().replace("&quot;", '"')
    assert b'"seed": 2' in (tmp_path / "figures/spectra.png").read_bytes()


def test_rows_of_the_tables_are_named(analysis, tmp_path):
    analysis.save(tmp_path)
    by_parameter = pd.read_parquet(tmp_path / "iteration_wise.parquet")
    assert by_parameter.groupby("parameter", observed=True, sort=False).size().to_dict() == {
        "0.weight": 30, "0.bias": 5, "2.weight": 15, "2.bias": 3}  # fmt: skip
    dead = by_parameter[by_parameter["degenerate_series"]]
    assert (dead["parameter"] == "0.weight").all()
    assert (dead["element"] % 6 == 2).all()
    assert pd.read_parquet(tmp_path / "dimension_wise.parquet")["iteration"].tolist() == list(range(60))
    eigenvalues = pd.read_parquet(tmp_path / "eigenvalues.parquet")
    assert eigenvalues["covariance_eigengap"].isna().tolist() == [False] * (len(eigenvalues) - 1) + [True]


def test_two_runs_with_one_seed_are_the_same_bytes(problem, tmp_path):
    for name in ("one", "other"):
        run = gl.analyze(problem, iterations=60, batch_size=4, k=20, gaussian_k=30, seed=2)
        # The times of the two runs are all that may differ.
        dataclasses.replace(run, started="then", finished="later").save(tmp_path / name)
    assert _digests(tmp_path / "one") == _digests(tmp_path / "other")


def test_a_run_is_not_overwritten_without_force(analysis, tmp_path):
    analysis.save(tmp_path)
    before = _digests(tmp_path)
    with pytest.raises(gl.InputError, match="already holds a run"):
        analysis.save(tmp_path)
    assert _digests(tmp_path) == before
    (tmp_path / "mine.txt").write_text("kept")
    analysis.save(tmp_path, force=True)
    assert _files(tmp_path) == FILES | {"mine.txt"}


def test_directories_that_hold_no_whole_run(analysis, tmp_path):
    with pytest.raises(gl.InputError, match="holds no run"):
        gl.Analysis.load(tmp_path)
    analysis.save(tmp_path)
    (tmp_path / "eigenvalues.parquet").unlink()
    with pytest.raises(gl.InputError, match=r"eigenvalues\.parquet is missing"):
        gl.Analysis.load(tmp_path)
    with pytest.raises(gl.InputError, match="cannot be made"):
        analysis.save(tmp_path / "analysis.json/run")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_on_a_full_disk_what_was_finished_stays(analysis, small_disk):
    with pytest.raises(gl.InputError, match=r"no space left on the disk while writing .*kept: analysis\.json"):
        analysis.save(small_disk / "run")
    left = _files(small_disk / "run/.writing")
    assert "analysis.json" in left
    assert "report.html" not in left
    assert not any(name.endswith(".partial") for name in left)
    assert json.loads((small_disk / "run/.writing/analysis.json").read_text())["provenance"] == analysis.provenance


def test_a_disk_that_will_be_full_is_refused_before_the_work(small_disk, capsys):
    assert main(["analyze", "--quiet", "--out", str(small_disk / "run")]) == 2
    assert "has 0.1 MB left and a run takes up to" in capsys.readouterr().err


def test_k_is_lowered_to_what_the_sizes_allow(problem):
    run = gl.analyze(problem, iterations=30, batch_size=2)
    assert run.settings["k"] == 10
    assert {axis: tests.k for axis, tests in run.tests.items()} == {"dimension": 17, "iteration": 10}
    for lowered in ("17 in dimension-wise tests", "10 in iteration-wise tests", "10 in fits of spectra"):
        assert any(f"K lowered from 1,000 to {lowered}" in notice for notice in run.notices)
    assert any("iteration-wise Gaussian test on all 30 values" in notice for notice in run.notices)
    asked = gl.analyze(problem, iterations=30, batch_size=2, k=25)  # as asked, and no verdict
    assert {axis: tests.k for axis, tests in asked.tests.items()} == {"dimension": 25, "iteration": 25}
    assert "more than a third of the 30 values" in asked.tests["iteration"].no_verdict
    assert asked.settings["k"] == 25
    more = gl.analyze(problem, iterations=30, batch_size=2, k=40)  # which one direction has
    assert {axis: tests.k for axis, tests in more.tests.items()} == {"dimension": 40, "iteration": 10}
    second, covariance, gaps = more.spectral_verdicts()
    assert (second.k, covariance.k, gaps.k) == (30, 29, 29)
    assert all(verdict.fit for verdict in (second, covariance, gaps))


def test_two_iterations_are_enough_to_run(problem, tmp_path):
    run = gl.analyze(problem, iterations=2, batch_size=2)
    assert run.tests["iteration"].gaussian_rate is None
    assert run.spectral_verdicts()[1].refused == "only 1 values, a fit needs at least 2"
    run.save(tmp_path)
    assert str(gl.Analysis.load(tmp_path)) == str(run)


def test_full_batches_get_no_spectral_verdict(problem):
    run = gl.analyze(problem, iterations=40, batch_size=64)
    second, covariance, _ = run.spectral_verdicts()
    assert second.refused == "K=13 but the spectrum has numerical rank 1"
    assert covariance.refused == "K=13 but the spectrum has numerical rank 0"
    assert "without a power-law verdict: K=13" in str(run)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": 1}, "iterations must be at least 2"),
        ({"batch_size": 65}, "batch_size=65"),
        ({"k": 1}, "k must be at least 2"),
        ({"gaussian_k": 5}, "gaussian_k must be at least 8"),
        ({"alpha": 0.0}, "alpha"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_settings_are_refused(problem, settings, message):
    with pytest.raises(gl.InputError, match=message):
        gl.analyze(problem, **({"iterations": 20, "k": 10, "gaussian_k": 10} | settings))


def test_a_single_parameter_is_refused():
    slope = nn.Linear(1, 1, bias=False)
    with pytest.raises(gl.InputError, match="single parameter"):
        gl.analyze(gl.Problem(slope, nn.functional.mse_loss, (torch.randn(9, 1), torch.randn(9, 1))), 20, 2)


def test_the_report_stands_alone_and_says_what_was_found(analysis, tmp_path):
    analysis.report(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    assert "default-src 'none'" in page
    assert "power-law tails in" not in page  # 53 and 60 values cannot show one
    text = html.unescape(re.sub("<[^>]*>", "", page))
    assert f"{analysis.tests['dimension'].no_verdict_calibrated}." in text
    assert "Too few values to tell the tails across parameters" in text
    assert text.count("no verdict") >= 4  # in the rates of both directions


def test_verdicts_stand_beside_those_of_gaussian_series(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(20, 40), nn.Tanh(), nn.Linear(40, 3))
    problem = gl.Problem(model, cross_entropy, (torch.randn(64, 20), torch.randint(3, (64,))))
    run = gl.analyze(problem, iterations=300, batch_size=4)
    run.save(tmp_path / "run")
    across, along = run.tests["dimension"], run.tests["iteration"]
    assert (across.no_verdict, along.no_verdict_calibrated) == (None, None)
    text = " ".join(str(run).split())
    assert f"power-law tails in {100 * across.power_law_rate:.1f}% of 300 iterations (<1% of Gaussian" in text
    calibrated = f"{100 * along.power_law_rate_calibrated:.1f}% of 963 parameters at the calibrated level"
    assert f"power-law tails in {calibrated} (11% of Gaussian series pass too), no verdict at the published" in text
    assert "44% of Gaussian series of 300 values pass too at K = 100" in text
    page = html.unescape((tmp_path / "run/report.html").read_text())
    assert f'<td data-label="share">{100 * across.power_law_rate:.1f}%</td>' in page
    assert '<td data-label="by chance">11%</td>' in page
    record = json.loads((tmp_path / "run/analysis.json").read_text())["tests"]["iteration"]
    assert record["power_law_rate_of_gaussian"] == along.power_law_rate_of_gaussian > 0.2
    assert record["no_verdict"] == along.no_verdict


def test_the_summary_fits_100_columns(analysis):
    assert max(len(line) for line in str(analysis).splitlines()) <= 100
