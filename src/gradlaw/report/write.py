"""A run directory, whole: the data, the figures and the page that shows them."""

from functools import partial
from pathlib import Path

from gradlaw.analysis.files import Files, check_free, data_files, forget_run, write_files
from gradlaw.analysis.result import AnalysisResult
from gradlaw.progress import Progress
from gradlaw.report.render import KINDS, Renderer
from gradlaw.report.sections import known_sections

PAGE = "report.html"


def write_run(result: AnalysisResult, directory: Path, force: bool, progress: Progress) -> None:
    """Write everything; see :meth:`gradlaw.Analysis.save`."""
    check_free(directory, force)
    (directory / "figures").mkdir(exist_ok=True)
    files = data_files(result) | _shown_files(result)
    forget_run(directory)
    names = [drawing.name for section in known_sections() for drawing in section.drawings]
    for name in (PAGE, *(f"figures/{name}.{kind}" for name in names for kind in KINDS)):
        (directory / name).unlink(missing_ok=True)
    write_files(directory, files, progress)


def write_page(result: AnalysisResult, path: Path) -> None:
    """Write the report, one HTML page that needs nothing else."""
    path.write_text(Renderer(result).page(), encoding="utf-8")


def _shown_files(result: AnalysisResult) -> Files:
    renderer = Renderer(result)
    files: Files = {
        f"figures/{name}.{kind}": partial(_write_image, renderer, name, kind) for name, kind in renderer.images
    }
    return files | {PAGE: lambda path: path.write_text(renderer.page(), encoding="utf-8")}


def _write_image(renderer: Renderer, name: str, kind: str, path: Path) -> None:
    path.write_bytes(renderer.image(name, kind))
