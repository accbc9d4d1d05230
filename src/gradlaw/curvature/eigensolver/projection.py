"""The projection of an operator onto the basis that thick-restart Lanczos builds, and its eigenpairs."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import linalg

PREFERENCE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "LA": lambda values: values,
    "SA": lambda values: -values,
    "LM": lambda values: np.abs(values),
}


@dataclass
class Projection:
    """Q A Q^T for m basis rows Q: diagonal in the ``theta`` kept at a restart, tridiagonal in the chain after them.

    Attributes:
        theta: shape (p,), the diagonal of the rows kept at the last restart.
        arrow: shape (p,), their coupling to the first row of the chain.
        alpha: diagonal of the chain.
        beta: coupling of each row of the chain to the next one; the last is the coupling to a row yet to come.
    """

    theta: np.ndarray = field(default_factory=lambda: np.zeros(0))
    arrow: np.ndarray = field(default_factory=lambda: np.zeros(0))
    alpha: list[float] = field(default_factory=list)
    beta: list[float] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The number m of rows."""
        return len(self.theta) + len(self.alpha)

    def eigenpairs(self, count: int, which: str) -> tuple[np.ndarray, np.ndarray]:
        """The ``count`` preferred eigenpairs: values, best first, and vectors as the columns of a (m, count) array."""
        kept = len(self.theta)
        if self.arrow.any():
            values, vectors = linalg.eigh(self._dense(), driver="evd", check_finite=False)
        else:
            chain_values, chain_vectors = _tridiagonal(np.array(self.alpha), np.array(self.beta[:-1]), count, which)
            values = np.concatenate([self.theta, chain_values])
            vectors = linalg.block_diag(np.eye(kept), chain_vectors) if kept else chain_vectors
        best = np.argsort(-PREFERENCE[which](values), kind="stable")[:count]
        return values[best], vectors[:, best]

    def norm_bound(self) -> float:
        """A lower bound of the norm, by interlacing: the largest magnitude in ``theta`` or on the chain's spectrum."""
        last = len(self.alpha) - 1
        ends = [
            linalg.eigvalsh_tridiagonal(self.alpha, self.beta[:-1], select="i", select_range=(i, i))[0]
            for i in {0, last} if last > 0
        ] or self.alpha  # fmt: skip
        return float(np.abs(np.concatenate([self.theta, ends])).max())

    def _dense(self) -> np.ndarray:
        kept, chain = len(self.theta), len(self.alpha)
        matrix = np.diag(np.concatenate([self.theta, self.alpha]))
        matrix[:kept, kept] = matrix[kept, :kept] = self.arrow
        rows = kept + np.arange(chain - 1)
        matrix[rows, rows + 1] = matrix[rows + 1, rows] = self.beta[:-1]
        return matrix


def _tridiagonal(diagonal: np.ndarray, off: np.ndarray, count: int, which: str) -> tuple[np.ndarray, np.ndarray]:
    """At least the ``count`` preferred eigenpairs of a tridiagonal matrix."""
    size = len(diagonal)
    if count >= size or which == "LM":
        return linalg.eigh_tridiagonal(diagonal, off, check_finite=False)
    chosen = (size - count, size - 1) if which == "LA" else (0, count - 1)
    try:
        return linalg.eigh_tridiagonal(diagonal, off, select="i", select_range=chosen, lapack_driver="stemr")
    except linalg.LinAlgError:  # it can fail on graded matrices (info = 22), where the QR algorithm does not
        return linalg.eigh_tridiagonal(diagonal, off, check_finite=False, lapack_driver="stev")
