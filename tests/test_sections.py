"""A statistic is added to an analysis by one class that measures it and one that shows it."""

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn.functional import cross_entropy

import gradlaw as gl
from gradlaw.analysis import section as measuring
from gradlaw.analysis.section import Run, Section, TableSection
from gradlaw.analysis.sections import all_sections
from gradlaw.report import section as showing
from gradlaw.report.section import Drawing, ShownSection, Table
from gradlaw.report.sections import known_sections

NAME = "typical_eigenvalue"


@dataclasses.dataclass(frozen=True)
class TypicalEigenvalue:
    """The median eigenvalue of the covariance over their mean; 1 where all are equal."""

    median_over_mean: float
    eigenvalues: int


class MeasureTypicalEigenvalue(Section[TypicalEigenvalue]):
    name, kind = NAME, TypicalEigenvalue

    def measure(self, run: Run) -> TypicalEigenvalue | None:
        covariance = run.measured["spectra"]["covariance"]
        values = covariance.eigenvalues[: covariance.rank]
        return TypicalEigenvalue(float(np.median(values) / values.mean()), len(values)) if len(values) else None


def _draw(analysis: gl.Analysis) -> Figure:
    figure = Figure(layout="constrained")
    figure.add_subplot().bar([0], [analysis.sections[NAME].median_over_mean])
    return figure


class ShowTypicalEigenvalue(ShownSection):
    name = NAME
    drawings = (Drawing(NAME, _draw, "One bar", "The <b>median</b> eigenvalue over the mean.", single=True),)

    def sentences(self, analysis: gl.Analysis) -> list[str]:
        return [f"The median eigenvalue of the covariance is {self._cell(analysis)} of the mean."]

    def details(self, analysis: gl.Analysis) -> list[Table]:
        return [Table("Typical eigenvalue", ("spectrum", "median < mean"), [("covariance", self._cell(analysis))])]

    def terminal(self, analysis: gl.Analysis) -> list[Table]:
        return self.details(analysis)

    @staticmethod
    def _cell(analysis: gl.Analysis) -> str:
        return f"{analysis.sections[NAME].median_over_mean:.4f}"


@pytest.fixture
def added() -> Iterator[None]:
    before = dict(measuring.REGISTERED), dict(showing.REGISTERED)
    measuring.register(MeasureTypicalEigenvalue)
    showing.register(ShowTypicalEigenvalue)
    yield
    for registered, old in zip((measuring.REGISTERED, showing.REGISTERED), before, strict=True):
        registered.clear()
        registered.update(old)


@pytest.fixture(scope="module")
def problem() -> gl.Problem:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    return gl.Problem(model, cross_entropy, (torch.randn(64, 6), torch.randint(3, (64,))))


def _run(problem: gl.Problem, **settings: object) -> gl.Analysis:
    return gl.analyze(problem, **({"iterations": 40, "batch_size": 4, "k": 15, "gaussian_k": 20} | settings))


@pytest.mark.usefixtures("added")
def test_an_added_statistic_is_in_files_page_and_terminal(problem, tmp_path):
    run = _run(problem)
    values = run.spectra["covariance"].eigenvalues[: run.spectra["covariance"].rank]
    assert run.sections[NAME] == TypicalEigenvalue(np.median(values) / np.mean(values), len(values))

    run.save(tmp_path)
    frame = pd.read_parquet(tmp_path / f"{NAME}.parquet")
    assert frame.to_dict("records") == [
        {"median_over_mean": run.sections[NAME].median_over_mean, "eigenvalues": len(values)}
    ]
    assert json.loads((tmp_path / "analysis.json").read_text())[NAME] is True
    assert (tmp_path / f"figures/{NAME}.png").stat().st_size > 1000
    assert gl.Analysis.load(tmp_path).sections[NAME] == run.sections[NAME]

    cell = f"{run.sections[NAME].median_over_mean:.4f}"
    page = (tmp_path / "report.html").read_text()
    said = re.sub("<a [^>]*>(.*?)</a>", r"\1", page)  # terms are links to the glossary
    assert f"<p>The median eigenvalue of the covariance is {cell} of the mean.</p>" in said
    assert "<h3>Typical eigenvalue</h3>" in page
    assert f'<td data-label="median &lt; mean">{cell}</td>' in page  # cells are text, captions HTML
    assert "<figcaption>The <b>median</b> eigenvalue over the mean.</figcaption>" in page
    assert page.count("data:image/svg+xml;base64,") == 1  # the others are charts, which the page draws itself

    text = str(run)
    assert f"- The median eigenvalue of the covariance is {cell} of the mean." in text
    assert re.search("^Typical eigenvalue *$", text, re.MULTILINE)


