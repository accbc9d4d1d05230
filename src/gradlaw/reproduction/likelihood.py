"""How likely the published numbers of pretrained rows are as those of a trained network, and as those of a random one.

The likelihood of a row is the product of the predictive densities of its printed quantities, with the spread pooled
over a family of networks (:mod:`gradlaw.reproduction.standing`). Quantities of one row depend on one another, which a
product leaves out: a logarithm of the ratio says which of the two is the nearer by far, not how many times over. Of a
row with several readings the best is taken, for either network.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradlaw.reproduction.experiment import Experiment, at_random
from gradlaw.reproduction.paper import Paper, Row, Table
from gradlaw.reproduction.published_values import printed
from gradlaw.reproduction.standing import Seeds, is_pretrained
from gradlaw.spectra.matrices import COVARIANCE, SECOND_MOMENT


@dataclass(frozen=True)
class Likelihood:
    """A pretrained row under both networks.

    Attributes:
        row: its first reading.
        trained: the logarithm of the density of its numbers, in nats; None if it is not known.
        random: the same at random.
        copy_of: the row above that prints the same quantities of the same experiment, if there is one.
    """

    row: Row
    trained: float | None
    random: float | None
    copy_of: str | None

    @property
    def ratio(self) -> float | None:
        """The logarithm of random over trained; None if either is not known."""
        return None if self.trained is None or self.random is None else self.random - self.trained


def likelihoods(paper: Paper, seeds: Seeds, tables: Iterable[Table]) -> tuple[Likelihood, ...]:
    """Of every pretrained row of some tables, in their order.

    The second moment and the covariance of gradients have almost the same eigenvalues, so that a row of one is a copy
    of a row of the other. The two directions of the tests, the eigenvalues and their gaps are four different things.
    """
    found: list[Likelihood] = []
    first: dict[Any, str] = {}
    for table in tables:
        published, by_row = paper.published[table.number], dict[int, list[Row]]()
        for row in table.rows:
            if is_pretrained(published[row.number - 1]):
                by_row.setdefault(row.number, []).append(row)
        for readings in by_row.values():
            row, kind, line = readings[0], table.kind, published[readings[0].number - 1]
            what = "eigenvalues" if row.quantity in (SECOND_MOMENT, COVARIANCE) else row.quantity
            key = frozenset(r.experiment for r in readings), what
            trained = _best([_density(seeds, r.experiment, kind, r.quantity, line) for r in readings])
            random = _best([_density(seeds, at_random(r.experiment), kind, r.quantity, line) for r in readings])
            found.append(Likelihood(row, trained, random, first.get(key)))
            if found[-1].ratio is not None:
                first.setdefault(key, row.name)
    return tuple(found)


def total(found: Iterable[Likelihood]) -> tuple[float, int]:
    """The sum of the ratios over rows that are no copies, and of how many."""
    ratios = [each.ratio for each in found if each.copy_of is None and each.ratio is not None]
    return sum(ratios), len(ratios)


def _best(densities: Sequence[float | None]) -> float | None:
    """The largest, if all are known: a reading that was not run might be the best."""
    return None if None in densities else max(d for d in densities if d is not None)


def _density(seeds: Seeds, experiment: Experiment, kind: str, what: str, line: Mapping[str, Any]) -> float | None:
    """In nats, of all printed quantities; None if one of them has no distribution."""
    numbers = printed(kind, line)
    each = [(seeds.predictive(experiment, kind, what, quantity), value) for quantity, value in numbers.items()]
    densities = [predictive.log_density(value) for predictive, value in each if predictive is not None]
    return sum(densities) if len(densities) == len(numbers) else None
