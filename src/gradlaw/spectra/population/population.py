"""The population behind the spectrum of a sample covariance: which law it follows, with intervals."""

from typing import Any

from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.history.settings import HistorySettings
from gradlaw.spectra.access import gradients_of, rounding_of
from gradlaw.spectra.eigenvectors import check_gram
from gradlaw.spectra.gram.dense import gram_matrix
from gradlaw.spectra.population.of_gram import population_or_reason
from gradlaw.spectra.population.result import PopulationSpectrum

_INDEPENDENT = ("clip-norm", "clip-value", "weight-decay")  # transforms of each gradient alone


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
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> draws = rng.standard_normal((100, 800)) * np.arange(1, 801) ** -0.5  # eigenvalues r^-1
        >>> low, high = population_spectrum(draws).power_law.interval("s")
        >>> low < 1 < high
        True
    """
    gradients = gradients_of(history)
    settings = getattr(history, "settings", None)
    reason = None if settings is None else why_dependent(settings)
    if reason is not None:
        raise InputError(reason)
    iterations = len(gradients) if settings is None else independent_iterations(settings)
    if gram is not None:
        check_gram(gram, len(gradients))
        gram = gram[:iterations, :iterations]
    else:
        gram = gram_matrix(gradients[:iterations])
    rounding = rounding_of(history)
    return population_of_gram(gram, gradients.shape[1], rounding, outliers=outliers, last=last, broken=broken)


def independent_iterations(settings: HistorySettings) -> int:
    """How many of the first iterations of a history are independent draws: those of one epoch, without replacement."""
    return (
        settings.iterations
        if settings.replacement
        else min(settings.iterations, settings.samples // settings.batch_size)
    )


def why_dependent(settings: HistorySettings) -> str | None:
    """Which transforms make iterations depend on one another, in words; None where none does."""
    stateful = [t for t in settings.transforms if t.partition("=")[0] not in _INDEPENDENT]
    if not stateful:
        return None
    return f"a population is of independent draws, and {', '.join(stateful)} makes each depend on those before"


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
    found = population_or_reason(gram, dimensions, rounding, outliers=outliers, last=last, broken=broken)
    if isinstance(found, str):
        raise InputError(found)
    return found