@pytest.mark.usefixtures("added")
def test_what_a_section_has_nothing_to_say_of_is_not_shown(problem, tmp_path):
    run = _run(problem)
    run.save(tmp_path)
    none = _run(problem, batch_size=64)  # whole batches have no covariance
    assert none.sections[NAME] is None
    assert "median eigenvalue" not in str(none)
    none.save(tmp_path, force=True)  # and nothing is left of the run before
    assert not list(tmp_path.rglob(f"{NAME}*"))
    assert gl.Analysis.load(tmp_path).sections[NAME] is None


def test_a_run_from_before_a_section_was_added_loads_without_it(problem, tmp_path, request):
    before = _run(problem)
    before.save(tmp_path)
    request.getfixturevalue("added")
    loaded = gl.Analysis.load(tmp_path)
    assert loaded.sections[NAME] is None
    assert str(loaded) == str(before)


def test_a_run_that_an_earlier_version_saved():
    folder = Path(__file__).parent / "saved/format-2"  # with depth=True, controls=True; without figures and page
    loaded = gl.Analysis.load(folder)
    assert str(loaded).startswith((folder / "summary.txt").read_text().rstrip())
    assert "wrote no manifest.json" in loaded.notices[-1]
    assert loaded.extended.layers["name"].nunique() == 6  # the model, four tensors and one type of layer
    assert list(loaded.controls) == ["isotropic", "permuted", "diagonal"]
    newer = ["accuracy", "approximate", "population", "two_halves"]
    assert [section for section, result in loaded.sections.items() if result is None] == newer


def test_a_run_with_a_section_that_this_version_lacks_loads_without_it(problem, tmp_path, request):
    request.getfixturevalue("added")
    _run(problem).save(tmp_path)
    del measuring.REGISTERED[NAME], showing.REGISTERED[NAME]
    assert NAME not in gl.Analysis.load(tmp_path).sections


def test_a_table_as_the_result(problem, tmp_path, request):
    request.getfixturevalue("added")

    class LargestEigenvalues(TableSection):
        name = "largest_eigenvalues"

        def measure(self, run: Run) -> pd.DataFrame:
            return pd.DataFrame({name: s.eigenvalues[:3] for name, s in run.measured["spectra"].items()})

    measuring.register(LargestEigenvalues)  # and shown by nothing
    run = _run(problem)
    run.save(tmp_path)
    pd.testing.assert_frame_equal(gl.Analysis.load(tmp_path).sections["largest_eigenvalues"],
                                  run.sections["largest_eigenvalues"])  # fmt: skip


def test_names_are_taken_once():
    with pytest.raises(gl.InputError, match="a section 'noise' already"):
        measuring.register(type("Again", (TableSection,), {"name": "noise", "measure": lambda self, run: None}))
    with pytest.raises(gl.InputError, match="'noise' is shown already"):
        showing.register(type("Again", (ShownSection,), {"name": "noise"}))


def test_every_section_is_kept_and_shown_under_names_of_its_own():
    sections = all_sections()
    assert [section.name for section in sections] == [
        "accuracy", "tests", "examples", "approximate", "spectra", "controls", "population", "two_halves", "noise",
        "over_iterations", "extended"]  # fmt: skip
    assert {section.measured or section.name for section in known_sections()} == {section.name for section in sections}
    tables = [table for section in sections for table in section.tables]
    figures = [figure.name for section in known_sections() for figure in (*section.charts, *section.drawings)]
    assert len(set(tables)) == len(tables) == 16
    assert len(set(figures)) == len(figures) == 11
