"""How far a leading subspace turns between two matrices, and how far the Davis-Kahan theorem lets it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradlaw.argument_types import checked
from gradlaw.by_value import ByValue
from gradlaw.curvature.eigensolver.eigenpairs import Eigenpairs, eigenpairs
from gradlaw.curvature.operators.base import CurvatureOperator, as_operator
from gradlaw.dynamics.subspace import vectors_of
from gradlaw.errors import InputError, count
from gradlaw.spectra.eigenvectors import Eigenvectors
from gradlaw.spectra.subspaces import principal_angles


@dataclass(frozen=True, eq=False)
class SubspaceRotation(ByValue):
    """The leading k-dimensional eigenspaces of two symmetric matrices A and B.

    Attributes:
        angles: shape (k,), the principal angles, ascending, in radians.
        gap: lambda_k - lambda_(k+1) of A.
        perturbation: ||A - B||_op.
        bound: 2 ||A - B||_op / gap, which the sine of the largest angle does not exceed; infinite without a gap.
    """

    angles: np.ndarray
    gap: float
    perturbation: float
    bound: float

    @property
    def sine(self) -> float:
        """Of the largest angle: ||sin Theta||_op."""
        return float(np.sin(self.angles[-1]))

    @property
    def overlap(self) -> float:
        """Mean squared cosine of the angles, 0 to 1."""
        return float(np.square(np.cos(self.angles)).mean())

    @property
    def vacuous(self) -> bool:
        """Whether the bound is 1 or more, and says nothing: any subspace meets it."""
        return self.bound >= 1


def subspace_rotation(first: Any, second: Any, k: int, perturbation: float) -> SubspaceRotation:
    """The principal angles between two leading eigenspaces, beside the Davis-Kahan bound.

    The bound: ||sin Theta||_op <= 2 ||A - B||_op / (lambda_k - lambda_(k+1)), with the gap of A alone. It follows from
    Davis and Kahan 1970 as Theorem 2 of Yu, Wang and Samworth 2015 does (which has the Frobenius norm on the left, and
    with it a root of k on the right): with e = ||A - B||_op, Weyl's inequality leaves a gap of at least gap - e between
    the k-th eigenvalue of A and the next of B, so that the sine is at most e / (gap - e), which is at most 2 e / gap
    where that is below 1. It is exact for exact eigenvectors; those of a solver add about their residual over the gap.

    Args:
        first: of A: ``Eigenpairs`` of ``which="LA"`` with vectors, or ``Eigenvectors``, of at least k + 1 pairs (k if
            that is all of the n dimensions), so that the gap is known.
        second: of B: the same, or an array of orthonormal rows, of at least k.
        k: dimensions of the subspaces.
        perturbation: ||A - B||_op: of operators by :func:`operator_distance`, of two gradient histories the
            ``perturbation`` of :func:`gradlaw.spectra.davis_kahan`.

    Raises:
        InputError: too few pairs, pairs that are not the largest, other numbers of dimensions, or a perturbation that
            is negative or not finite.

    Example:
        >>> import gradlaw as gl
        >>> A, B = np.diag([3.0, 1.0, 0.0]), np.diag([3.0, 1.0, 0.5])
        >>> pairs = [gl.eigenpairs(matrix, 2) for matrix in (A, B)]
        >>> turned = subspace_rotation(*pairs, k=1, perturbation=operator_distance(A, B))
        >>> round(turned.sine, 6), round(turned.bound, 6), turned.vacuous
        (0.0, 0.5, False)
    """
    k, perturbation = count(k, "k"), float(perturbation)
    if not 0 <= perturbation < float("inf"):
        raise InputError(f"the perturbation must be a norm, got {perturbation}")
    values = _eigenvalues(first, k)
    vectors = [vectors_of(source) for source in (first, second)]
    short = min(map(len, vectors))
    if k > short:
        raise InputError(f"k={k} but only {short} eigenvectors were given")
    angles = principal_angles(*(rows[:k] for rows in vectors))
    gap = float(values[k - 1] - values[k]) if k < len(values) else float("inf")
    bound = 2 * perturbation / gap if gap > 0 else float("inf")
    return SubspaceRotation(angles, gap, perturbation, bound if perturbation else 0.0)


@checked
def operator_distance(first: Any, second: Any, *, tol: float = 1e-3, seed: int = 0) -> float:
    """||A - B||_op of two symmetric matrices, as an upper bound that is sharp to the residual of the solver.

    Args:
        first: A, as :func:`gradlaw.eigenpairs` takes it: a ``CurvatureOperator``, an array or tensor (n, n).
        second: B, of the same size.
        tol: largest residual relative to the norm.
        seed: of the solver's start.

    Raises:
        InputError: matrices of two sizes, or a solver that did not converge.
    """
    operators: list[CurvatureOperator] = [as_operator(matrix) for matrix in (first, second)]
    pairs = eigenpairs(operators[0] - operators[1], 1, "LM", tol=tol, keep_vectors=False, seed=seed)
    if not pairs.converged.all():
        raise InputError(f"the norm of the difference did not converge to tol={tol:g}; raise tol")
    return float(abs(pairs.eigenvalues[0]) + pairs.residuals[0])


def _eigenvalues(source: Any, k: int) -> np.ndarray:
    if not isinstance(source, Eigenpairs | Eigenvectors):
        raise InputError(f"the gap needs eigenvalues: give Eigenpairs or Eigenvectors, got {type(source).__name__}")
    if isinstance(source, Eigenpairs) and source.which != "LA":
        raise InputError(f"the leading subspace is that of the largest eigenvalues (which='LA'), got {source.which!r}")
    values = source.eigenvalues
    dimensions = vectors_of(source).shape[1]
    if len(values) < min(k + 1, dimensions):
        raise InputError(f"the gap below k={k} needs {k + 1} eigenvalues, got {len(values)}: compute one more")
    return values
