"""What has been measured of a selection, by study and seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gradlaw.paper.measurement import Measurement
from gradlaw.paper.store import Result, Store
from gradlaw.paper.study import Study


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
        found = (self.result(study, seed) for seed in self.seeds)
        return [result for result in found if result is not None]

    def why_not(self, study: Study) -> str:
        """The reason why a study was not measured."""
        found = (self.reasons.get(self.measurements[study, seed]) for seed in self.seeds
                 if (study, seed) in self.measurements)  # fmt: skip
        return next((reason for reason in found if reason), "not run yet")
