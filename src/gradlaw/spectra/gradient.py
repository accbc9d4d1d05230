"""The spectra of the gradient second moment and of the gradient covariance."""

from collections.abc import Callable
from dataclasses import InitVar, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.spectra.gram.dense import centre, gram_matrix
from gradlaw.spectra.gram.factored import factor_gram
from gradlaw.spectra.gram.tridiagonal import both_eigenvalues
from gradlaw.stats.arrays import as_matrix, refuse_non_finite
from gradlaw.stats.powerlaw import PowerLawFit, fit_power_law
from gradlaw.stats.rates import SeriesSource, as_source

if TYPE_CHECKING:
    from gradlaw.spectra.eigenvectors import Eigenvectors

MATRICES = {False: "second moment", True: "covariance"}
_AGREEMENT = 1e-8  # of eigenvalues computed twice, relative to the largest
_HALF_EPS = {"bfloat16": 2.0**-7, "float16": 2.0**-10}


class Origin(NamedTuple):
    """What the eigenvectors of a spectrum are made from.

    ``gradients`` is streamed by its rows each time that eigenvectors are asked for: a GradientHistory, or anything with
    a ``shape`` (T, n) whose ``blocks("dimension")`` yields (first, rows first onwards of shape (m, n)), computed anew
    if need be. ``gram`` is G G^T of the same, uncentred; ``rounding`` its relative rounding error.
    """

    gradients: SeriesSource
    gram: Tensor
    rounding: float


@dataclass(frozen=True, eq=False)
class Spectrum(ByValue):
    """Eigenvalues of (1/T) sum g g^T, or of the same with the mean over the iterations taken off (``centred``).

    Attributes:
        eigenvalues: all min(T, n), descending, float64; those of the T x T Gram matrix divided by T.
        centred: False for the second moment, True for the covariance.
        iterations: T.
        dimensions: n.
        trace: sum of the eigenvalues, from the diagonal.
        floor: eigenvalues up to here cannot be told from rounding: the larger of T eps64 lambda_1, the precision of
            the eigenvalue solver, and rounding^2 trace, the power of the relative rounding error of the gradients.
        origin: gradients and Gram matrix, for :meth:`eigenvectors`; no field. Copies and ``dataclasses.replace`` share
            it; it is neither saved nor pickled, and takes no part in comparisons.
    """

    eigenvalues: np.ndarray
    centred: bool
    iterations: int
    dimensions: int
    trace: float
    floor: float
    origin: InitVar[Origin | None] = None

    def __post_init__(self, origin: Origin | None) -> None:
        object.__setattr__(self, "origin", origin)  # where dataclasses.replace looks for it
        negative = np.flatnonzero(~(self.eigenvalues >= -self.floor))
        if len(negative):
            rank, value = negative[0] + 1, self.eigenvalues[negative[0]]
            raise InputError(
                f"eigenvalue {rank} of {len(self.eigenvalues)} is {value:.6g}, below "
                f"the rounding floor of -{self.floor:.3g}: a {self.matrix} has no negative eigenvalues"
            )

    @property
    def matrix(self) -> str:
        """``"second moment"`` or ``"covariance"``."""
        return MATRICES[self.centred]

    @property
    def rank(self) -> int:
        """Numerical rank: how many eigenvalues are above the floor."""
        return int((self.eigenvalues > self.floor).sum())

    def power_law(self, k: int = 1000, alpha: float = 0.05) -> PowerLawFit:
        """The power-law fit of the k largest eigenvalues.

        A spectrum is not a sample: eigenvalues repel one another, so that passing means "as straight as a power law on
        log-log axes", and the p-value is descriptive.

        Raises:
            InputError: some of the k largest eigenvalues are rounding errors.
        """
        if k > self.rank:
            raise InputError(f"k={k} but the {self.matrix} spectrum has numerical rank {self.rank}")
        return fit_power_law(self.eigenvalues, k, alpha)

    def eigenvectors(self, k: int) -> "Eigenvectors":
        """The k leading eigenvectors u_k = G^T v_k / sqrt(T lambda_k) in parameter space, computed anew at each call.

        Arguments and result as for :func:`~gradlaw.spectra.eigenvectors.gradient_eigenvectors`. The gradients are
        read, or collected, once more.

        Raises:
            InputError: k < 1, k above the numerical rank, or a spectrum that does not know its gradients: one that was
                loaded, or computed from a Gram matrix alone.
        """
        from gradlaw.spectra.eigenvectors import eigenvectors_of

        origin: Origin | None = self.__dict__.get("origin")
        if origin is None:
            raise InputError(
                "this spectrum does not know its gradients (it was loaded, or comes from a Gram matrix alone): use "
                "gradient_spectrum(history).eigenvectors(k)"
            )
        found = eigenvectors_of(origin, k, self.centred)
        # A part of rounding is left to another algorithm for the same eigenvalues.
        tolerance = _AGREEMENT * self.eigenvalues[0] + self.floor
        if not np.allclose(found.eigenvalues, self.eigenvalues[:k], rtol=0, atol=tolerance):
            raise InputError(
                "the eigenvalues of this spectrum are not those of the gradients that it was computed from (were they "
                "replaced?): use gradient_spectrum(history).eigenvectors(k)"
            )
        return found

    def __copy__(self) -> "Spectrum":
        return replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Spectrum":
        return replace(self, eigenvalues=self.eigenvalues.copy())

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: without the gradients, which may be many gigabytes, or computed by a model."""
        return {name: value for name, value in self.__dict__.items() if name != "origin"}


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
        batch_size: B, of a Problem (default 1).
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
        minibatches = Minibatches(history.samples, **{"iterations": 5000, "batch_size": 1, **given})
        result = factor_gram(history, minibatches, progress=progress)
        return spectrum_of_gram(result.gram, history.dimensions, center, result.rounding, result.gradients)
    if given:
        raise InputError(f"{', '.join(given)}: settings of a Problem's minibatches, while a history has its own")
    gradients = gradients_of(history)
    gram = gram_matrix(gradients, advance)
    return spectrum_of_gram(gram, gradients.shape[1], center, rounding_of(history), as_source(history))


def gradients_of(history: Any) -> Any:
    """The (T, n) matrix of a GradientHistory, in memory or on disk, or an array as a checked tensor."""
    gradients = getattr(history, "gradients", None)
    if gradients is not None:
        return gradients
    matrix = as_matrix(history, "history")
    if matrix.shape[0] < 2:
        raise InputError(f"a spectrum needs at least 2 iterations, got {matrix.shape[0]}")
    refuse_non_finite(matrix)
    return matrix


def rounding_of(history: Any) -> float:
    """The relative rounding error of the gradients: measured where they were collected, else that of their type."""
    measured = getattr(history, "rounding", None)
    if measured is not None:
        return measured
    half = _HALF_EPS.get(str(getattr(history, "dtype", None)).removeprefix("torch."))
    return half or torch.finfo(as_matrix(history).dtype).eps


def rounding_floor(iterations: int, largest: float, second_moment_trace: float, rounding: float) -> float:
    """``Spectrum.floor``: up to where eigenvalues cannot be told from rounding."""
    solver = iterations * float(np.finfo(np.float64).eps) * max(largest, second_moment_trace / iterations)
    return max(solver, rounding**2 * second_moment_trace)


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
