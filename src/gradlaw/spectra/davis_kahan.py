"""The Davis-Kahan bound beside the measured angles between eigenvectors of two histories (paper Theorem 1, Eq. 6)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from scipy import linalg
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.spectra.access import gradients_of, rounding_of
from gradlaw.spectra.eigenvectors import GramEigenpairs, gram_eigenpairs
from gradlaw.spectra.gradient import spectrum_of_gram
from gradlaw.spectra.gram.dense import centre, cross_gram, gram_matrix
from gradlaw.spectra.spectrum import Spectrum
from gradlaw.stats.powerlaw import PowerLawFit

if TYPE_CHECKING:
    import pandas as pd

_FIT_K = 1000


@dataclass(frozen=True, eq=False)
class DavisKahan(ByValue):
    """How far the eigenvectors of one gradient covariance turn in another, and how far they can.

    Attributes:
        sines: shape (K,), measured sin of the angle between the k-th eigenvectors, k = 1..K; rounding below 1e-7.
        bounds: shape (K,), 2 ||C - C~||_op / gaps. A bound of 1 or more says nothing.
        approximations: shape (K,), the bound for power-law gaps, 2 ||C - C~||_op (k + 1)^(s + 1) / lambda_1 (paper
            Eq. 6, for s near 1).
        gaps: shape (K,), min(delta_(k-1), delta_k) of the first history; delta_0 is infinite.
        perturbation: ||C - C~||_op, the paper's epsilon ||M||_op.
        s: exponent of the first spectrum, of its ``fit_k`` largest eigenvalues.
        fit_k: how many eigenvalues s was fitted to.
        eigenvalues: shape (K,), of the first history.
        centred: covariance (True) or second moment.
    """

    sines: np.ndarray
    bounds: np.ndarray
    approximations: np.ndarray
    gaps: np.ndarray
    perturbation: float
    s: float
    fit_k: int
    eigenvalues: np.ndarray
    centred: bool

    def to_frame(self) -> "pd.DataFrame":
        """One row an eigenvector, indexed by k."""
        import pandas as pd  # loaded for those who ask for a table

        columns = {
            "eigenvalue": self.eigenvalues,
            "gap": self.gaps,
            "sine": self.sines,
            "bound": self.bounds,
            "approximation": self.approximations,
        }
        return pd.DataFrame(columns, index=pd.RangeIndex(1, len(self.sines) + 1, name="k"))


def davis_kahan(
    first: Any, second: Any = None, k: int = 10, center: bool = True, fit_k: int | None = None
) -> DavisKahan:
    """Measured and largest possible angles between the k-th eigenvectors of two independent gradient histories.

    The bound is Corollary 1 of Yu, Wang, Samworth 2015, which the paper restates as its Theorem 1: for eigenvectors of
    C and C~,  sin(u_k, u~_k) <= 2 ||C - C~||_op / min(delta_(k-1), delta_k), where delta_k = lambda_k - lambda_(k+1)
    are gaps of C alone, delta_0 is infinite, and so is delta_n. It holds for every pair of matrices, independent or
    not.

    No n x n matrix is formed. With A and B the two (centred) matrices, divided by sqrt(T) each, M = [A; B] and
    S = diag(1, .., 1, -1, .., -1), the difference is C - C~ = M^T S M. Its nonzero eigenvalues are those of S M M^T,
    and, with M M^T = R^T R (a pivoted Cholesky factor), those of the symmetric R S R^T, of at most T1 + T2
    rows. Cosines are v_k^T A B^T v~_k / sqrt(lambda_k lambda~_k).

    Where two eigenvalues nearly coincide, sampling can swap their order; the angle of the k-th with the k-th is then
    near 90 degrees, and the bound far above 1.

    Args:
        first: a GradientHistory, in memory or on disk, or a (T, n) array or tensor of gradients.
        second: another at the same parameters, of any T. Default: the second half of ``first``, compared with its first
            half.
        k: how many eigenvectors to compare, K.
        center: compare covariances; False for second moments.
        fit_k: how many eigenvalues of the first spectrum determine s, at most its rank. Default: 1000 as in the paper,
            but no more than half the rank, for a spectrum of T iterations falls off the line as k nears T.

    Raises:
        InputError: histories of different n, fewer than two iterations in either, a value that is not finite, k < 1 or
            above one of the ranks, or a first spectrum of rank 1, to which no power law can be fitted.
    """
    pair, dimensions = _gram_pair(first, second)
    rounding = max(rounding_of(first), rounding_of(first if second is None else second))
    left, right = (gram_eigenpairs(gram, k, center, rounding) for gram in (pair.first, pair.second))
    spectrum = spectrum_of_gram(pair.first, dimensions, center, rounding)
    fit = _power_law(spectrum, fit_k)
    pair = pair.centred() if center else pair
    cosines = _cosines(pair.cross, left, right)
    perturbation = _operator_norm_of_difference(pair)
    gaps = _smaller_gaps(spectrum.eigenvalues, k, dimensions)
    with np.errstate(divide="ignore"):  # equal eigenvalues: no bound
        bounds = 2 * perturbation / gaps if perturbation else np.zeros(k)
    return DavisKahan(
        sines=np.sqrt(1 - cosines**2),
        bounds=bounds,
        approximations=2 * perturbation * np.arange(2.0, k + 2) ** (fit.s + 1) / left.eigenvalues[0],
        gaps=gaps,
        perturbation=perturbation,
        s=fit.s,
        fit_k=fit.k,
        eigenvalues=left.eigenvalues,
        centred=center,
    )


class _GramPair(NamedTuple):
    """A A^T, B B^T and A B^T of two histories."""

    first: Tensor
    second: Tensor
    cross: Tensor

    def centred(self) -> "_GramPair":
        """The same of the gradients less the mean of their own history."""
        rows, columns = self.cross.mean(dim=1, keepdim=True), self.cross.mean(dim=0, keepdim=True)
        return _GramPair(centre(self.first), centre(self.second), self.cross - rows - columns + self.cross.mean())


def _gram_pair(first: Any, second: Any) -> tuple[_GramPair, int]:
    """Products of the two histories, or of the halves of one, and their number of dimensions."""
    a = gradients_of(first)
    if second is None:
        half = len(a) // 2
        if half < 2:
            raise InputError(f"two halves of at least 2 iterations each are needed, got {len(a)} iterations")
        gram = gram_matrix(a)
        top, bottom = slice(half), slice(half, 2 * half)
        return _GramPair(gram[top, top], gram[bottom, bottom], gram[top, bottom]), a.shape[1]
    b = gradients_of(second)
    if a.shape[1] != b.shape[1]:
        raise InputError(f"the two histories have {a.shape[1]} and {b.shape[1]} dimensions")
    return _GramPair(gram_matrix(a), gram_matrix(b).to(a.device), cross_gram(a, b)), a.shape[1]


def _power_law(spectrum: Spectrum, k: int | None) -> PowerLawFit:
    if spectrum.rank < 2:
        raise InputError(f"the {spectrum.matrix} of the first history has rank {spectrum.rank}; Eq. 6 needs at least 2")
    return spectrum.power_law(max(2, min(_FIT_K, spectrum.rank // 2)) if k is None else k)


def _cosines(cross: Tensor, left: GramEigenpairs, right: GramEigenpairs) -> np.ndarray:
    """|u_k . u~_k|, k = 1..K, from A B^T."""
    products = left.vectors.T @ cross.cpu().numpy() @ right.vectors
    scale = cross.shape[0] * cross.shape[1] * left.eigenvalues * right.eigenvalues
    return np.abs(products.diagonal() / np.sqrt(scale)).clip(max=1.0)


def _operator_norm_of_difference(pair: _GramPair) -> float:
    """||A^T A / T1 - B^T B / T2||_op."""
    sizes = pair.cross.shape
    halves = torch.cat([pair.first, pair.cross], dim=1), torch.cat([pair.cross.T, pair.second], dim=1)
    joint = torch.cat(halves).cpu().numpy()
    weights = np.repeat(1 / np.sqrt(sizes), sizes)
    signs = np.repeat([1.0, -1.0], sizes)
    joint *= weights[:, None]
    joint *= weights
    # In place: the matrix is symmetric, so its transpose is the same in the order of columns that LAPACK takes.
    factor, pivots, rank, _ = linalg.lapack.dpstrf(joint.T, overwrite_a=True)
    factor = np.triu(factor)[:rank]
    del halves, joint
    product = (factor * signs[pivots - 1]) @ factor.T
    return float(np.abs(linalg.eigvalsh(product, overwrite_a=True)).max(initial=0.0))


def _smaller_gaps(eigenvalues: np.ndarray, k: int, dimensions: int) -> np.ndarray:
    """min(delta_(k-1), delta_k) for k = 1..k, with delta_0 and delta_n infinite."""
    after = -np.inf if len(eigenvalues) == dimensions else 0.0
    padded = np.concatenate([[np.inf], eigenvalues, [after]])[: k + 2]
    gaps = -np.diff(padded)
    return np.minimum(gaps[:-1], gaps[1:])
