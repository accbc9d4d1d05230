"""Which reading of a family explains the published numbers best.

The rule: of every reading all quantities that were printed in the rows to choose by (s, d_KS, means, rates) have a
predictive distribution over seeds (:class:`gradlaw.reproduction.predictive.Predictive`), with the spread over seeds
pooled over all readings of the family, for a few seeds of one reading say little about it; a reading that is varied
alone, a smaller K for one, has its own and no part in the pool. The score is the sum of
the log densities at the published values, as if the quantities were independent; the reading with the highest score
is chosen. The rows to check by are scored in the same way and have no part in the choice. A reading is its declared
options and nothing else is tuned; how many were tried is shown, and by how much the best leads.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.experiment import Experiment
from gradlaw.reproduction.paper import Paper, Row
from gradlaw.reproduction.predictive import LEAST_SEEDS, Predictive, Spread
from gradlaw.reproduction.published_values import measured, printed
from gradlaw.reproduction.reading import Family, Reading

DECISIVE = 3.0  # nats, a factor of 20: strong evidence by Kass and Raftery (1995); a smaller lead decides nothing
Quantity = tuple[str, str]  # a row's name, and what was printed there


@dataclass(frozen=True)
class Candidate:
    """One reading beside the published numbers.

    Attributes:
        reading: which.
        seeds: how many were measured for the rows to choose by.
        predictive: the distribution of every quantity that was measured.
        score: of the rows to choose by; None if one of them was not measured, minus infinity if it has no fit.
        check: of the rows to check by; None if one of them was not measured.
    """

    reading: Reading
    seeds: int
    predictive: Mapping[Quantity, Predictive]
    score: float | None
    check: float | None


@dataclass(frozen=True)
class Choice:
    """All readings of a family, best first, those that were not measured last.

    Attributes:
        family: whose.
        published: what was printed, by quantity.
        candidates: one for each reading.
    """

    family: Family
    published: Mapping[Quantity, float]
    candidates: tuple[Candidate, ...]

    @property
    def chosen(self) -> Candidate | None:
        """The best one; None if none was measured."""
        best = self.candidates[0]
        return None if best.score is None else best

    @property
    def tried(self) -> int:
        """How many readings have a score."""
        return sum(candidate.score is not None for candidate in self.candidates)


def experiments(paper: Paper, family: Family, names: Sequence[str]) -> dict[Reading, dict[str, Experiment]]:
    """What has to be measured for some rows of a family, by reading and name of the row."""
    rows = _rows(paper, names)
    return {
        reading: {name: reading.experiment(family.fixed.experiment(row.experiment)) for name, row in rows.items()}
        for reading in family.readings
    }


def choose(paper: Paper, family: Family, evidence: Evidence) -> Choice:
    """Score every reading of a family by what was measured."""
    rows = _rows(paper, (*family.choose, *family.check))
    published = {(name, quantity): value for name, row in rows.items() for quantity, value in
                 _printed(paper, row).items()}  # fmt: skip
    values = {
        reading: {name: _by_quantity(paper, _under(reading, rows[name]), experiment, evidence)
                  for name, experiment in found.items()}
        for reading, found in experiments(paper, family, (*family.choose, *family.check)).items()
    }  # fmt: skip
    pooled = [found for reading, found in values.items() if reading not in family.alone]
    candidates = []
    for reading, found in values.items():
        spreads = {key: _spread(key, [found] if reading in family.alone else pooled) for key in published}
        candidates.append(_candidate(family, reading, found, published, spreads))
    candidates.sort(key=lambda c: -math.inf if c.score is None else c.score, reverse=True)
    candidates.sort(key=lambda c: c.score is None)
    return Choice(family, published, tuple(candidates))


def _rows(paper: Paper, names: Sequence[str]) -> dict[str, Row]:
    """By name; of a row with several readings in its table the first, which the axes change into the others."""
    found: dict[str, Row] = {}
    for table in paper.tables.values():
        for row in table.rows:
            if row.name in names:
                found.setdefault(row.name, row)
    return {name: found[name] for name in names}


def _under(reading: Reading, row: Row) -> Row:
    return replace(row, quantity=reading.quantity(row.quantity))


_Values = dict[str, list[float]]  # of the seeds, by quantity


def _by_quantity(paper: Paper, row: Row, experiment: Experiment, evidence: Evidence) -> _Values | None:
    """None if no seed was measured; without a quantity where a seed does not have it."""
    records, kind = [result.record for result in evidence.results(experiment)], paper.tables[row.table].kind
    if not records:
        return None
    of_seeds = {q: [measured(record, kind, row.quantity, q) for record in records] for q in _printed(paper, row)}
    return {q: [v for v in values if v is not None] for q, values in of_seeds.items() if None not in values}


def _printed(paper: Paper, row: Row) -> dict[str, float]:
    return printed(paper.tables[row.table].kind, paper.published[row.table][row.number - 1])


def _spread(key: Quantity, values: Iterable[Mapping[str, _Values | None]]) -> Spread | None:
    """Pooled over readings; None if all of them have fewer seeds to spare than one of ``LEAST_SEEDS`` has."""
    name, quantity = key
    groups = [found[quantity] for by_row in values if (found := by_row[name]) and quantity in found]
    degrees = sum(len(group) - 1 for group in groups)
    return Spread.of(quantity, groups) if degrees >= LEAST_SEEDS - 1 else None


def _candidate(
    family: Family, reading: Reading, values: Mapping[str, _Values | None], published: Mapping[Quantity, float],
    spreads: Mapping[Quantity, Spread | None],
) -> Candidate:  # fmt: skip
    predictive = {}
    for (name, quantity), spread in spreads.items():
        found = values[name]
        if found and quantity in found and spread is not None:
            predictive[name, quantity] = Predictive.of(quantity, found[quantity], spread)

    def score(names: Sequence[str]) -> float | None:
        if not names or any(values[name] is None for name in names):
            return None
        wanted = [key for key in published if key[0] in names]
        if any(spreads[key] is None for key in wanted):
            return None
        return sum(predictive[key].log_density(published[key]) if key in predictive else -math.inf for key in wanted)

    seeds = min(len(next(iter(found.values()), [])) if (found := values[name]) else 0 for name in family.choose)
    return Candidate(reading, seeds, predictive, score(family.choose), score(family.check))
