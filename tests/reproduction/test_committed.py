"""The committed pages are made of the committed results, all of them; and the committed networks are in the package."""

import io
import re
import tomllib
from collections import Counter
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import gradlaw
from gradlaw.cli.main import main
from gradlaw.report.figure import encode_figure
from gradlaw.reproduction.central import central_table
from gradlaw.reproduction.draw import draw
from gradlaw.reproduction.experiment import history
from gradlaw.reproduction.forensics import FIGURE, Inquiry, write_forensics
from gradlaw.reproduction.formats import comma_separated
from gradlaw.reproduction.likelihood import total
from gradlaw.reproduction.measurement import Resolver
from gradlaw.reproduction.output import Report, claims_json, report
from gradlaw.reproduction.page import page
from gradlaw.reproduction.results import TABLE, ResultTable
from gradlaw.reproduction.selection import ALL, gather, select
from gradlaw.reproduction.standing import AGREES, AS_RANDOM, NOT_RUN, TOO_FEW, best
from gradlaw.reproduction.trained_models import PACKAGED, TrainedModels
from gradlaw.reproduction.xie2023.forensics import FORENSICS
from gradlaw.reproduction.xie2023.networks import LENET, LENET_CIFAR
from gradlaw.reproduction.xie2023.paper import PAPER

ROOT = Path(__file__).parents[2]
RESULTS, PAGE, TABLES, FIGURES = (
    Path("docs/reproduction") / name for name in ("results", "../reproduction.md", "tables", "figures")
)


