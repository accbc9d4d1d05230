"""The spectra of the gradient second moment and of the gradient covariance."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import InputError
from gradlaw.spectra.gram import centre, gram_matrix
from gradlaw.stats.arrays import as_matrix, refuse_non_finite
from gradlaw.stats.powerlaw import PowerLawFit, fit_power_law

MATRICES = {False: "second moment", True: "covariance"}


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of (1/T) sum g g^T, or of the same with the mean over the iterations taken off (``centred``).

    Attributes:
        eigenvalues: all min(T, n), descending, float64; those of the T x T Gram matrix divided by T.
        centred: False for the second moment, True for the covariance.
        iterations: T.
        dimensions: n.
        trace: sum of the eigenvalues, from the diagonal.
        floor: eigenvalues up to here cannot be told from rounding: the larger of T eps64 lambda_1, the precision of
            the eigenvalue solver, and rounding^2 trace, the power of the relative rounding error of the gradients.
    """

    eigenvalues: np.ndarray
    centred: bool
    iterations: int
    dimensions: int
    trace: float
    floor: float

    def __post_init__(self) -> None:
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


def gradient_spectrum(history: Any, center: bool = True, *, advance: Callable[[int], None] | None = None) -> Spectrum:
    """The spectrum of the gradient covariance, or of the second moment with ``center=False``.

    The n x n matrix is never formed: its nonzero eigenvalues are those of the T x T Gram matrix, summed in float64.

    Args:
        history: a GradientHistory, or a (T, n) array or tensor of gradients.
        center: take the mean over the iterations off first.
        advance: called with the number of dimensions just accumulated.

    Raises:
        InputError: fewer than two iterations, or a value that is not finite.
    """
    gradients = gradients_of(history)
    gram = gram_matrix(gradients, advance)
    return spectrum_of_gram(gram, gradients.shape[1], center, rounding_of(history))


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
    return measured if measured is not None else torch.finfo(as_matrix(history).dtype).eps


def tensor_of(history: Any) -> Tensor:
    """The same, for what needs all gradients in memory.

    Raises:
        InputError: they are on disk.
    """
    gradients = gradients_of(history)
    if not isinstance(gradients, Tensor):
        raise InputError(
            "this needs the gradients in memory and the history is on disk: collect it with store='memory', or pass a "
            "part of it, history[a:b]"
        )
    return gradients


def rounding_floor(iterations: int, largest: float, second_moment_trace: float, rounding: float) -> float:
    """``Spectrum.floor``: up to where eigenvalues cannot be told from rounding."""
    solver = iterations * float(np.finfo(np.float64).eps) * max(largest, second_moment_trace / iterations)
    return max(solver, rounding**2 * second_moment_trace)


def spectrum_of_gram(gram: Tensor, dimensions: int, center: bool, rounding: float) -> Spectrum:
    """The spectrum behind the Gram matrix G G^T of the uncentred gradients.

    ``rounding`` is the relative rounding error of a gradient, ||error|| / ||g||.
    """
    iterations = len(gram)
    second_moment_trace = float(gram.diagonal().mean())
    chosen = (centre(gram) if center else gram) / iterations
    eigenvalues = torch.linalg.eigvalsh(chosen).flip(0)[: min(iterations, dimensions)].cpu().numpy()
    return Spectrum(
        eigenvalues=eigenvalues,
        centred=center,
        iterations=iterations,
        dimensions=dimensions,
        trace=float(chosen.diagonal().sum()),
        floor=rounding_floor(iterations, float(eigenvalues[0]), second_moment_trace, rounding),
    )
