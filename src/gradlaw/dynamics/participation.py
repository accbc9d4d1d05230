"""Over how many coordinates eigenvectors spread, beside vectors of random direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlaw.by_value import ByValue
from gradlaw.dynamics.subspace import vectors_of
from gradlaw.errors import InputError
from gradlaw.problem import ParameterSlice

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ParticipationRatios(ByValue):
    """The participation ratio 1 / sum_i v_i^4 of unit vectors: n for one that is spread evenly, 1 for a coordinate.

    Attributes:
        values: shape (k,).
        gaussian: (n + 2) / 3, of vectors of random direction: the inverse of the mean of sum v_i^4.
        scores: shape (k,), sum v_i^4 less its mean over random directions, in its standard deviations. Positive: more
            localised than random.
        by_tensor: shape (k,), the same null with each tensor's share of the squared vector kept and its direction
            within the tensor random; None without a layout.
        scores_by_tensor: shape (k,), scores under that null; None without a layout.
        dimensions: n.
    """

    values: np.ndarray
    gaussian: float
    scores: np.ndarray
    by_tensor: np.ndarray | None
    scores_by_tensor: np.ndarray | None
    dimensions: int

    def to_frame(self) -> "pd.DataFrame":
        """One row a vector, indexed by k."""
        import pandas as pd  # loaded for those who ask for a table

        columns: dict[str, Any] = {"participation_ratio": self.values, "gaussian": self.gaussian, "score": self.scores}
        if self.by_tensor is not None:
            columns |= {"by_tensor": self.by_tensor, "score_by_tensor": self.scores_by_tensor}
        return pd.DataFrame(columns, index=pd.RangeIndex(1, len(self.values) + 1, name="k"))


def participation_ratios(vectors: Any, layout: Sequence[ParameterSlice] | None = None) -> ParticipationRatios:
    """Participation ratios of eigenvectors, beside their exact values for random directions.

    Of a vector uniform on the sphere in n dimensions, sum v_i^4 has mean 3 / (n + 2) and second moment
    (9 n + 96) / ((n + 2)(n + 4)(n + 6)), from the moments of the Dirichlet distribution of its squares. With shares w_l
    of tensors of n_l dimensions kept, means and variances add up with weights w_l^2 and w_l^4.

    Args:
        vectors: ``Eigenpairs``, ``Eigenvectors``, or an array of shape (k, n); rows are normalised here.
        layout: ``problem.layout`` or ``history.layout``, for the null that knows the tensors. Default: only the other.

    Raises:
        InputError: a row that is zero, or a layout of another number of dimensions.

    Example:
        >>> ratios = participation_ratios([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]])
        >>> ratios.values, ratios.gaussian
        (array([4., 1.]), 2.0)
    """
    squares = vectors_of(vectors).double().square().cpu().numpy()
    totals = squares.sum(axis=1, keepdims=True)
    if not (totals > 0).all():
        raise InputError(f"vector {int(np.argmin(totals))} is zero, and has no participation ratio")
    squares /= totals
    fourths, n = np.square(squares).sum(axis=1), squares.shape[1]
    mean, variance = _moments(np.array(n))
    by_tensor, scores_by_tensor = (None, None) if layout is None else _by_tensor(squares, fourths, layout)
    return ParticipationRatios(
        1 / fourths, float(1 / mean), _score(fourths, mean, variance), by_tensor, scores_by_tensor, n
    )


def _by_tensor(
    squares: np.ndarray, fourths: np.ndarray, layout: Sequence[ParameterSlice]
) -> tuple[np.ndarray, np.ndarray]:
    if layout[-1].stop != squares.shape[1]:
        raise InputError(f"the layout has {layout[-1].stop:,} dimensions and the vectors have {squares.shape[1]:,}")
    shares = np.stack([squares[:, part.start : part.stop].sum(axis=1) for part in layout], axis=1)
    means, variances = _moments(np.array([part.stop - part.start for part in layout]))
    mean, variance = shares**2 @ means, shares**4 @ variances
    return 1 / mean, _score(fourths, mean, variance)


def _moments(n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of sum v_i^4 over the sphere in n dimensions."""
    n = n.astype(np.float64)
    mean = 3 / (n + 2)
    # Var = (9 n + 96) / ((n + 2)(n + 4)(n + 6)) - 9 / (n + 2)^2, without the cancellation:
    return mean, 24 * (n - 1) / ((n + 2) ** 2 * (n + 4) * (n + 6))


def _score(fourths: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Zero where nothing can vary, as in one dimension."""
    excess, deviation = fourths - mean, np.sqrt(variance) * np.ones_like(fourths)
    return np.divide(excess, deviation, out=np.zeros_like(excess), where=deviation > 0)
