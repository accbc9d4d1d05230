"""Charts as data, drawn with Matplotlib, laid over one another and written as files."""

import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

import gradlaw as gl
from gradlaw.cli.main import main
from gradlaw.report.chart import POINTS, Line, Panel, Points, as_data, by_rank, fitted_line
from gradlaw.report.compared import differing_settings, side_by_side
from gradlaw.report.figure import KINDS
from gradlaw.report.marked import marked, without_folders
from gradlaw.report.overlay import groups_of, overlaid
from gradlaw.report.palette import DARK, LIGHT
from gradlaw.report.plots import charts_of
from hostile import HOSTILE


def test_a_fitted_line_stays_inside_what_it_was_fitted_to():
    values = np.sort(np.random.default_rng(0).lognormal(0, 3, 2000))[::-1]
    fit = gl.fit_power_law(values, k=500)
    (line,) = fitted_line(fit, values[0], "covariance")
    assert line.x[-1] == 500
    assert line.y[-1] == pytest.approx(fit.lambda_min)
    assert line.y[0] <= values[0] * (1 + 1e-9)
    # On the law by rank, which the maximum-likelihood exponent gives.
    np.testing.assert_allclose(np.log(line.y[0] / line.y[1]), fit.s * np.log(line.x[1] / line.x[0]))
    steep = replace(fit, s=6.0)
    (line,) = fitted_line(steep, values[0], "covariance")
    assert line.y[0] == pytest.approx(values[0])  # and not 500^6 times the smallest
    assert fitted_line(None, 1.0, "covariance") == []
    assert fitted_line(replace(fit, degenerate=True), 1.0, "covariance") == []


def test_long_series_are_thinned_evenly_in_log_rank_and_say_so():
    values = np.arange(100_000, 0, -1.0)
    (points,) = by_rank(values, "a", "covariance", describe=lambda place: f"place {place}")
    assert len(points.x) <= POINTS
    assert (points.x[0], points.x[-1], points.of) == (1, 100_000, 100_000)
    np.testing.assert_array_equal(points.y, values[points.x - 1])
    assert points.hover[-1] == "place 99999"
    steps = np.diff(np.log(points.x[points.x > 1000]))
    assert steps.max() < 1.2 * steps.min()
    panel = Panel("a", "A", "rank", "value", (points,))
    assert panel.thinned.startswith(f"Drawn: {len(points.x)} of 100,000 values")
    assert by_rank(np.zeros(5), "a", "covariance") == []


def test_data_of_a_panel_are_plain(random_run):
    for chart in charts_of(random_run).values():
        for panel in chart.panels:
            data = as_data(panel)
            for layer, drawn in zip(data["layers"], panel.layers, strict=True):
                assert layer["kind"] == drawn.kind
                assert layer["colour"] in LIGHT
                if isinstance(drawn, Points):
                    np.testing.assert_allclose(layer["y"], drawn.y, rtol=1e-4)


def test_every_panel_is_drawn_on_axes_that_are_given(random_run):
    figure = Figure()
    names = random_run.plot.names
    assert {"spectrum", "eigengaps", "controls", "layers", "noise", "hill"} <= set(names)
    for name, axes in zip(names, np.ravel(figure.subplots(4, 5)), strict=False):
        before = dict(matplotlib.rcParams)
        assert random_run.plot(name, axes) is axes
        assert dict(matplotlib.rcParams) == before
    axes = figure.add_subplot()
    assert random_run.plot.spectrum(axes) is axes
    (line,) = [line for line in axes.lines if line.get_label() == "covariance"]
    assert line.get_color() == LIGHT["covariance"]
    spectrum = random_run.spectra["covariance"]
    np.testing.assert_allclose(line.get_ydata()[0], spectrum.eigenvalues[0])
    # The fitted lines do not stretch the axes.
    assert axes.get_ylim()[1] < 10 * random_run.spectra["second moment"].eigenvalues[0]
    assert random_run.plot.gradients(figure.add_subplot()).get_legend() is not None
    assert random_run.plot.distances("iteration", figure.add_subplot()).get_xlabel() == "d_KS"


def test_what_was_not_measured_is_refused_by_name(trained_run):
    with pytest.raises(gl.InputError, match=r"must be one of .*spectrum"):
        trained_run.plot.controls()


def test_one_colour_a_quantity_on_light_and_on_dark():
    assert set(LIGHT) == set(DARK)
    for name in LIGHT:
        if name != "degenerate":  # a filled bar beside others, with a legend
            assert _contrast(LIGHT[name], "#ffffff") >= 3, name
            assert _contrast(DARK[name], "#181d25") >= 3, name


