"""Results that are gathered in parts: what a folder holds already, and what was measured since."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gradlaw.errors import InputError
from gradlaw.reproduction.evidence import Evidence, Results
from gradlaw.reproduction.measurement import Measurement, Resolver
from gradlaw.reproduction.profiles import Profile
from gradlaw.reproduction.results import TABLE, ResultTable
from gradlaw.reproduction.selection import ALL, Selection, gather, select
from gradlaw.reproduction.store import Result


@dataclass(frozen=True)
class Joined:
    """Two places of results; what both have is taken from the first."""

    first: Results
    second: Results

    def __contains__(self, measurement: Measurement) -> bool:
        return measurement in self.first or measurement in self.second

    def load(self, measurement: Measurement) -> Result:
        """The result of a measurement that is in one of them."""
        return self._of(measurement).load(measurement)

    def where(self, measurement: Measurement) -> str:
        """The files of its result."""
        return self._of(measurement).where(measurement)

    def __str__(self) -> str:
        return f"{self.first}; {self.second}"

    def _of(self, measurement: Measurement) -> Results:
        return self.first if measurement in self.first else self.second


def with_kept(folder: Path, selection: Selection, evidence: Evidence, resolver: Resolver) -> Evidence:
    """The evidence together with the results that a folder holds, of all of the paper.

    Args:
        folder: where the results of both are to be written.
        selection: of the evidence.
        evidence: what was measured; of a measurement that the folder holds as well, the folder's result stays.
        resolver: with the profile of both.

    Raises:
        InputError: the folder's results are of another profile, or of a paper declared otherwise, so that they would
            be lost.
    """
    kept = kept_results(folder, resolver.profile)
    if kept is None:
        return evidence
    seeds: Sequence[int] = sorted({*kept.seeds, *evidence.seeds})
    whole = gather(select(selection.paper, [ALL]), Joined(kept, evidence.store), seeds, resolver)
    measurements = {**whole.measurements, **evidence.measurements}
    refuse_losses(kept, measurements.values())
    reasons = kept.why_missing(measurements.values()) | dict(evidence.reasons)
    return replace(whole, measurements=measurements, reasons=reasons, _loaded={})


def kept_results(folder: Path, profile: Profile, series: bool = True) -> ResultTable | None:
    """The results that a folder holds; None if it holds none.

    Args:
        folder: where.
        profile: that they have to be of.
        series: whether the series are wanted.

    Raises:
        InputError: they are of another profile.
    """
    if not (folder / TABLE).is_file():
        return None
    kept = ResultTable(folder, series)
    if kept.profile != profile:
        raise InputError(
            f"{folder} holds results of the profile {kept.profile.name} ({kept.profile.meaning}), and these are of "
            f"{profile.name} ({profile.meaning}): choose another folder"
        )
    return kept


def refuse_losses(kept: ResultTable, measurements: Iterable[Measurement]) -> None:
    """Refuse to write measurements over results that are not among them.

    Raises:
        InputError: a result that would be lost.
    """
    lost = kept.unused(measurements)
    if lost:
        raise InputError(f"{kept.folder} holds {len(lost)} results of nothing in the paper as it is read here, "
                         f"{lost[0]} for one, which would be lost: choose another folder")  # fmt: skip
