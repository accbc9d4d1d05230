"""An analysis of sketched gradients: what it says, that it says it is approximate, and what it does not say."""

import json

import numpy as np
import pytest

import gradlaw as gl
from gradlaw.cli.main import main
from gradlaw.same_run import differences
from problems import two_layers

SETTINGS = {"iterations": 80, "batch_size": 4, "seed": 1}


@pytest.fixture(scope="module")
def problem():
    return two_layers()


@pytest.fixture(scope="module")
def sketched(problem):
    return gl.analyze(problem, sketch=1024, **SETTINGS)


@pytest.fixture(scope="module")
def whole(problem):
    return gl.analyze(problem, **SETTINGS)


def test_tests_across_dimensions_are_those_of_whole_gradients(sketched, whole):
    assert list(sketched.tests) == ["dimension"]
    for rate in ("power_law_rate", "power_law_rate_calibrated", "gaussian_rate"):
        assert getattr(sketched.tests["dimension"], rate) == getattr(whole.tests["dimension"], rate)
    np.testing.assert_allclose(sketched.tests["dimension"].d_ks, whole.tests["dimension"].d_ks, rtol=1e-5)
    assert np.array_equal(sketched.losses, whole.losses)


def test_the_spectra_are_those_of_whole_gradients_within_their_intervals(sketched, whole):
    table = sketched.sections["approximate"]
    for matrix, spectrum in whole.spectra.items():
        of_matrix = table[table["matrix"] == matrix]
        values = of_matrix[of_matrix["statistic"] == "eigenvalue"]
        exact = spectrum.eigenvalues[: len(values)]
        assert np.mean((values["low"] <= exact) & (exact <= values["high"])) > 0.85
        low, high = sketched.interval_of("s", matrix)
        assert low <= spectrum.power_law(len(values)).s <= high


def test_it_says_everywhere_that_it_is_approximate(sketched, tmp_path):
    sketched.save(tmp_path / "run")
    record = json.loads((tmp_path / "run/analysis.json").read_text())
    page = (tmp_path / "run/report.html").read_text()
    eigenvalues = sketched.tables()["eigenvalues"]
    assert record["approximate"] is True
    assert record["provenance"]["settings"]["sketch"]["size"] == 1024
    assert all(verdict["approximate"] for verdict in record["spectral_verdicts"])
    assert eigenvalues["approximate"].all()
    assert "covariance_eigengap" not in eigenvalues
    assert sketched.to_frame()["approximate"].all()
    assert "approximate" in sketched.to_frame().index[0]
    assert "approximate" in sketched.to_latex()
    assert "approximate (sketches of 1,024 numbers)" in str(sketched).replace("\n", " ")
    assert "approximate" in repr(sketched)
    assert "(approximate)" in sketched._repr_html_()
    assert "Approximate gradient spectra" in page
    assert "approximate (sketches of 1,024 numbers)" in page
    for line in str(sketched).split("\n- ")[1:]:
        assert line.startswith(("Dimension-wise", "Approximate")), line


def test_what_is_read_back_is_the_same(sketched, tmp_path):
    sketched.save(tmp_path / "run")
    again = gl.Analysis.load(tmp_path / "run")
    assert str(again) == str(sketched)
    assert again.sketch_size == 1024
    again.report(tmp_path / "again.html")
    assert gl.verify(tmp_path / "run").damages == ()


def test_what_needs_whole_gradients_is_left_out_and_named(sketched):
    for name in ("examples", "noise", "population", "over_iterations", "controls", "extended"):
        assert sketched.sections[name] is None
    assert sketched.examples == {}
    last = sketched.notices[-1]
    assert "cannot be said from a sketch" in last
    assert all(words in last for words in ("tests across iterations", "eigengaps", "noise", "population"))
    assert sketched.spectral_verdicts()[2].fit is None
    assert "cannot be said from a sketch" in sketched.spectral_verdicts()[2].refused