def _contrast(colour: str, ground: str) -> float:
    dark, light = sorted((_luminance(colour), _luminance(ground)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_seeds_of_one_setting_are_averaged_and_nothing_else(seeds, random_run, trained_run):
    runs = {"a": seeds[0], "other": random_run, "b": seeds[1], "c": seeds[2]}
    groups = groups_of(runs)
    assert [group.runs for group in groups] == [("a", "b", "c"), ("other",)]
    again = groups_of({"a": seeds[0], "b": seeds[1], "same seed": seeds[1]})
    assert [len(group.runs) for group in again] == [1, 1, 1]

    charts = {name: charts_of(run)["spectra"] for name, run in runs.items()}
    panel = overlaid(groups, charts).panels[0]
    mean = next(layer for layer in panel.layers if isinstance(layer, Points))
    at = [run.spectra["covariance"].eigenvalues[mean.x - 1] for run in seeds]
    np.testing.assert_allclose(mean.y, np.exp(np.mean(np.log(at), axis=0)), rtol=1e-3)
    table = side_by_side(runs, groups)
    assert table.header == ("statistic", "a (mean of 3 seeds)", "other")
    (row,) = [row for row in table.rows if row[0] == "dimension-wise power-law, published"]
    rates = [run.tests["dimension"].power_law_rate for run in seeds]
    assert row[1].startswith(f"{100 * np.mean(rates):.1f}% ± {100 * np.std(rates, ddof=1):.1f}%")
    differs = {row[0]: row[1:] for row in differing_settings(runs).rows}
    assert differs["settings.seed"] == ("0", "0", "1", "2")
    assert differs["settings.iterations"] == ("120", "300", "120", "120")
    assert "problem.model" not in differs
    assert "problem.model" in {row[0] for row in differing_settings({"a": random_run, "b": trained_run}).rows}


def test_runs_keep_their_colour_in_every_panel(random_run, trained_run):
    runs = {"random": random_run, "trained": trained_run}
    for name in ("spectra", "gradients", "distances"):
        chart = overlaid(groups_of(runs), {run: charts_of(r)[name] for run, r in runs.items()})
        for panel in chart.panels:
            for layer in panel.layers:
                assert layer.colour == ("run 0" if layer.label.startswith("random") else "run 1")
                assert isinstance(layer, Line) or layer.label in runs


def test_figures_of_a_run_are_written_by_command(random_run, tmp_path, capsys):
    random_run.save(tmp_path / "run")
    assert (
        main(["figures", str(tmp_path / "run"), "--format", "pdf", "--format", "svg", "--output", str(tmp_path)]) == 0
    )
    written = capsys.readouterr().out.split()
    assert len(written) == 2 * len(charts_of(random_run))
    assert (tmp_path / "spectra.pdf").read_bytes().startswith(b"%PDF")
    before = (tmp_path / "spectra.svg").read_bytes()
    assert main(["figures", str(tmp_path / "run"), "--format", "svg", "--output", str(tmp_path)]) == 0
    assert (tmp_path / "spectra.svg").read_bytes() == before
    assert "Gradient spectra" in before.decode()  # letters, which can be selected
    with pytest.raises(gl.InputError, match=f"must be one of {', '.join(KINDS)}"):
        random_run.figures(tmp_path, ["eps"])


def test_several_runs_by_command(random_run, trained_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random_run.save("x/run")
    trained_run.save("y/run")
    assert main(["report", "x/run", "y/run"]) == 0
    assert capsys.readouterr().out == "report: report.html\n"
    page = (tmp_path / "report.html").read_text()
    assert "x/run: net on clouds" in page
    assert str(tmp_path) not in page
    assert main(["report", "x/run", "x/run"]) == 2
    assert "is given twice" in capsys.readouterr().err


def test_names_in_figures_are_letters_and_no_mathematics(hostile_run, tmp_path):
    for path in hostile_run.figures(tmp_path, ["svg", "pdf"]):
        assert path.stat().st_size > 1000
    svg = (tmp_path / "layers.svg").read_text()
    assert "<script" not in svg
    assert r"$\frac" not in HOSTILE[:10]
    axes = hostile_run.plot.layers(Figure().add_subplot())
    assert any(r"\$" in label.get_text() for label in axes.get_yticklabels()) or "…" in svg


def test_text_of_the_page_is_text():
    said = marked(f"{HOSTILE} is degenerate, calibrated and degenerate")
    assert "<script>" not in said
    assert "&lt;script&gt;" in said
    assert "\x1b" not in said
    assert said.count('href="#term-degenerate"') == 1
    assert said.count('href="#term-calibrated"') == 1
    assert "term" not in marked("uncalibrated semi-degenerate")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/someone/data/mnist", "…/mnist"),
        ("stored in /tmp/a/b, and read", "stored in …/b, and read"),
        ("~/runs/a", "…/a"),
        ("C:\\Users\\me\\data", "…/data"),
        ("trace/n and 1/2", "trace/n and 1/2"),
        ("ylecun/mnist", "ylecun/mnist"),
    ],
)
def test_folders_of_the_machine_are_left_out(text, shown):
    assert without_folders({"a": [text]}) == {"a": [shown]}


def test_a_page_has_no_folder_of_the_machine(random_run, tmp_path):
    provenance = random_run.provenance | {"problem": random_run.provenance["problem"] | {
        "data": random_run.provenance["problem"]["data"] | {"name": "/home/someone/secret/mnist"}}}  # fmt: skip
    run = replace(random_run, provenance=provenance, notices=["read from /home/someone/secret/mnist"])
    run.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "secret" not in page
    assert re.search("<h1>net on mnist", page)
