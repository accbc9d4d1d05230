"""A section: one thing that an analysis measures, by name, and how its result is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from gradlaw.analysis.result import AnalysisResult
from gradlaw.analysis.sizes import Sizes
from gradlaw.errors import InputError
from gradlaw.history import GradientHistory
from gradlaw.history.sharded_history import ShardedHistory
from gradlaw.history.sketched_history import SketchedHistory
from gradlaw.problem import Problem
from gradlaw.progress import Progress
from gradlaw.ranks.group import ALONE, RankGroup
from gradlaw.spectra.approximate import ApproximateSpectrum
from gradlaw.spectra.collect_sketched import spectrum_of_sketched
from gradlaw.spectra.gram.history_gram import HistoryGram, history_gram
from gradlaw.spectra.matrices import MATRICES

if TYPE_CHECKING:
    import pandas as pd

Result = TypeVar("Result")
Kind = TypeVar("Kind", bound="type[Section[Any]]")
ReadTable = Callable[[str], "pd.DataFrame"]  # reads a table of a run by its name


@dataclass
class Run:
    """What sections measure.

    Attributes:
        problem, history: at fixed parameters, and its gradients, or what is left of them.
        sizes: how many values tests and fits use.
        alpha, seed: level of the tests; seed of whatever is drawn.
        asked: what was asked for beside the rest: ``"controls"``, ``"extended"``.
        progress: where to show it.
        notices: what was decided along the way, in words; sections add theirs.
        measured: results of the sections before, by name.
    """

    problem: Problem
    history: GradientHistory | ShardedHistory | SketchedHistory
    sizes: Sizes
    alpha: float
    seed: int
    asked: frozenset[str]
    progress: Progress
    notices: list[str] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def ranks(self) -> RankGroup:
        """Those that measure together; each makes the same calls."""
        return self.history.ranks if isinstance(self.history, ShardedHistory) else ALONE

    @cached_property
    def gram(self) -> HistoryGram:
        """The Gram matrix of the history, formed when a section first needs it."""
        return history_gram(self.gradients, self.problem, self.progress)

    @property
    def gradients(self) -> GradientHistory | ShardedHistory:
        """The history, of whole gradients.

        Raises:
            InputError: they were sketched.
        """
        if isinstance(self.history, SketchedHistory):
            raise InputError("this needs whole gradients, and cannot be said from a sketch of them")
        return self.history

    @cached_property
    def approximate(self) -> dict[str, ApproximateSpectrum]:
        """By matrix: the leading spectrum of gradients that were sketched; none of whole ones."""
        if not isinstance(self.history, SketchedHistory):
            return {}
        found = {}
        for center, matrix in MATRICES.items():
            with self.progress.stage(f"approximate {matrix} and its error"):
                found[matrix] = spectrum_of_sketched(self.history, center, self.sizes.of_spectra, lower=True)
        return found


class Section(ABC, Generic[Result]):
    """One thing that an analysis measures.

    A subclass has a name and says how to measure; it is registered with :func:`register`, and shown by the
    :class:`~gradlaw.report.section.ShownSection` of the same name. As it stands, this class keeps a frozen dataclass of
    numbers and texts as a table of one row; other results say how they are kept.

    Attributes:
        name: of the section, of its table and of its entry in the record.
        place: sections are measured, kept and shown in this order, those of one place by name.
        by_ranks: whether it can be measured where several ranks share the history.
        from_sketch: whether it can be measured where the history is sketches of gradients; otherwise it has no result
            there, and a notice says so.
        kind: the dataclass of the result.
    """

    name: ClassVar[str]
    place: ClassVar[int] = 100
    by_ranks: ClassVar[bool] = False
    from_sketch: ClassVar[bool] = False
    kind: ClassVar[type[Any]]

    @abstractmethod
    def measure(self, run: Run) -> Result | None:
        """The result, frozen; None where there is nothing to measure, or it was not asked for."""

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that it may leave in a run directory."""
        return (self.name,)

    def frames(self, result: Result, analysis: AnalysisResult) -> dict[str, pd.DataFrame]:
        """Its tables, by name."""
        import pandas as pd  # loaded for those who keep a table

        record: dict[str, Any] = asdict(result)  # type: ignore[call-overload]
        return {self.name: pd.DataFrame([record])}

    def record(self, result: Result | None, analysis: AnalysisResult) -> dict[str, Any]:
        """Its entries in the record of the run, as plain data."""
        return {self.name: result is not None}

    def read(self, record: dict[str, Any], table: ReadTable) -> Result | None:
        """The result that a run has, from its record and tables; None if it has none."""
        if not record.get(self.name):
            return None
        result: Result = self.kind(**table(self.name).to_dict("records")[0])
        return result


class TableSection(Section["pd.DataFrame"]):
    """A section whose result is a table."""

    def frames(self, result: pd.DataFrame, analysis: AnalysisResult) -> dict[str, pd.DataFrame]:
        return {self.name: result}

    def read(self, record: dict[str, Any], table: ReadTable) -> pd.DataFrame | None:
        return table(self.name) if record.get(self.name) else None


REGISTERED: dict[str, Section[Any]] = {}


def register(section: Kind) -> Kind:
    """Measure, keep and show this section in every analysis from now on; a decorator of its class.

    Raises:
        InputError: another section has its name.
    """
    if section.name in REGISTERED:
        raise InputError(f"there is a section {section.name!r} already; give this one another name")
    REGISTERED[section.name] = section()
    return section
