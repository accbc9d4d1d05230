"""The claims of a paper decided again under every reading of a family, by what the rows of the family bear on.

The readings are measured on a few rows each, so that a claim is decided by those of its checks that these rows allow;
the first reading is decided by the same ones, and the two can be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gradlaw.reproduction.choice import experiments
from gradlaw.reproduction.claim import Check, decide
from gradlaw.reproduction.evidence import Evidence
from gradlaw.reproduction.paper import Paper
from gradlaw.reproduction.reading import Family, Reading


@dataclass(frozen=True)
class ClaimByReading:
    """One claim under the readings of a family.

    Attributes:
        claim: its name.
        checks: of every seed, by reading; readings without any are left out.
    """

    claim: str
    checks: dict[Reading, Sequence[Check]]


def decide_by_reading(paper: Paper, family: Family, evidence: Evidence) -> list[ClaimByReading]:
    """Every claim that some rows of a family bear on, in the order of the paper."""
    found: dict[str, dict[Reading, Sequence[Check]]] = {}
    for reading, by_row in experiments(paper, family, (*family.choose, *family.check)).items():
        own = set(by_row.values())
        of_family = Evidence(
            evidence.store,
            evidence.seeds,
            {key: measurement for key, measurement in evidence.measurements.items() if key[0] in own},
            evidence.reasons,
        )
        for claim in paper.under(family.fixed).under(reading).claims:
            checks = decide(claim, of_family).checks
            if checks:
                found.setdefault(claim.name, {})[reading] = checks
    return [ClaimByReading(claim.name, found[claim.name]) for claim in paper.claims if claim.name in found]
