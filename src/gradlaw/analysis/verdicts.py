"""Verdicts on spectra: power law or not, and how many eigenvalues stand off it."""

from collections.abc import Mapping
from dataclasses import dataclass

from gradlaw.spectra import Eigengaps, Spectrum, count_outliers, eigengaps
from gradlaw.spectra.matrices import COVARIANCE, SECOND_MOMENT
from gradlaw.spectra.outliers import FEWEST_BELOW, MOST_OUTLIERS
from gradlaw.stats import PowerLawFit

EIGENGAPS = "eigengaps"


@dataclass(frozen=True)
class SpectralVerdict:
    """The power-law fit of one spectrum, or the reason why there is none.

    ``outliers`` is the number of leading eigenvalues that a break sets apart from the line of those below (see
    :func:`~gradlaw.count_outliers`); None for eigengaps, and where there is no line.
    """

    matrix: str
    k: int
    rank: int
    fit: PowerLawFit | None
    refused: str | None
    outliers: int | None = None


def spectral_verdicts(spectra: Mapping[str, Spectrum], k: int, alpha: float) -> list[SpectralVerdict]:
    """Verdicts on the second moment, the covariance and its eigengaps, each on k of the largest values.

    k is lowered to what the sizes allow: T eigenvalues, of which centring makes one zero, and one gap fewer.
    """
    second, covariance = spectra[SECOND_MOMENT], spectra[COVARIANCE]
    most = len(second.eigenvalues)
    return [
        spectral_verdict(SECOND_MOMENT, second, min(k, most), alpha),
        spectral_verdict(COVARIANCE, covariance, min(k, most, covariance.iterations - 1), alpha),
        spectral_verdict(EIGENGAPS, eigengaps(covariance), min(k, most - 1), alpha),
    ]


def spectral_verdict(matrix: str, spectrum: Spectrum | Eigengaps, k: int, alpha: float) -> SpectralVerdict:
    """The verdict on one spectrum, which is called ``matrix``."""
    if k < 2:
        return SpectralVerdict(matrix, k, spectrum.rank, None, f"only {k} values, a fit needs at least 2")
    if k > spectrum.rank:
        kind = "eigengaps above rounding number" if matrix == EIGENGAPS else "spectrum has numerical rank"
        return SpectralVerdict(matrix, k, spectrum.rank, None, f"K={k} but the {kind} {spectrum.rank}")
    outliers = _outliers(spectrum, k) if isinstance(spectrum, Spectrum) else None
    return SpectralVerdict(matrix, k, spectrum.rank, spectrum.power_law(k, alpha), None, outliers)


def _outliers(spectrum: Spectrum, k: int) -> int | None:
    most = min(MOST_OUTLIERS, k - FEWEST_BELOW)
    if most < 1 or spectrum.eigenvalues[most] == spectrum.eigenvalues[k - 1]:
        return None
    return count_outliers(spectrum, k, most).count
