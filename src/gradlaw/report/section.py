"""How a section is shown: its sentences, tables and figures, as data that page and terminal lay out."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

from gradlaw.analysis.result import AnalysisResult
from gradlaw.errors import InputError

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
    """A figure of a section.

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
    measuring section has. The page shows, section by section: sentences; ``summary``; ``tables`` and ``drawings``;
    ``details``. The terminal shows sentences, ``terminal`` and ``remarks``.

    Attributes:
        name: of the section.
        drawings: its figures.
    """

    name: ClassVar[str]
    drawings: ClassVar[tuple[Drawing, ...]] = ()

    def sentences(self, analysis: AnalysisResult) -> list[str]:
        """What was found, at the top of page and terminal."""
        return []

    def summary(self, analysis: AnalysisResult) -> list[Table]:
        """Tables right under the sentences."""
        return []

    def tables(self, analysis: AnalysisResult) -> list[Table]:
        """Tables beside the figures."""
        return []

    def details(self, analysis: AnalysisResult) -> list[Table]:
        """Tables after all figures."""
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
