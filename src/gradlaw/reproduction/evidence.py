"""What has been measured of a selection, by study and seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gradlaw.reproduction.experiment import Study
from gradlaw.reproduction.measurement import Measurement
from gradlaw.reproduction.store import Result, Store


@dataclass
class Evidence:
    """Results by study and seed, and the reasons where there is none.

    Attributes:
        store: where results are.
        seeds: that were asked for.
        measurements: by study and seed.
        reasons: why a measurement was not made.
    """

    store: Store
    seeds: Sequence[int]
    measurements: Mapping[tuple[Study, int], Measurement]
    reasons: Mapping[Measurement, str]
    _loaded: dict[Measurement, Result | None] = field(default_factory=dict, repr=False)

    def result(self, study: Study, seed: int) -> Result | None:
        """The result of a study; None if it was not measured."""
        measurement = self.measurements.get((study, seed))
        if measurement is None:
            return None
        if measurement not in self._loaded:
            self._loaded[measurement] = self.store.load(measurement) if measurement in self.store else None
        return self._loaded[measurement]

    def results(self, study: Study) -> list[Result]:
        """Of all seeds that were measured."""
        return [result for _, result in self.named_results(study)]

    def named_results(self, study: Study) -> list[tuple[str, Result]]:
        """The same, each with :meth:`seed_in_words`."""
        found = ((self.seed_in_words(seed), self.result(study, seed)) for seed in self.seeds)
        return [(words, result) for words, result in found if result is not None]

    def seed_in_words(self, seed: int) -> str:
        """What to add to a text about one seed: nothing if only one was asked for."""
        return f", seed {seed}" if len(self.seeds) > 1 else ""

    def missing_seeds(self, study: Study) -> list[int]:
        """The seeds that were asked for and not measured."""
        return [seed for seed in self.seeds if self.result(study, seed) is None]

    def why_not(self, study: Study) -> str:
        """The reason why a study was not measured, or not with all seeds."""
        found = (self.reasons.get(self.measurements[study, seed]) for seed in self.missing_seeds(study)
                 if (study, seed) in self.measurements)  # fmt: skip
        return next((reason for reason in found if reason), "not run yet")
