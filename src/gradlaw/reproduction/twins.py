"""How far the printed exponents of a pretrained and of a random network are apart, beside how far two seeds are."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from gradlaw.reproduction.experiment import at_random
from gradlaw.reproduction.paper import SPECTRUM, Paper, Row, Table
from gradlaw.reproduction.published_values import QUANTITIES
from gradlaw.reproduction.standing import Seeds, is_pretrained


@dataclass(frozen=True)
class Twins:
    """A pretrained row, the random row of the same network, and how far their printed numbers are apart.

    ``distances`` are by quantity, in standard deviations of the difference between two seeds at random (pooled), with
    what rounding to the printed digits may hide.
    """

    pretrained: Row
    random: Row
    distances: dict[str, float]

    @property
    def chance(self) -> float:
        """The probability that all numbers of two seeds of one setting are within the largest of the distances.

        They are taken as independent and normal.
        """
        return math.erf(max(self.distances.values()) / math.sqrt(2)) ** len(self.distances)


def twins(paper: Paper, seeds: Seeds, tables: Iterable[Table]) -> tuple[Twins, ...]:
    """All pairs inside a table of spectra, each pretrained row with its first random one, by its first reading."""
    found: dict[str, Twins] = {}
    for table in tables:
        published = paper.published[table.number]
        if table.kind != SPECTRUM:
            continue
        random = {(row.experiment, row.quantity): row for row in reversed(table.rows)
                  if not is_pretrained(published[row.number - 1])}  # fmt: skip
        for row in table.rows:
            other = random.get((at_random(row.experiment), row.quantity))
            if row.name in found or other is None or not is_pretrained(published[row.number - 1]):
                continue
            distances = _distances(paper, seeds, row, other)
            if distances:
                found[row.name] = Twins(row, other, distances)
    return tuple(found.values())


def _distances(paper: Paper, seeds: Seeds, row: Row, other: Row) -> dict[str, float]:
    """By quantity that both print and that has a spread; exponents and distances spread on a logarithmic scale."""
    distances, published = {}, paper.published[row.table]
    for quantity in QUANTITIES[SPECTRUM]:
        first, second = (published[r.number - 1][quantity] for r in (row, other))
        spread = seeds.spread(other.experiment, SPECTRUM, row.quantity, quantity)
        if first is not None and second is not None and spread is not None:
            apart = abs(math.log(first / second)) + _unit(first) / first
            distances[quantity] = apart / (math.sqrt(2) * spread.std)
    return distances


def _unit(value: float) -> float:
    """One in the last place of a number as it is written; at least that of the print, which may end in zeros."""
    exponent = Decimal(repr(value)).as_tuple().exponent
    assert isinstance(exponent, int)
    return float(10.0**exponent)
