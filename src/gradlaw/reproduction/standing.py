"""Where every published row stands among the seeds that were measured.

Each printed quantity of a row has a :class:`~gradlaw.reproduction.predictive.Predictive` distribution: that of one more
seed of the row's own experiment. With ``LEAST_SEEDS`` values or more its spread is the row's own. With one or two it is
pooled over the experiments of the tables, and the same at random, that have two seeds or more and belong to the same
family: the same model of the zoo, and both at random or both trained. Such a place is marked as pooled. It is right as
far as the spread, on the scale of the quantity, is the same for all sizes and settings of the family. Where no
experiment of the family has two seeds there is no place.

A row *agrees* if every quantity that was printed lies within the central 95% of its distribution; *agrees as random*,
if it was printed as pretrained, does not agree, and all of it lies within the central 95% of the distributions of the
same experiment at random, with clean labels; *random not run*, if that is not known; else it is *not explained*. A fit
that was refused predicts no number, so that a number printed for it does not agree.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradlaw.reproduction.compared import agreement
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.experiment import HISTORY, Experiment, at_random
from gradlaw.reproduction.formatting import DASH
from gradlaw.reproduction.paper import TESTS, Paper, Row, Table
from gradlaw.reproduction.predictive import LEAST_SEEDS, Predictive, Spread
from gradlaw.reproduction.published_values import measured, printed

AGREES, AS_RANDOM, UNEXPLAINED = "agrees", "agrees as random", "not explained"
RANDOM_NOT_RUN, TOO_FEW, NOT_RUN = "random not run", "too few seeds", "not run"
OUTCOMES = AGREES, AS_RANDOM, UNEXPLAINED, RANDOM_NOT_RUN, TOO_FEW, NOT_RUN  # the best first
PRETRAINED = "Pretrain"  # in the column ``training`` of published tables
LEVEL = 0.95


@dataclass(frozen=True)
class Place:
    """A published value among the seeds of an experiment.

    Attributes:
        quantity: as it was printed, one of ``QUANTITIES``.
        published: the value.
        values: of the seeds; fewer than were run where fits were refused.
        run: how many seeds were.
        predictive: of one more seed; None if there is no spread or no value.
        pooled: whether its spread comes from other experiments too.
    """

    quantity: str
    published: float
    values: tuple[float, ...]
    run: int
    predictive: Predictive | None
    pooled: bool

    @property
    def agrees(self) -> bool | None:
        """Whether it lies in the central part; None if that is not known."""
        if self.predictive is not None:
            return self.predictive.agrees(self.published, LEVEL)
        return False if self.run and not self.values else None

    @property
    def normal_score(self) -> float | None:
        """The standard normal deviate with as much probability beyond it: one scale for any number of seeds."""
        from scipy.stats import norm, t

        if self.predictive is None:
            return None
        z = self.predictive.z(self.published)
        beyond = float(norm.isf(t.sf(abs(z), self.predictive.degrees)))
        return beyond if z >= 0 else -beyond


@dataclass(frozen=True)
class Standing:
    """One reading of a published row: its outcome, and where its quantities lie.

    Attributes:
        row: which reading of which row.
        pretrained: whether it was printed as that.
        seeds: that were measured.
        places: of the quantities that were printed.
        as_random: of a pretrained row, the same among the seeds of the experiment at random; else empty.
        outcome: one of ``OUTCOMES``.
        same_verdict: whether the verdict is the published one, in words; a dash for tables of rates.
    """

    row: Row
    pretrained: bool
    seeds: int
    places: tuple[Place, ...]
    as_random: tuple[Place, ...]
    outcome: str
    same_verdict: str


class Seeds:
    """The values of quantities over seeds, and their spread by family.

    Args:
        paper: whose rows are pooled.
        evidence: the results.
    """

    def __init__(self, paper: Paper, evidence: Evidence):
        self.evidence = evidence
        of_rows = [row.experiment for table in paper.tables.values() for row in table.rows]
        declared = (e for of_row in of_rows for e in (of_row, at_random(of_row)) if e.kind == HISTORY)
        self.experiments = tuple(dict.fromkeys(declared))
        self._spreads: dict[tuple[str, bool, str, str, str], Spread | None] = {}

    def values(self, experiment: Experiment, kind: str, what: str, quantity: str) -> tuple[float, ...]:
        """Of a quantity as printed, of the direction or matrix ``what``; refused fits have none."""
        records = (result.record for result in self.evidence.results(experiment))
        found = (measured(record, kind, what, quantity) for record in records)
        return tuple(value for value in found if value is not None)

    def spread(self, experiment: Experiment, kind: str, what: str, quantity: str) -> Spread | None:
        """Pooled over the family of an experiment; None if no member has two seeds."""
        key = (*_family(experiment), kind, what, quantity)
        if key not in self._spreads:
            groups = [self.values(e, kind, what, quantity) for e in self.experiments if _family(e) == key[:2]]
            several = [group for group in groups if len(group) > 1]
            self._spreads[key] = Spread.of(quantity, several) if several else None
        return self._spreads[key]

    def predictive(self, experiment: Experiment, kind: str, what: str, quantity: str) -> Predictive | None:
        """With the pooled spread, however many seeds the experiment has."""
        values = self.values(experiment, kind, what, quantity)
        spread = self.spread(experiment, kind, what, quantity)
        return Predictive.of(quantity, values, spread) if values and spread else None

    def places(self, experiment: Experiment, kind: str, what: str, line: Mapping[str, Any]) -> tuple[Place, ...]:
        """The printed quantities of a published row among the seeds of an experiment."""
        run, found = len(self.evidence.results(experiment)), []
        for quantity, number in printed(kind, line).items():
            values = self.values(experiment, kind, what, quantity)
            own = len(values) >= LEAST_SEEDS
            predictive = (Predictive.of(quantity, values) if own
                          else self.predictive(experiment, kind, what, quantity))  # fmt: skip
            found.append(Place(quantity, number, values, run, predictive, predictive is not None and not own))
        return tuple(found)


def stand(paper: Paper, seeds: Seeds, tables: Iterable[Table]) -> tuple[Standing, ...]:
    """The standing of every reading of every row of some tables, whole or in part."""
    found = []
    for table in tables:
        kind = table.kind
        for row in table.rows:
            line = paper.published[table.number][row.number - 1]
            places = seeds.places(row.experiment, kind, row.quantity, line)
            pretrained = is_pretrained(line)
            random = seeds.places(at_random(row.experiment), kind, row.quantity, line) if pretrained else ()
            run = len(seeds.evidence.results(row.experiment))
            found.append(Standing(row, pretrained, run, places, random, _outcome(places, random),
                                  _same_verdict(line, row, kind, seeds.evidence)))  # fmt: skip
    return tuple(found)


def is_pretrained(line: Mapping[str, Any]) -> bool:
    """Whether a published row was printed as that of a pretrained network."""
    return line.get("training") == PRETRAINED


def count(standings: Iterable[Standing]) -> Counter[str]:
    """How many readings have each outcome."""
    return Counter(standing.outcome for standing in standings)


def best(standings: Iterable[Standing]) -> tuple[Standing, ...]:
    """Of each published row the reading with the best outcome, the first of equals."""
    by_row: dict[str, list[Standing]] = {}
    for standing in standings:
        by_row.setdefault(standing.row.name, []).append(standing)
    return tuple(min(readings, key=lambda s: OUTCOMES.index(s.outcome)) for readings in by_row.values())


def _outcome(places: Sequence[Place], random: Sequence[Place]) -> str:
    if not any(place.run for place in places):
        return NOT_RUN
    trained = _together(places)
    if trained is not False:
        return AGREES if trained else TOO_FEW
    if not random:
        return UNEXPLAINED
    known = _together(random)
    return {True: AS_RANDOM, False: UNEXPLAINED, None: RANDOM_NOT_RUN}[known]


def _together(places: Sequence[Place]) -> bool | None:
    """Whether all agree: no as soon as one does not, unknown if one is unknown and none disagrees."""
    each = [place.agrees for place in places]
    return False if False in each else None if None in each else True


def _family(experiment: Experiment) -> tuple[str, bool]:
    """Model, and whether it is trained."""
    return experiment.network.model, experiment.network.training is not None


def _same_verdict(line: Mapping[str, Any], row: Row, kind: str, evidence: Evidence) -> str:
    if kind == TESTS:
        return DASH
    fits = [result.record["spectra"][row.quantity]["fit"] for result in evidence.results(row.experiment)]
    return agreement(line["is_power_law"], [fit and fit["is_power_law"] for fit in fits])
