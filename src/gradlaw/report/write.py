"""A run directory, whole: the data, the figures and the page that shows them; and pages and figures by themselves."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from gradlaw.analysis.files import Files, data_files, names_of_data, write_files
from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.run_directory import RunDirectory, claimed, manifest_of_run, update_manifest
from gradlaw.atomic import write_whole
from gradlaw.errors import InputError, choice
from gradlaw.manifest import read_manifest, write_manifest
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
    with claimed(directory) as place:
        place.check_free(force)
        write_claimed(result, place, progress)


def write_claimed(result: AnalysisResult, place: RunDirectory, progress: Progress) -> None:
    """Write everything into a directory that this process holds; the run that is there stays until all is written."""
    files, folder = data_files(result), place.start()
    write_files(folder, files, "write data", progress)
    write_manifest(folder, files)
    finish_run(result, place, folder, progress)


def finish_run(result: AnalysisResult, place: RunDirectory, folder: Path, progress: Progress) -> None:
    """Draw figures and page of a run whose data are whole, and have the run in its place.

    Args:
        result: as the data have it.
        place: of the run.
        folder: with the data, see :meth:`~gradlaw.analysis.run_directory.RunDirectory.unfinished`.
        progress: where to show it.
    """
    shown = _shown_files(result)
    write_files(folder, shown, "draw figures and page", progress)
    data = read_manifest(folder, f"remove {folder} and run again")
    write_manifest(folder, shown, None if data is None else data.files)
    if folder == place.staging:
        place.publish([*names_of_data(), *_names_of_shown()])


def write_page(result: AnalysisResult, path: Path) -> None:
    """Write the report, one HTML page that needs nothing else."""
    page = Renderer(result).page()
    with _listing(path.parent, [path]):
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
    with _listing(folder.parent, [path for path, _, _ in paths]):
        for path, name, kind in paths:
            write_whole(path, partial(_write_image, renderer, name, kind), "figures before it are kept")
    return [path for path, _, _ in paths]


@contextmanager
def _listing(directory: Path, paths: Sequence[Path]) -> Iterator[None]:
    """Have the manifest of a run list the files that are written inside; what is no part of a run stays unlisted."""
    if manifest_of_run(directory) is None:
        yield
        return
    with claimed(directory):
        yield
        update_manifest(directory, [str(path.relative_to(directory)) for path in paths])


def _names_of_shown() -> list[str]:
    """The figures and pages that a run may have, of whatever version."""
    charts = [chart.name for section in known_sections() for chart in section.charts]
    names = charts + [drawing.name for section in known_sections() for drawing in section.drawings] + FORMER
    return [PAGE, *(f"{FIGURES}/{name}.{kind}" for name in names for kind in EVERY_KIND)]


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
