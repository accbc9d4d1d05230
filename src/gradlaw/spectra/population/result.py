"""Laws of a population beside the sample that they were fitted to."""

from dataclasses import dataclass

import numpy as np

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, count
from gradlaw.spectra.population.fit import PopulationLaw
from gradlaw.spectra.population.laws import population


@dataclass(frozen=True, eq=False)
class PopulationSpectrum(ByValue):
    """Laws of the spectrum of the covariance itself, beside the sample that they were fitted to.

    Attributes:
        sample: eigenvalues of the sample covariance of T iterations, divided by T - 1, descending.
        iterations: T: independent draws, which may be fewer than the history has.
        dimensions: n.
        outliers: leading eigenvalues that stand above the laws.
        last: number of the last sample eigenvalue that the laws were fitted to.
        power_law: lambda_r = c r^-s from the first rank below the outliers to n.
        broken: the same with another exponent from some rank on; None where the spectrum spans too little to tell, or
            none was asked for.
        spread: standard deviation of the sizes w_t of single draws over their mean; 0 where they cannot be told from
            equal.
    """

    sample: np.ndarray
    iterations: int
    dimensions: int
    outliers: int
    last: int
    power_law: PopulationLaw
    broken: PopulationLaw | None
    spread: float

    def law(self, alpha: float = 0.05) -> PopulationLaw:
        """The power law unless it is rejected at ``alpha`` and there is a broken one, which has four parameters."""
        broken = self.broken
        return broken if broken is not None and self.power_law.p_value < alpha else self.power_law

    def eigenvalues(self, k: int, alpha: float = 0.05) -> np.ndarray:
        """The k leading eigenvalues of the population: the outliers less their bias, and below them :meth:`law`.

        The bias of an outlier is, to first order, the trace of everything below it over T.
        """
        law = self.law(alpha)
        k = count(k, "k", self.outliers + 1)
        if k > self.dimensions:
            raise InputError(f"k={k} eigenvalues, while there are n={self.dimensions}")
        outliers = self.sample[: self.outliers]
        above = population(law.parameters, law.shape, outliers, len(self.sample)).values[: self.outliers]
        return np.concatenate([above, law.eigenvalues(np.arange(self.outliers + 1, k + 1))])
