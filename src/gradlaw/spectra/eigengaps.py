"""Eigengaps of a spectrum (paper Eq. 4 and 5)."""

from dataclasses import dataclass

import numpy as np

from gradlaw.argument_types import checked
from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.spectra.spectrum import Spectrum
from gradlaw.stats.powerlaw import PowerLawFit, fit_power_law


@dataclass(frozen=True, eq=False)
class Eigengaps(ByValue):
    """delta_k = lambda_k - lambda_(k+1) over all pairs, in the order of the eigenvalues.

    Attributes:
        values: shape (number of eigenvalues - 1,), not negative.
        matrix: of which spectrum.
        floor: gaps up to here are differences of rounding errors.
    """

    values: np.ndarray
    matrix: str
    floor: float

    @property
    def sorted(self) -> np.ndarray:
        """The gaps in descending order."""
        return np.sort(self.values)[::-1]

    @property
    def rank(self) -> int:
        """How many gaps are above the floor."""
        return int((self.values > self.floor).sum())

    def power_law(self, k: int = 1000, alpha: float = 0.05) -> PowerLawFit:
        """The power-law fit of the k largest gaps, wherever in the spectrum they are.

        Raises:
            InputError: some of the k largest gaps are rounding errors.
        """
        if k > self.rank:
            raise InputError(f"k={k} but only {self.rank} eigengaps of the {self.matrix} spectrum are above rounding")
        return fit_power_law(self.values, k, alpha)


@checked
def eigengaps(spectrum: Spectrum) -> Eigengaps:
    """The gaps between neighbouring eigenvalues of a spectrum, over all pairs.

    Args:
        spectrum: of two eigenvalues or more.

    Raises:
        InputError: a spectrum of a single eigenvalue.
    """
    if len(spectrum.eigenvalues) < 2:
        raise InputError("eigengaps need at least 2 eigenvalues, got 1")
    return Eigengaps(-np.diff(spectrum.eigenvalues), spectrum.matrix, spectrum.floor)
