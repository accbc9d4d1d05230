"""How a section is shown: its sentences, tables and figures, as data that page and terminal lay out."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

from gradlaw.analysis.result import AnalysisResult
from gradlaw.errors import InputError
from gradlaw.report.chart import ChartMaker
from gradlaw.report.finding import Finding

if TYPE_CHECKING:  # heavy: loaded for those who draw
    from matplotlib.figure import Figure

Rows = list[tuple[str, ...]]
Kind = TypeVar("Kind", bound="type[ShownSection]")


class Table(NamedTuple):
    """A table of cells."""

    title: str
    header: tuple[str, ...]
    rows: Rows
    note: str = ""  # below it on the page, as HTML


class Drawing(NamedTuple):
    """A figure of a section that no :class:`~gradlaw.report.chart.Chart` can express, drawn by its own code.

    The page shows it as it is, and does not lay it over those of other runs.

    Attributes:
        name: of its files.
        draw: makes it.
        alt: what is seen, for those who do not see it.
        caption: below it on the page, as HTML.
        single: one panel, which is not drawn over the whole width.
    """

    name: str
    draw: "Callable[[AnalysisResult], Figure]"
    alt: str
    caption: str
    single: bool = False


class ShownSection:
    """How the section of the same name is shown; a subclass overrides what it has.

    It is asked only where the section has a result, in ``analysis.sections[name]``, and stands in the place that the
    measuring section has. One that shows something else of another section names it in ``measured``. The page shows the
    findings on its first screen; then, section by section, the sentences of sections without findings, ``summary``,
    ``charts``, ``drawings``, and ``tables`` and ``details`` folded. The terminal shows sentences, ``terminal`` and
    ``remarks``.

    Attributes:
        name: of the section.
        measured: of the section that measures what it shows, if that has another name.
        heading: of its part of the page.
        place: on the page: the smaller the further up; the terminal has the order of measuring.
        folded: whether its part of the page is closed until it is asked for.
        charts: what makes its figures, each of a name of its own.
        drawings: its figures that are drawn by code of their own.
    """

    name: ClassVar[str]
    measured: ClassVar[str | None] = None
    heading: ClassVar[str] = ""
    place: ClassVar[int] = 50
    folded: ClassVar[bool] = False
    charts: ClassVar[tuple[ChartMaker, ...]] = ()
    drawings: ClassVar[tuple[Drawing, ...]] = ()

    def findings(self, analysis: AnalysisResult) -> list[Finding]:
        """What was found, in plain words, by rules that are written down beside them."""
        return []

    def sentences(self, analysis: AnalysisResult) -> list[str]:
        """What was found, at the top of the terminal."""
        return []

    def summary(self, analysis: AnalysisResult) -> list[Table]:
        """Tables that are always seen."""
        return []

    def tables(self, analysis: AnalysisResult) -> list[Table]:
        """Tables behind the figures, folded on the page."""
        return []

    def details(self, analysis: AnalysisResult) -> list[Table]:
        """More of them."""
        return []

    def terminal(self, analysis: AnalysisResult) -> list[Table]:
        """Tables of the terminal, which is 100 columns wide."""
        return []

    def remarks(self, analysis: AnalysisResult) -> list[str]:
        """What the tables of the terminal are to be read against."""
        return []


REGISTERED: dict[str, ShownSection] = {}


def register(section: Kind) -> Kind:
    """Show the section of this name so from now on; a decorator of the class.

    Raises:
        InputError: it is shown already.
    """
    if section.name in REGISTERED:
        raise InputError(f"the section {section.name!r} is shown already")
    REGISTERED[section.name] = section()
    return section