def test_a_verdict_that_the_interval_leaves_open_is_none(sketched):
    """d_KS of so few iterations is known to no better than the critical distance."""
    verdict = sketched.spectral_verdicts()[1]
    low, high = sketched.interval_of("d_ks")
    assert low < verdict.fit.d_critical_calibrated < high
    assert sketched.is_open(verdict)
    assert sketched.to_frame()["covariance_is_power_law_calibrated"].iloc[0] is None
    spectrum = next(finding for finding in sketched.findings if finding.topic == "Spectrum of the noise")
    assert spectrum.certainty == "no verdict"
    assert "cannot be said" in spectrum.headline
    assert "left open by the sketch" in str(sketched).replace("\n", " ")


def test_the_same_seed_gives_the_same_whatever_the_engine(problem, sketched):
    other = gl.analyze(problem, sketch=1024, engine="loop", **SETTINGS)
    for name in ("second moment", "covariance"):
        np.testing.assert_allclose(
            other.spectra[name].eigenvalues[:26], sketched.spectra[name].eigenvalues[:26], rtol=1e-4
        )


def test_more_iterations_than_the_sketch_has_numbers(problem):
    found = gl.analyze(problem, 300, 4, sketch=256)
    exact = gl.gradient_spectrum(problem, iterations=300, batch_size=4)
    table = found.sections["approximate"]
    values = table[(table["matrix"] == "covariance") & (table["statistic"] == "eigenvalue")]
    assert len(values) == 16
    assert len(found.spectra["covariance"].eigenvalues) == 256
    inside = (values["low"] <= exact.eigenvalues[:16]) & (exact.eigenvalues[:16] <= values["high"])
    assert inside.mean() > 0.85
    assert any("K lowered from 100 to 16" in notice for notice in found.notices)


def test_sketches_in_a_folder_are_read_again(problem, sketched, tmp_path):
    made = [gl.analyze(problem, sketch=1024, store=tmp_path / "store", **SETTINGS) for _ in range(2)]
    for found in made:
        assert np.array_equal(found.spectra["covariance"].eigenvalues, sketched.spectra["covariance"].eigenvalues)
        assert str(found) == str(sketched)


def test_it_is_no_run_of_other_settings(problem, sketched):
    assert differences(sketched, problem, SETTINGS | {"sketch": 1024}) == []
    assert "sketch 1024 instead of 512" in differences(sketched, problem, SETTINGS | {"sketch": 512})
    assert "sketch 1024 instead of None" in differences(sketched, problem, SETTINGS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sketch": 1000}, "power of two"),
        ({"sketch": 100}, "at least 256"),
        ({"sketch": 256, "controls": True}, "controls cannot be said from a sketch"),
        ({"sketch": 256, "extended": True}, "extended cannot be said from a sketch"),
        ({"sketch": 256, "dtype": "float16"}, "dtype cannot be said from a sketch"),
        ({"sketch": 256, "iterations": 5}, "at least 6 iterations"),
    ],
)
def test_what_does_not_go_with_a_sketch_is_refused(problem, settings, message):
    with pytest.raises(gl.InputError, match=message):
        gl.analyze(problem, **(SETTINGS | settings))


def test_approximate_runs_are_not_compared(sketched, whole):
    with pytest.raises(gl.InputError, match="approximate"):
        gl.compare({"whole": whole, "sketch": sketched})


def test_the_command_line(tmp_path, capsys):
    arguments = [
        "analyze",
        "--data",
        "digits",
        "-T",
        "60",
        "--sketch",
        "512",
        "--out",
        str(tmp_path / "run"),
        "--quiet",
    ]
    assert main(arguments) in (None, 0)
    assert "approximate (sketches of 512 numbers)" in capsys.readouterr().out.replace("\n", " ")
    assert gl.Analysis.load(tmp_path / "run").sketch_size == 512
