"""A paper, declared as one object: what its tables and figures show, what it printed, what it claims.

The engine knows a paper by this alone; a second paper is a second folder beside ``xie2023``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gradlaw.reproduction.claim import Claim
from gradlaw.reproduction.experiment import Experiment
from gradlaw.reproduction.profiles import Profile
from gradlaw.reproduction.reading import AS_DECLARED, Axis, Family, Reading

TESTS, SPECTRUM = "tests", "spectrum"
RANKED, RATES, BOUND = "ranked", "rates", "bound"


@dataclass(frozen=True)
class Row:
    """One measured row of a table.

    Attributes:
        table: its number.
        number: of the published row that it is measured for, counted from 1.
        experiment: what is measured.
        quantity: the direction of a table of tests, the matrix of a table of spectra.
        reading: which of several readings of the paper this is; empty where there is one.
        note: what a reader has to know of the reading.
    """

    table: int
    number: int
    experiment: Experiment
    quantity: str
    reading: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """As the command line takes it: all readings of a published row share it."""
        return f"table{self.table} row {self.number}"


@dataclass(frozen=True)
class Table:
    """One table: its title in our words, what its rows measure, and the rows."""

    number: int
    title: str
    kind: str
    rows: tuple[Row, ...]

    @property
    def name(self) -> str:
        return f"table{self.number}"


@dataclass(frozen=True)
class Series:
    """One series: what is drawn, of which experiment, and what the legend calls it.

    ``divide_by`` is a batch size, for a Hessian over B; ``line`` draws a line without its fit.
    """

    experiment: Experiment
    quantity: str
    label: str
    divide_by: int = 1
    line: bool = False


@dataclass(frozen=True)
class Panel:
    """One set of axes; ``outliers`` marks that rank, the c - 1 of the paper."""

    title: str
    series: tuple[Series, ...]
    outliers: int | None = None


@dataclass(frozen=True)
class FigureSpec:
    """One figure. ``kind`` is ``"ranked"`` (values by rank), ``"rates"`` (by batch size) or ``"bound"``.

    ``described`` says in our words what the paper says that it shows; ``published`` is the number of the table whose
    rates are drawn beside.
    """

    name: str
    title: str
    kind: str
    panels: tuple[Panel, ...]
    note: str = ""
    published: int | None = None
    described: str = ""


@dataclass(frozen=True)
class Beside:
    """Measurements that stand beside published numbers of elsewhere.

    Attributes:
        name: as the command line takes it.
        title: what they are.
        experiments: what has to be measured.
    """

    name: str
    title: str
    experiments: tuple[Experiment, ...]


@dataclass(frozen=True)
class Paper:
    """Everything that the engine needs to know of a paper.

    Attributes:
        name: of the folder here that declares it.
        title: as printed.
        authors: their family names.
        tables: by number.
        figures: by name, ``"fig1"`` and so on.
        claims: each with the rule that decides it.
        published: the rows of each table by column, as printed.
        errata: what looks odd in published rows, by table and row counted from 1.
        profiles: sizes of a reproduction by name, the paper's own among them.
        axes: the choices that it leaves open.
        families: rows that one reading must explain together, and how it is chosen.
        central: the studies that say most, by what they are called.
        beside: measurements beside numbers of other papers.
        reading: under which all experiments are; the networks as they are declared, if it has no options.
    """

    name: str
    title: str
    authors: str
    tables: Mapping[int, Table]
    figures: Mapping[str, FigureSpec]
    claims: Sequence[Claim]
    published: Mapping[int, Sequence[Mapping[str, Any]]]
    errata: Mapping[tuple[int, int], str]
    profiles: Mapping[str, Profile]
    axes: Sequence[Axis] = ()
    families: Sequence[Family] = ()
    central: Mapping[str, Experiment] = field(default_factory=dict)
    beside: Sequence[Beside] = ()
    reading: Reading = AS_DECLARED

    def under(self, reading: Reading) -> "Paper":
        """The paper with every experiment under a reading; rows that become the same are one."""
        tables = {number: replace(table, rows=_rows_under(reading, table)) for number, table in self.tables.items()}
        figures = {name: replace(figure, panels=tuple(replace(panel, series=tuple(
            replace(s, experiment=reading.experiment(s.experiment)) for s in panel.series)) for panel in figure.panels))
            for name, figure in self.figures.items()}  # fmt: skip
        claims = [replace(claim, experiments={label: reading.experiment(experiment) for label, experiment in
                  claim.experiments.items()}) for claim in self.claims]  # fmt: skip
        beside = [replace(b, experiments=tuple(map(reading.experiment, b.experiments))) for b in self.beside]
        central = {name: reading.experiment(experiment) for name, experiment in self.central.items()}
        return replace(
            self, tables=tables, figures=figures, claims=claims, central=central, beside=beside, reading=reading
        )

    @property
    def contents(self) -> str:
        """The names of tables and figures, in words."""
        numbered = [name for name in self.figures if name.startswith("fig")]
        others = "".join(f", {name}" for name in self.figures if name not in numbered)
        others += "".join(f", {each.name}" for each in self.beside)
        return f"table{min(self.tables)} to table{max(self.tables)}, {numbered[0]} to {numbered[-1]}{others}"


def _rows_under(reading: Reading, table: Table) -> tuple[Row, ...]:
    rows: dict[tuple[int, Experiment, str], Row] = {}
    for row in table.rows:
        under = replace(row, experiment=reading.experiment(row.experiment), quantity=reading.quantity(row.quantity))
        rows.setdefault((row.number, under.experiment, row.quantity), under)
    return tuple(rows.values())