@pytest.fixture(scope="module")
def found() -> Report:
    """What ``gradlaw reproduce --from-results`` finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        results, selection = ResultTable(RESULTS), select(PAPER, [ALL])
        evidence = gather(selection, results, results.seeds, Resolver(results.profile, TrainedModels(Path("nowhere"))))
        evidence = replace(evidence, reasons=results.why_missing(evidence.measurements.values()))
        return report(results.profile, results.seeds, selection, evidence)


def test_every_committed_result_is_shown(found: Report) -> None:
    results = ResultTable(ROOT / RESULTS)
    assert results.unused(found.evidence.measurements.values()) == []
    selected = {found.evidence.measurements[experiment, seed] for experiment in found.selection.experiments
                for seed in found.seeds}  # fmt: skip
    shown = sum(m in results for m in selected)
    used = sum(m in results for m in set(found.evidence.measurements.values()))  # random counterparts too
    assert used == len(pd.read_csv(ROOT / RESULTS / TABLE, usecols=["provenance.commit"]).dropna())
    assert f"- {shown} measurements" in (ROOT / PAGE).read_text()


def test_the_page_says_what_the_results_say(found: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    committed = (ROOT / PAGE).read_text()
    assert page(found) == committed
    assert f"seeds {', '.join(map(str, found.seeds))}\n" in committed


def test_the_tables_say_what_the_results_say(found: Report) -> None:
    for table in found.tables:
        rows = [(*row, claims, "paper") for row, claims in zip(table.rows, table.claims, strict=True)]
        text = comma_separated((*table.header, "claims", "profile"), rows)
        assert (ROOT / TABLES / f"table{table.table.number:02}.csv").read_text() == text


def test_the_claims_say_what_the_results_say(found: Report) -> None:
    assert (ROOT / TABLES / "claims.json").read_text() == claims_json(found)


def test_every_figure_is_committed(found: Report) -> None:
    figures = {path.name for path in (ROOT / FIGURES).iterdir()}
    assert figures == {f"{spec.name}.png" for spec in found.selection.figures} | {FIGURE.name}


@pytest.mark.parametrize("name", ["fig1", "fig2", "fig6", "fig16", "theorem1"])  # every kind of series, thinned or not
def test_the_figures_show_what_the_results_say(found: Report, name: str) -> None:
    pinned = re.search(r"^matplotlib==(\d+\.\d+)\.", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    if not matplotlib.__version__.startswith(f"{pinned[1]}."):
        pytest.skip(f"the figures were drawn by matplotlib {pinned[1]}, whose letters are of another size")
    figure = draw(PAPER, PAPER.figures[name], found.evidence, f"profile {found.profile.name}")
    assert figure is not None
    made = Image.open(io.BytesIO(encode_figure(figure, "png", "")))
    assert _difference(made, ROOT / FIGURES / f"{name}.png") < 1


def _difference(made: Image.Image, path: Path) -> float:
    """In grey levels of 255: other versions smooth letters differently."""
    with Image.open(path) as committed:
        assert made.size == committed.size
        return float(np.abs(np.asarray(made.convert("L"), float) - np.asarray(committed.convert("L"), float)).mean())


def test_the_page_of_places_says_what_the_results_say(
    found: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    page, figure = write_forensics(found, FORENSICS, tmp_path / "page.md")
    assert page.read_text() == Path("docs/forensics.md").read_text()
    assert _difference(Image.open(figure), Path("docs") / FIGURE) < 1


def _findings() -> str:
    return " ".join((ROOT / "docs/findings.md").read_text().split())


def test_the_findings_say_the_number_of_seeds(found: Report) -> None:
    seeds = Counter(len(found.evidence.results(experiment)) for experiment in found.selection.experiments)
    measured = seeds.total() - seeds[0]
    assert set(seeds) == {0, 1, 3, 10}
    assert (
        f"Three seeds of most rows ({seeds[3]} of {measured} studies), ten of random LeNet at B = 1 and 10 and of the "
        f"random FCN ({seeds[10]}), one of the rest ({seeds[1]})"
    ) in _findings()
    assert not re.search(r"\bone seed,", _findings())


def test_the_findings_have_the_table_of_central_studies(found: Report) -> None:
    assert central_table(PAPER.central, found.evidence) in (ROOT / "docs/findings.md").read_text()
    spectra = {
        name: [result.record["spectra"]["covariance"] for result in found.evidence.results(experiment)]
        for name, experiment in PAPER.central.items()
    }
    refused = [s for some in spectra.values() for s in some if s["fit"] is None]
    assert [s["rank"] < 1000 and s["outliers"] is None for s in refused] == [True]  # LeNet at B = 1 with one seed
    fitted = {name: [s for s in some if s["fit"]] for name, some in spectra.items()}
    assert {s["outliers"] for name, some in fitted.items() if "trained" in name for s in some} == {0}
    passing = {name: {s["fit"]["is_power_law_calibrated"] for s in some} for name, some in fitted.items()}
    assert passing["FCN, BatchNorm, ReLU, MNIST, B = 10, random"] == {False}
    assert passing["FCN, BatchNorm, ReLU, MNIST, B = 10, trained"] == {False}
    assert passing["FCN, ReLU, BatchNorm, MNIST, B = 10, trained"] == {True}
    assert passing["LeNet, MNIST, B = 1, trained"] == {False}
    assert passing["LeNet, CIFAR-10, B = 100, trained"] == {True}
    assert passing["LeNet, CIFAR-10, B = 1, trained"] == {False}


def test_the_findings_count_as_the_page_of_places_does(found: Report) -> None:
    inquiry = Inquiry.of(found)
    rows = [s for s in best(inquiry.standings) if s.pretrained]
    placed = [s for s in rows if s.outcome not in (NOT_RUN, TOO_FEW)]
    outcomes = Counter(s.outcome for s in placed)
    ratio, counted = total(inquiry.likelihoods)
    ratios = [line.ratio for line in inquiry.likelihoods if line.ratio is not None and line.copy_of is None]
    nearer = sum(each > 0 for each in ratios)
    assert len(ratios) == counted
    assert (
        f"of {len(placed)} pretrained rows that were measured, {outcomes[AGREES]} agrees with the trained network and "
        f"{outcomes[AS_RANDOM]} agree with the same network at random. Of {counted} different rows {nearer} are "
        "nearer to random by likelihood, those of the three linear networks among them, and "
        f"{counted - nearer} to trained; the sum, {ratio:.0f} nats,"
    ) in _findings()
    linear = [line for line in inquiry.likelihoods if line.row.table == 9]
    assert len(linear) == 3
    assert all(line.ratio is not None and line.ratio > 0 for line in linear)


def test_the_findings_say_what_ten_seeds_say(found: Report) -> None:
    for network, name in ((LENET, "MNIST"), (LENET_CIFAR, "CIFAR-10")):
        spectra = [r.record["spectra"] for r in found.evidence.results(history(network, 1))]
        d_ks = [spectrum["covariance"]["fit"]["d_ks"] for spectrum in spectra]
        assert len(d_ks) == 10
        assert max(d_ks) < 0.0214  # published: 0.0220 to 0.0226 and 0.0214
        assert f"on {name} ({min(d_ks):.4f} to {max(d_ks):.4f})" in _findings()
        assert {spectrum["covariance"]["outliers"] for spectrum in spectra} == {9}
        assert all(spectrum["covariance"]["fit"]["is_power_law_calibrated"] for spectrum in spectra)


def test_the_trained_networks_are_part_of_the_package() -> None:
    assert PACKAGED.is_relative_to(Path(gradlaw.__file__).parent)
    files = [path.relative_to(PACKAGED.parent) for path in PACKAGED.iterdir()]
    assert len(files) == 2 * len(list(PACKAGED.glob("*.safetensors"))) > 40
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["gradlaw"]
    assert [str(file) for file in files if not any(fnmatch(str(file), pattern) for pattern in patterns)] == []


def test_a_folder_without_trained_networks_is_not_taken_in_silence(tmp_path: Path, capsys) -> None:
    arguments = ["reproduce", "table1", "--offline", "--store", str(tmp_path / "store"), "--checkpoints"]
    assert main([*arguments, str(tmp_path / "nowhere")]) == 2
    assert "no trained networks at" in capsys.readouterr().err
