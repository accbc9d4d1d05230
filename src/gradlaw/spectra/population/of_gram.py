"""The laws behind a Gram matrix, or why they cannot be told."""

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import count
from gradlaw.spectra.access import rounding_floor
from gradlaw.spectra.gram.tridiagonal import reflected
from gradlaw.spectra.outliers import FEWEST_BELOW, MOST_OUTLIERS, count_outliers
from gradlaw.spectra.population.fit import Measured, PopulationLaw, fit_law
from gradlaw.spectra.population.laws import population
from gradlaw.spectra.population.log_determinants import Weighted
from gradlaw.spectra.population.result import PopulationSpectrum
from gradlaw.spectra.population.scales import equal_scales, estimated_scales, spread_of

FEWEST = 40  # eigenvalues of a fit
_USED = 0.9  # of the eigenvalues above rounding
_SCALED = 1000  # iterations that tell how sizes scatter
_ROUNDS = 2  # of measuring the sizes and fitting the law again


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
    iterations = len(gram)
    if iterations <= FEWEST:
        return f"{iterations} independent iterations are too few: a population spectrum takes more than {FEWEST}"
    draws = reflected(gram.cpu())[1:, 1:] / (iterations - 1)  # T - 1 of mean zero, with the covariance of one
    if covariance is None:
        sample = torch.linalg.eigvalsh(draws).flip(0).numpy()
    else:
        sample = np.zeros(iterations - 1)
        sample[: len(covariance)] = covariance[: iterations - 1] * (iterations / (iterations - 1))
    floor = rounding_floor(iterations, float(sample[0]), float(gram.diagonal().mean()), rounding)
    measured = _measured(sample, int((sample > floor).sum()), outliers, last)
    if isinstance(measured, str):
        return measured
    scales, power = equal_scales(len(draws)), None
    for left in reversed(range(_ROUNDS + 1)):
        power = fit_law(measured, dimensions, scales, "power law")
        if power is None:
            return f"no power law comes near the spectrum: its first {measured.last} eigenvalues do not fall like one"
        if left:
            scales = _scales(draws, power, measured, scales)
    assert power is not None
    return PopulationSpectrum(
        sample=sample,
        iterations=iterations,
        dimensions=dimensions,
        outliers=measured.outliers,
        last=measured.last,
        power_law=power,
        broken=fit_law(measured, dimensions, scales, "broken power law") if broken else None,
        spread=spread_of(scales),
    )


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
