"""Laws of a population beside the sample that they were fitted to."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, count
from gradlaw.spectra.gram.tridiagonal import reflected
from gradlaw.spectra.population.draws import drawn_gram
from gradlaw.spectra.population.fit import PopulationLaw
from gradlaw.spectra.population.laws import population

_LEADING = 4096  # eigenvalues, and twice T, that are drawn one by one


@dataclass(frozen=True, eq=False)
class PopulationSpectrum(ByValue):
    """Laws of the spectrum of the covariance itself, beside the sample that they were fitted to.

    Attributes:
        sample: eigenvalues of the sample covariance of T iterations, divided by T - 1, descending.
        equalized: the same of gradients that are made equal in size, whose mean is weighted by one over their sizes.
        iterations: T: independent draws, which may be fewer than the history has.
        dimensions: n.
        outliers: leading eigenvalues that stand above the laws.
        last: number of the last equalized eigenvalue that the laws were fitted to.
        sizes: w_t of the gradients, of mean 1: their lengths squared, beside noise. Shape (len(equalized) + 1,): the
            iterations whose gradient is not zero.
        power_law: lambda_r = c r^-s from the first rank below the outliers to n.
        broken: the same with another exponent from some rank on; None where the spectrum spans too little to tell, or
            none was asked for.
    """

    sample: np.ndarray
    equalized: np.ndarray
    iterations: int
    dimensions: int
    outliers: int
    last: int
    power_law: PopulationLaw
    broken: PopulationLaw | None
    sizes: np.ndarray

    @property
    def spread(self) -> float:
        """Standard deviation of the sizes over their mean; not 0 for equal ones, which are measured beside noise."""
        return float(self.sizes.std() / self.sizes.mean())

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
        outliers = self.equalized[: self.outliers]
        above = population(law.parameters, law.shape, outliers, len(self.equalized)).values[: self.outliers]
        return np.concatenate([above, law.eigenvalues(np.arange(self.outliers + 1, k + 1))])

    def drawn_sample(self, seed: int = 0, alpha: float = 0.05) -> np.ndarray:
        """The sample spectrum of T Gaussian draws from :meth:`eigenvalues`, of the sizes that were measured.

        What :attr:`sample` would look like were the population of this law and nothing else: what both have in common
        is no evidence for more. The smallest eigenvalues, which together are nearly the same in every draw, are
        taken for their mean.

        Args:
            seed: of the draws.
            alpha: at which the power law is given up for the broken one.

        Returns:
            Eigenvalues of the sample covariance divided by T - 1, shape of :attr:`sample`, descending.
        """
        eigenvalues = self.eigenvalues(self.dimensions, alpha)
        leading = max(_LEADING, 2 * self.iterations)
        rest = float(eigenvalues[leading:].sum())
        gram = drawn_gram(eigenvalues[:leading], len(self.sizes), seed)
        gram.diagonal().add_(rest)
        lengths = torch.from_numpy(np.sqrt(self.sizes * (self.iterations / len(self.sizes))))
        whole = torch.zeros(self.iterations, self.iterations, dtype=gram.dtype)
        whole[: len(gram), : len(gram)] = gram * torch.outer(lengths, lengths)
        return sample_eigenvalues(whole)


def sample_eigenvalues(gram: Tensor) -> np.ndarray:
    """The T - 1 eigenvalues of the sample covariance, divided by T - 1, descending."""
    values = torch.linalg.eigvalsh(reflected(gram)[1:, 1:] / (len(gram) - 1))
    return np.asarray(values.flip(0).numpy())
