"""What has been measured of a selection, by experiment and seed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gradlaw.reproduction.experiment import Experiment, NetworkSpec
from gradlaw.reproduction.measurement import Measurement
from gradlaw.reproduction.series import thin
from gradlaw.reproduction.store import Result

_CHANCE = 1.5  # times the accuracy of guessing


class Results(Protocol):
    """Where results are: the store of this machine, or the table that is kept with the source; named by ``str``."""

    def __contains__(self, measurement: Measurement) -> bool: ...

    def load(self, measurement: Measurement) -> Result:
        """The result of a measurement that is there."""
        ...

    def where(self, measurement: Measurement) -> str:
        """The files of its result, in words."""
        ...


@dataclass
class Evidence:
    """Results by experiment and seed, and the reasons where there is none.

    Attributes:
        store: where results are; their series are thinned when they are read.
        seeds: that were asked for.
        measurements: by experiment and seed.
        reasons: why a measurement was not made.
    """

    store: Results
    seeds: Sequence[int]
    measurements: Mapping[tuple[Experiment, int], Measurement]
    reasons: Mapping[Measurement, str]
    _loaded: dict[Measurement, Result | None] = field(default_factory=dict, repr=False)

    def result(self, experiment: Experiment, seed: int) -> Result | None:
        """The result of an experiment; None if it was not measured."""
        measurement = self.measurements.get((experiment, seed))
        if measurement is None:
            return None
        if measurement not in self._loaded:
            self._loaded[measurement] = thin(self.store.load(measurement)) if measurement in self.store else None
        return self._loaded[measurement]

    def results(self, experiment: Experiment) -> list[Result]:
        """Of all seeds that were measured."""
        return [result for _, result in self.named_results(experiment)]

    def named_results(self, experiment: Experiment) -> list[tuple[str, Result]]:
        """The same, each with :meth:`describe_seed`."""
        found = ((self.describe_seed(seed), self.result(experiment, seed)) for seed in self.seeds)
        return [(words, result) for words, result in found if result is not None]

    def describe_seed(self, seed: int) -> str:
        """What to add to a text about one seed: nothing if only one was asked for."""
        return f", seed {seed}" if len(self.seeds) > 1 else ""

    def missing_seeds(self, experiment: Experiment) -> list[int]:
        """The seeds that were asked for and not measured."""
        return [seed for seed in self.seeds if self.result(experiment, seed) is None]

    def why_not(self, experiment: Experiment) -> str:
        """The reason why an experiment was not measured, or not with all seeds."""
        found = (self.reasons.get(self.measurements[experiment, seed]) for seed in self.missing_seeds(experiment)
                 if (experiment, seed) in self.measurements)  # fmt: skip
        return next((reason for reason in found if reason), "not run yet")


def parameters_of(record: dict[str, Any]) -> str:
    """The digest of the parameters that a measurement was made at."""
    digest: str = record["provenance"]["problem"]["parameters_sha256"]
    return digest


def same_parameters(one: Result, other: Result) -> bool:
    """Whether two measurements are of the same network with the same parameters, to the bit."""
    return parameters_of(one.record) == parameters_of(other.record)


def trained_apart(results: Iterable[tuple[Experiment, Result]]) -> list[NetworkSpec]:
    """The networks of one seed that were measured with several parameters: trained on several machines."""
    digests: dict[NetworkSpec, set[str]] = {}
    for experiment, result in results:
        digests.setdefault(experiment.network, set()).add(parameters_of(result.record))
    return [network for network, found in digests.items() if len(found) > 1]


def is_at_chance(record: dict[str, Any]) -> bool:
    """Whether the network of a result was trained and learnt nothing: it does not show what a trained network does."""
    provenance = record["provenance"]
    trained, data = provenance["trained"], provenance["problem"]["data"]
    return trained is not None and trained["training"]["accuracy"] <= _CHANCE / len(data["classes"])


def chance_caveat(record: dict[str, Any]) -> str | None:
    """In words that the training learnt nothing; None if it learnt, and for random parameters."""
    if not is_at_chance(record):
        return None
    provenance = record["provenance"]
    accuracy, classes = provenance["trained"]["training"]["accuracy"], len(provenance["problem"]["data"]["classes"])
    return f"the training learnt nothing: {accuracy:.2%} of its own labels are right, with {classes} classes"
