"""The spectra of the gradient second moment and of the gradient covariance, by way of the Gram matrix."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.argument_types import checked
from gradlaw.errors import InputError
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.spectra.access import Origin, own_columns, rounding_floor, rounding_of
from gradlaw.spectra.gram.dense import centre, gram_matrix
from gradlaw.spectra.gram.factored import factor_gram
from gradlaw.spectra.gram.tridiagonal import both_eigenvalues
from gradlaw.spectra.spectrum import Spectrum
from gradlaw.stats.rates import SeriesSource, as_source


@checked
def gradient_spectrum(
    history: Any,
    center: bool = True,
    *,
    iterations: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    replacement: bool | None = None,
    advance: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> Spectrum:
    """The spectrum of the gradient covariance, or of the second moment with ``center=False``.

    The n x n matrix is never formed: its nonzero eigenvalues are those of the T x T Gram matrix, summed in float64. For
    a Problem the (T, n) matrix is not formed either, see :func:`~gradlaw.spectra.gram.factored.factor_gram`.

    Args:
        history: a GradientHistory, a (T, n) array or tensor of gradients, or a Problem.
        center: take the mean over the iterations off first.
        iterations: T, of a Problem (default 5000); this and the next three as for :func:`gradlaw.collect`.
        batch_size: B, of a Problem (default 10).
        seed: of the minibatches of a Problem (default 0).
        replacement: draw each minibatch of a Problem independently instead of by shuffled epochs (default False).
        advance: called with the number of dimensions just accumulated, of a history.
        progress: where to show it, for a Problem.

    Raises:
        InputError: fewer than two iterations, a value that is not finite, or settings of minibatches for a history;
            for a Problem what :func:`gradlaw.collect` refuses.
    """
    progress = progress or SILENT
    asked = {"iterations": iterations, "batch_size": batch_size, "seed": seed, "replacement": replacement}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if isinstance(history, Problem):
        minibatches = Minibatches(history.samples, **{"iterations": 5000, "batch_size": 10, **given})
        result = factor_gram(history, minibatches, progress=progress)
        return spectrum_of_gram(result.gram, history.dimensions, center, result.rounding, result.gradients)
    if given:
        raise InputError(f"{', '.join(given)}: settings of a Problem's minibatches, while a history has its own")
    own = own_columns(history)
    gram = own.ranks.sum(gram_matrix(own.gradients, advance))
    source = as_source(history) if own.ranks.size == 1 else None
    return spectrum_of_gram(gram, own.dimensions, center, rounding_of(history), source)


def spectrum_of_gram(
    gram: Tensor, dimensions: int, center: bool, rounding: float, gradients: SeriesSource | None = None
) -> Spectrum:
    """The spectrum behind the Gram matrix G G^T of the uncentred gradients.

    ``rounding`` is the relative rounding error of a gradient, ||error|| / ||g||. With ``gradients``, see
    :class:`Origin`, the spectrum keeps them and the Gram matrix for its eigenvectors.
    """
    eigenvalues = torch.linalg.eigvalsh(centre(gram) if center else gram).cpu().numpy()
    origin = None if gradients is None else Origin(gradients, gram, rounding)
    return _spectrum(eigenvalues, gram, dimensions, center, rounding, origin)


def spectra_of_gram(gram: Tensor, dimensions: int, rounding: float) -> tuple[Spectrum, Spectrum]:
    """The second moment and the covariance behind one Gram matrix, in less time than one by one.

    Arguments as for :func:`spectrum_of_gram`, whose eigenvalues they have but for rounding.
    """
    if gram.device.type != "cpu":
        second, covariance = (spectrum_of_gram(gram, dimensions, center, rounding) for center in (False, True))
        return second, covariance
    second_moment, centred = both_eigenvalues(gram)
    return (
        _spectrum(second_moment, gram, dimensions, False, rounding),
        _spectrum(centred, gram, dimensions, True, rounding),
    )


def _spectrum(
    ascending: np.ndarray, gram: Tensor, dimensions: int, center: bool, rounding: float, origin: Origin | None = None
) -> Spectrum:
    """From the eigenvalues of the Gram matrix, or of the centred one, and the uncentred Gram matrix."""
    iterations = len(gram)
    eigenvalues = ascending[::-1][: min(iterations, dimensions)] / iterations
    second_moment_trace = float(gram.diagonal().mean())
    return Spectrum(
        eigenvalues=eigenvalues,
        centred=center,
        iterations=iterations,
        dimensions=dimensions,
        trace=second_moment_trace - float(gram.mean()) if center else second_moment_trace,
        floor=rounding_floor(iterations, float(eigenvalues[0]), second_moment_trace, rounding),
        origin=origin,
    )
