"""The laws behind a Gram matrix, or why they cannot be told."""

import numpy as np
from torch import Tensor

from gradlaw.errors import count
from gradlaw.spectra.outliers import FEWEST_BELOW, MOST_OUTLIERS, count_outliers
from gradlaw.spectra.population.fit import Measured, fit_law
from gradlaw.spectra.population.laws import population
from gradlaw.spectra.population.log_determinants import Draws, sizing_variance
from gradlaw.spectra.population.result import PopulationSpectrum, sample_eigenvalues
from gradlaw.spectra.population.sizes import above_rounding, distinct, equalized, long_enough, measured_sizes

FEWEST = 40  # eigenvalues of a fit
_USED = 0.9  # of the eigenvalues above rounding


def population_or_reason(
    gram: Tensor,
    dimensions: int,
    rounding: float,
    *,
    outliers: int | None = None,
    last: int | None = None,
    broken: bool = True,
    covariance: np.ndarray | None = None,
) -> PopulationSpectrum | str:
    """The laws, or in words why there are none.

    Args:
        gram: G G^T of T uncentred, independent gradients, (T, T) float64.
        dimensions: n.
        rounding: relative rounding error of a gradient.
        outliers: see :func:`~gradlaw.spectra.population_spectrum`.
        last: see there.
        broken: see there.
        covariance: the eigenvalues of the sample covariance (divided by T), if they are at hand.
    """
    whole = gram.cpu().numpy()
    kept = distinct(whole)
    whole = whole if kept.all() else whole[kept][:, kept]
    iterations = len(whole)
    if iterations <= FEWEST:
        return f"{iterations} independent iterations are too few: a population spectrum takes more than {FEWEST}"
    kept = long_enough(whole)
    used = whole if kept.all() else whole[kept][:, kept]
    if len(used) <= FEWEST:
        return (
            f"{iterations - len(used)} of {iterations} independent gradients are next to zero: a population spectrum "
            f"takes more than {FEWEST} others"
        )
    sizes = measured_sizes(used, rounding)
    if sizes is None:
        return "the sizes of the gradients cannot be told: one of them lies where their mean is"
    equal = equalized(used, sizes.values)
    eigenvalues = np.ascontiguousarray(np.linalg.eigvalsh(equal)[::-1]) * (len(used) / iterations)
    draws = Draws(len(equal), sizes.tau * (len(used) / iterations), sizes.reference)
    measured = _measured(eigenvalues, above_rounding(eigenvalues, used, sizes.values, rounding), outliers, last)
    if isinstance(measured, str):
        return measured
    power = fit_law(measured, dimensions, draws, "power law")
    if power is None:
        return f"no power law comes near the spectrum: its first {measured.last} eigenvalues do not fall like one"
    bent = fit_law(measured, dimensions, draws, "broken power law") if broken else None
    # The mean of the measured sizes, which are taken to be of mean 1, has that of their errors in it.
    above = eigenvalues[: measured.outliers]
    variance = sizing_variance(population(power.parameters, power.shape, above, draws.count), draws)
    factor = float(np.exp(-variance / 2))
    return PopulationSpectrum(
        sample=_sample(gram, covariance),
        equalized=eigenvalues * factor,
        iterations=iterations,
        dimensions=dimensions,
        outliers=measured.outliers,
        last=measured.last,
        power_law=power.scaled(factor),
        broken=None if bent is None else bent.scaled(factor),
        sizes=sizes.values,
    )


def _sample(gram: Tensor, covariance: np.ndarray | None) -> np.ndarray:
    """T - 1 eigenvalues of the sample covariance, divided by T - 1."""
    iterations = len(gram)
    if covariance is None:
        return sample_eigenvalues(gram.cpu())
    sample = np.zeros(iterations - 1)
    sample[: len(covariance)] = covariance[: iterations - 1] * (iterations / (iterations - 1))
    return sample


def _measured(sample: np.ndarray, rank: int, outliers: int | None, last: int | None) -> Measured | str:
    """The eigenvalues to fit to, or why they do not do."""
    last = int(_USED * rank) if last is None else count(last, "last")
    if last > rank:
        return f"last={last} but the covariance spectrum has numerical rank {rank}"
    if outliers is None:
        most = min(MOST_OUTLIERS, last - FEWEST_BELOW)
        falls = most >= 1 and sample[most] > sample[last - 1]
        outliers = count_outliers(sample[:last], last, most).count if falls else 0
    outliers = count(outliers, "outliers", 0)
    if last - outliers < FEWEST:
        return (
            f"a population spectrum is fitted to at least {FEWEST} eigenvalues; {max(0, last - outliers)} are left of "
            f"{rank} above rounding, {outliers} of them outliers: take more independent iterations"
        )
    return Measured(sample, outliers, last)
