"""The population behind the spectrum of a sample covariance: which law it follows, with intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, count
from gradlaw.spectra.access import gradients_of, rounding_floor, rounding_of
from gradlaw.spectra.eigenvectors import check_gram
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.spectra.gram.tridiagonal import reflected
from gradlaw.spectra.outliers import FEWEST_BELOW, MOST_OUTLIERS, count_outliers
from gradlaw.spectra.population.fit import Measured, PopulationLaw, fit_law
from gradlaw.spectra.population.laws import population
from gradlaw.spectra.population.log_determinants import Weighted
from gradlaw.spectra.population.scales import equal_scales, estimated_scales, spread_of

FEWEST = 40  # eigenvalues of a fit
_USED = 0.9  # of the eigenvalues above rounding
_SCALED = 1000  # iterations that tell how sizes scatter
_ROUNDS = 2
_INDEPENDENT = ("clip-norm", "clip-value", "weight-decay")  # transforms of each gradient alone


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


def population_spectrum(
    history: Any,
    *,
    outliers: int | None = None,
    last: int | None = None,
    broken: bool = True,
    gram: Tensor | None = None,
) -> PopulationSpectrum:
    """The law of the eigenvalues of the gradient covariance itself, from a sample of T << n gradients.

    The eigenvalues of a sample covariance of T gradients are those of the covariance only while T is far above the
    dimensions that count: below, the leading ones are too large, all others are spread, and after T there is none. Here
    the family of laws is fitted by what T draws from it are expected to show (see
    :mod:`gradlaw.spectra.population.log_determinants`), with draws that may differ in size (B = 1: some gradients are
    many times longer than others), which a sample spectrum otherwise shows as a steeper law.

    Draws have to be independent. Minibatches of one epoch without replacement are, as draws from what the data are a
    sample of; later epochs repeat them and are left out. With replacement the population is the data set.

    Args:
        history: a GradientHistory, in memory or on disk, or a (T, n) array of independent gradients.
        outliers: leading eigenvalues that are not of the law. Default: :func:`~gradlaw.spectra.count_outliers`.
        last: number of the last eigenvalue to use. Default: 90% of those above rounding.
        broken: also fit a law with a break, which takes several times as long.
        gram: G G^T of the uncentred gradients as :func:`~gradlaw.spectra.gram.dense.gram_matrix` makes it, if at hand.

    Raises:
        InputError: iterations that depend on one another (momentum, Adam), fewer than 40 eigenvalues to fit to, no law
            that comes near, or a value that is not finite.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> draws = rng.standard_normal((100, 800)) * np.arange(1, 801) ** -0.5  # eigenvalues r^-1
        >>> low, high = population_spectrum(draws).power_law.interval("s")
        >>> low < 1 < high
        True
    """
    gradients = gradients_of(history)
    iterations = independent_iterations(history, len(gradients))
    if gram is not None:
        check_gram(gram, len(gradients))
        gram = gram[:iterations, :iterations]
    else:
        gram = gram_matrix(gradients[:iterations])
    rounding = rounding_of(history)
    return population_of_gram(gram, gradients.shape[1], rounding, outliers=outliers, last=last, broken=broken)


def independent_iterations(history: Any, iterations: int) -> int:
    """How many of the first iterations of a history are independent draws.

    Raises:
        InputError: transforms that make iterations depend on one another.
    """
    settings = getattr(history, "settings", None)
    if settings is None:
        return iterations
    stateful = [t for t in settings.transforms if t.partition("=")[0] not in _INDEPENDENT]
    if stateful:
        raise InputError(
            f"a population is of independent draws, and {', '.join(stateful)} makes each depend on those before"
        )
    return iterations if settings.replacement else min(iterations, settings.samples // settings.batch_size)


def population_of_gram(
    gram: Tensor,
    dimensions: int,
    rounding: float = 0.0,
    *,
    outliers: int | None = None,
    last: int | None = None,
    broken: bool = True,
) -> PopulationSpectrum:
    """:func:`population_spectrum` from G G^T of uncentred, independent gradients, (T, T) float64.

    Args:
        gram: of the T gradients.
        dimensions: n.
        rounding: relative rounding error of a gradient.
        outliers: see :func:`population_spectrum`.
        last: see :func:`population_spectrum`.
        broken: see :func:`population_spectrum`.

    Raises:
        InputError: see :func:`population_spectrum`.
    """
    draws = reflected(gram.cpu())[1:, 1:] / (len(gram) - 1)  # T - 1 of mean zero, with the covariance of one
    sample = torch.linalg.eigvalsh(draws).flip(0).numpy()
    floor = rounding_floor(len(gram), float(sample[0]), float(gram.diagonal().mean()), rounding)
    measured = _measured(sample, int((sample > floor).sum()), outliers, last)
    scales = equal_scales(len(draws))
    power = fit_law(measured, dimensions, scales, "power law")
    for _ in range(_ROUNDS):
        assert power is not None  # a law of two parameters is always fitted
        scales = _scales(draws, power, measured, scales)
        power = fit_law(measured, dimensions, scales, "power law")
    assert power is not None
    return PopulationSpectrum(
        sample=sample,
        iterations=len(gram),
        dimensions=dimensions,
        outliers=measured.outliers,
        last=measured.last,
        power_law=power,
        broken=fit_law(measured, dimensions, scales, "broken power law") if broken else None,
        spread=spread_of(scales),
    )


def _measured(sample: np.ndarray, rank: int, outliers: int | None, last: int | None) -> Measured:
    """The eigenvalues to fit to, checked."""
    last = int(_USED * rank) if last is None else count(last, "last")
    if last > rank:
        raise InputError(f"last={last} but the covariance spectrum has numerical rank {rank}")
    if outliers is None:
        most = min(MOST_OUTLIERS, last - FEWEST_BELOW)
        outliers = count_outliers(sample[:last], last, most).count if most >= 1 else 0
    outliers = count(outliers, "outliers", 0)
    if last - outliers < FEWEST:
        raise InputError(
            f"a population spectrum is fitted to at least {FEWEST} eigenvalues; {max(0, last - outliers)} are left of "
            f"{rank} above rounding, {outliers} of them outliers: take more independent iterations"
        )
    return Measured(sample, outliers, last)


def _scales(draws: Tensor, law: PopulationLaw, measured: Measured, scales: Weighted) -> Weighted:
    """From the first iterations, which are enough: an inverse of all would take as long as a spectrum."""
    used = min(len(draws), _SCALED)
    gram = draws[:used, :used].numpy() * (len(draws) / used)
    outliers = measured.eigenvalues[: measured.outliers]
    known = population(law.parameters, law.shape, outliers, len(draws))
    fewer = Weighted(scales.values, scales.counts * used / len(draws))
    taus = measured.taus
    found = estimated_scales(gram, known, fewer, float(taus[2 * len(taus) // 3]))
    return Weighted(found.values, found.counts * len(draws) / used)
