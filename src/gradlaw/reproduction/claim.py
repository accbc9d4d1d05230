"""A claim of the paper: what it says, what is measured for it, and the rule that decides it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gradlaw.reproduction.evidence import Evidence, chance_caveat, trained_apart
from gradlaw.reproduction.experiment import Experiment
from gradlaw.reproduction.store import Result

HOLDS, IN_PART, FAILS, NOT_RUN = "holds", "holds in part", "does not hold", "not run"
Results = Mapping[str, Result]


class Check(NamedTuple):
    """One thing that a claim predicts, and whether it is so by the published and by the calibrated verdict."""

    what: str
    published: bool
    calibrated: bool


Rule = Callable[[Results], Sequence[Check]]


@dataclass(frozen=True)
class Claim:
    """One claim, written down before it is measured.

    Attributes:
        name: short.
        sentence: what is claimed, in our words.
        statistic: what is looked at, and the threshold.
        experiments: what has to be measured, by a label that the rule knows.
        rule: from results, by label, to checks. A label that was not measured is not there.
        artefacts: the tables and figures that the claim is read from.
    """

    name: str
    sentence: str
    statistic: str
    experiments: Mapping[str, Experiment]
    rule: Rule
    artefacts: tuple[str, ...]


class Decided:
    """What a rule checked, and the outcomes.

    Attributes:
        checks: that the rule made.
    """

    checks: tuple[Check, ...]

    @property
    def published(self) -> str:
        """The outcome by the published critical distance."""
        return outcome([check.published for check in self.checks])

    @property
    def calibrated(self) -> str:
        """The outcome by the critical distance for a fitted exponent."""
        return outcome([check.calibrated for check in self.checks])

    @property
    def published_in_words(self) -> str:
        """The outcome, with how many of the checks hold where some do."""
        return in_words([check.published for check in self.checks])

    @property
    def calibrated_in_words(self) -> str:
        """The same, calibrated."""
        return in_words([check.calibrated for check in self.checks])


@dataclass(frozen=True)
class Decision(Decided):
    """A claim and what became of it.

    Attributes:
        claim: what was claimed.
        checks: of every seed for which something was measured.
        measured: how many of the studies that the claim needs there are, with one seed or more.
        needed: how many studies the claim needs.
        results: how many there are, every seed counted.
        caveats: what speaks against them.
    """

    claim: Claim
    checks: tuple[Check, ...]
    measured: int
    needed: int
    results: int
    caveats: tuple[str, ...] = ()

    @property
    def experiments(self) -> set[Experiment]:
        """What the claim needs measured."""
        return set(self.claim.experiments.values())

    @property
    def extent(self) -> str:
        """How much of what the claim needs was measured."""
        return f"{self.measured} of {self.needed}"


def outcome(checks: Sequence[bool]) -> str:
    """``holds`` if every check is so, ``does not hold`` if none is, else ``holds in part``; ``not run`` without any."""
    if not checks:
        return NOT_RUN
    return HOLDS if all(checks) else IN_PART if any(checks) else FAILS


def in_words(checks: Sequence[bool]) -> str:
    """An outcome, with how many of the checks hold where some do."""
    found = outcome(checks)
    return f"{found} ({sum(checks)} of {len(checks)})" if found == IN_PART else found


def decide(claim: Claim, evidence: Evidence) -> Decision:
    """Apply the rule to every seed that was measured."""
    checks: list[Check] = []
    for seed in evidence.seeds:
        found = {label: evidence.result(experiment, seed) for label, experiment in claim.experiments.items()}
        suffix = evidence.describe_seed(seed)
        measured = {label: result for label, result in found.items() if result is not None}
        checks += [check._replace(what=check.what + suffix) for check in claim.rule(measured)]
    results = [
        (label, result) for label, experiment in claim.experiments.items() for result in evidence.results(experiment)
    ]
    caveats = dict.fromkeys(f"{label}: {why}" for label, result in results if (why := chance_caveat(result.record)))
    for seed in evidence.seeds:
        there_is = ((e, result) for e in claim.experiments.values() if (result := evidence.result(e, seed)) is not None)
        caveats |= dict.fromkeys(
            f"{network}, seed {seed}: measured after trainings on several machines, which are not compared with one "
            "another"
            for network in trained_apart(there_is)
        )
    needed = len(claim.experiments)
    there = sum(bool(evidence.results(experiment)) for experiment in claim.experiments.values())
    return Decision(claim, tuple(checks), there, needed, len(results), tuple(caveats))
