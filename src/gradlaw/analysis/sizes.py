"""How many values the tests of a history use, of those asked for."""

from dataclasses import dataclass

from gradlaw.errors import InputError
from gradlaw.spectra.approximate import most_told
from gradlaw.stats.gaussian import SHORTEST
from gradlaw.stats.power import K, lowered_k
from gradlaw.stats.series import AXES


@dataclass(frozen=True)
class Sizes:
    """Sizes that a history of some shape allows.

    Attributes:
        k: largest values in a power-law test, by axis.
        of_spectra: largest values in a fit of a spectrum.
        gaussian_k: values drawn for a Gaussian test, by axis; None where a series is too short for one.
        notices: what was lowered or left out, in words.
    """

    k: dict[str, int]
    of_spectra: int
    gaussian_k: dict[str, int | None]
    notices: list[str]

    @classmethod
    def lowered(cls, asked: int | None, gaussian_k: int, shape: tuple[int, int], sketch: int | None = None) -> "Sizes":
        """What the shape of the history allows of the sizes asked for, and what sketches of so many numbers tell."""
        iterations, dimensions = shape
        if dimensions < 2:
            raise InputError("a single parameter is analysed; the tests across dimensions need at least 2")
        notices = []
        lengths: dict[str, int] = dict(zip(AXES, (dimensions, iterations), strict=True))
        k = K if asked is None else asked
        used = {axis: lowered_k(k, length) if asked is None or k > length else k for axis, length in lengths.items()}
        notices += [
            f"K lowered from {k:,} to {lowered:,} in {axis}-wise tests: a tail is at most a third of the "
            f"{lengths[axis]:,} values of a series"
            for axis, lowered in used.items()
            if lowered < k
        ]
        eigenvalues = min(iterations, dimensions)
        of_spectra = lowered_k(k, eigenvalues) if asked is None else min(k, eigenvalues)
        if of_spectra < k:
            most = "a third of the " if asked is None else ""
            notices.append(
                f"K lowered from {k:,} to {of_spectra:,} in fits of spectra: {most}{eigenvalues:,} eigenvalues that "
                f"T = {iterations:,} iterations of n = {dimensions:,} dimensions give"
            )
        if sketch is not None:
            told = min(of_spectra, most_told(iterations, sketch))
            if told < of_spectra:
                notices.append(
                    f"K lowered from {of_spectra:,} to {told:,} in fits of spectra, which sketches of "
                    f"{sketch:,} numbers tell"
                )
            of_spectra = told
        gaussian: dict[str, int | None] = {}
        for axis, length in lengths.items():
            gaussian[axis] = min(gaussian_k, length) if length >= SHORTEST else None
            if length < SHORTEST:
                notices.append(f"{axis}-wise Gaussian test left out: it needs {SHORTEST} values, a series has {length}")
            elif length < gaussian_k:
                notices.append(f"{axis}-wise Gaussian test on all {length} values of a series instead of {gaussian_k}")
        return cls(used, of_spectra, gaussian, notices)
