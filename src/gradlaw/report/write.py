"""A run directory, whole: the data, the figures and the page that shows them; and pages and figures by themselves."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from gradlaw.analysis.files import Files, check_free, data_files, forget_run, write_files
from gradlaw.analysis.result import AnalysisResult
from gradlaw.atomic import write_whole
from gradlaw.errors import InputError, choice
from gradlaw.progress import Progress
from gradlaw.report.figure import KINDS as EVERY_KIND
from gradlaw.report.overlay import Runs
from gradlaw.report.page import render_comparison
from gradlaw.report.render import KINDS, Renderer
from gradlaw.report.section import Table
from gradlaw.report.sections import known_sections

PAGE = "report.html"
FIGURES = "figures"
FORMER = ["gaussianity"]  # figures of earlier versions


def write_run(result: AnalysisResult, directory: Path, force: bool, progress: Progress) -> None:
    """Write everything; see :meth:`gradlaw.Analysis.save`."""
    check_free(directory, force)
    (directory / FIGURES).mkdir(exist_ok=True)
    files = data_files(result) | _shown_files(result)
    forget_run(directory)
    charts = [chart.name for section in known_sections() for chart in section.charts]
    names = charts + [drawing.name for section in known_sections() for drawing in section.drawings]
    names += FORMER
    for name in (PAGE, *(f"{FIGURES}/{name}.{kind}" for name in names for kind in EVERY_KIND)):
        (directory / name).unlink(missing_ok=True)
    write_files(directory, files, progress)


def write_page(result: AnalysisResult, path: Path) -> None:
    """Write the report, one HTML page that needs nothing else."""
    page = Renderer(result).page()
    write_whole(path, page)


def write_comparison(runs: Runs, path: Path, tables: Sequence[Table] = ()) -> None:
    """Write one page of several runs; see :func:`gradlaw.report.page.render_comparison`."""
    page = render_comparison(runs, tables)
    write_whole(path, page)


def write_figures(result: AnalysisResult, folder: Path, kinds: Sequence[str]) -> list[Path]:
    """Write every figure in each format; returns their paths.

    Raises:
        InputError: a format that there is not, or none.
    """
    kinds = [choice(kind, "format", EVERY_KIND) for kind in kinds]
    if not kinds:
        raise InputError(f"no format: give some of {', '.join(EVERY_KIND)}")
    folder.mkdir(parents=True, exist_ok=True)
    renderer = Renderer(result)
    paths = [(folder / f"{name}.{kind}", name, kind) for name in renderer.names for kind in kinds]
    for path, name, kind in paths:
        write_whole(path, partial(_write_image, renderer, name, kind), "figures before it are kept")
    return [path for path, _, _ in paths]


def _shown_files(result: AnalysisResult) -> Files:
    renderer = Renderer(result)
    files: Files = {
        f"{FIGURES}/{name}.{kind}": partial(_write_image, renderer, name, kind)
        for name in renderer.names
        for kind in KINDS
    }
    return files | {PAGE: lambda path: path.write_text(renderer.page(), encoding="utf-8")}


def _write_image(renderer: Renderer, name: str, kind: str, path: Path) -> None:
    path.write_bytes(renderer.image(name, kind))
