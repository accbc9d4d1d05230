"""From names such as ``table6``, ``fig8`` and ``table8 row 3`` to rows, figures and what they need measured."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gradlaw.errors import InputError, did_you_mean
from gradlaw.reproduction.evidence import Evidence, Results
from gradlaw.reproduction.experiment import Experiment, at_random
from gradlaw.reproduction.measurement import Measurement, Resolver
from gradlaw.reproduction.paper import Beside, FigureSpec, Paper, Row, Table

ALL = "all"
_NAME = re.compile(r"(table|fig|figure) ?0*(\d+)(?: row ?(\d+))?")


@dataclass(frozen=True)
class Selection:
    """Tables (with all rows or some), figures, and what stands beside, in the order of their paper."""

    paper: Paper
    tables: tuple[Table, ...]
    figures: tuple[FigureSpec, ...]
    beside: tuple[Beside, ...] = ()

    @property
    def names(self) -> set[str]:
        """Of the tables and figures."""
        return {table.name for table in self.tables} | {figure.name for figure in self.figures}

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """What has to be measured, each once."""
        of_rows = [row.experiment for table in self.tables for row in table.rows]
        of_series = [s.experiment for figure in self.figures for panel in figure.panels for s in panel.series]
        of_others = [experiment for each in self.beside for experiment in each.experiments]
        return tuple(dict.fromkeys(of_rows + of_series + of_others))


def select(paper: Paper, names: Iterable[str]) -> Selection:
    """What names mean: tables, figures, single rows, or ``all``.

    Raises:
        InputError: a name of nothing in the paper.
    """
    rows: dict[int, list[Row]] = {}
    figures = []
    beside = []
    for name in names:
        found = _parse(paper, name)
        for item in found:
            if isinstance(item, FigureSpec):
                figures.append(item)
            elif isinstance(item, Beside):
                beside.append(item)
            else:
                rows.setdefault(item.table, []).append(item)
    tables = []
    for number, table in paper.tables.items():
        wanted = rows.get(number, [])
        if wanted:
            chosen = tuple(row for row in table.rows if row in wanted)
            tables.append(Table(number, table.title, table.kind, chosen))
    chosen_figures = tuple(f for f in paper.figures.values() if f in figures)
    return Selection(paper, tuple(tables), chosen_figures, tuple(b for b in paper.beside if b in beside))


def _parse(paper: Paper, name: str) -> Sequence[Row | FigureSpec | Beside]:
    text = " ".join(name.lower().split())
    if text == ALL:
        return [*(row for table in paper.tables.values() for row in table.rows), *paper.figures.values(), *paper.beside]
    if text in paper.figures:
        return [paper.figures[text]]
    others = [each for each in paper.beside if each.name == text]
    if others:
        return others
    match = _NAME.fullmatch(text)
    if match and match[1] == "table" and int(match[2]) in paper.tables:
        rows = paper.tables[int(match[2])].rows
        chosen = [row for row in rows if match[3] is None or row.number == int(match[3])]
        if not chosen:
            raise InputError(f"{name!r}: table {match[2]} has rows 1 to {rows[-1].number}")
        return chosen
    if match and match[1] != "table" and f"fig{match[2]}" in paper.figures and match[3] is None:
        return [paper.figures[f"fig{match[2]}"]]
    every = [f"table{number}" for number in paper.tables] + [*paper.figures, *(b.name for b in paper.beside), ALL]
    raise InputError(
        f"nothing in the paper is called {name!r}; there are {paper.contents}, single rows such as 'table8 row 3', "
        f"and all{did_you_mean(text, every)}"
    )


def named_by(paper: Paper, experiment: Experiment) -> list[str]:
    """The rows and figures that an experiment is measured for."""
    rows = [row.name for table in paper.tables.values() for row in table.rows if row.experiment == experiment]
    figures = [
        f.name for f in paper.figures.values() if any(s.experiment == experiment for p in f.panels for s in p.series)
    ]
    beside = [each.name for each in paper.beside if experiment in each.experiments]
    return list(dict.fromkeys(rows + figures + beside))


def gather(
    selection: Selection, store: Results, seeds: Sequence[int], resolver: Resolver,
    reasons: Mapping[Measurement, str] | None = None,
) -> Evidence:  # fmt: skip
    """The evidence for a selection, for the same at random, and for every claim and central study of its paper.

    ``reasons`` are why a measurement was not made.
    """
    of_claims = (experiment for claim in selection.paper.claims for experiment in claim.experiments.values())
    of_random = (at_random(experiment) for experiment in selection.experiments)
    of_central = selection.paper.central.values()
    experiments = dict.fromkeys((*selection.experiments, *of_random, *of_claims, *of_central))
    measurements = {(experiment, seed): resolver.resolve(experiment, seed) for experiment in experiments
                    for seed in seeds}  # fmt: skip
    return Evidence(store, seeds, measurements, reasons or {})
