"""The Hessian beside the gradient covariance at the same theta: how far they agree, and why they do not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gradlaw import random_streams
from gradlaw.argument_types import checked
from gradlaw.by_value import ByValue
from gradlaw.curvature.eigensolver.eigenpairs import Eigenpairs, eigenpairs
from gradlaw.curvature.operators.base import CurvatureOperator
from gradlaw.errors import InputError
from gradlaw.progress import SILENT, Progress
from gradlaw.spectra.noise import Estimate
from gradlaw.spectra.spectrum import Spectrum
from gradlaw.spectra.subspaces import SubspaceOverlap, subspace_overlap
from gradlaw.stats.powerlaw import PowerLawFit, fit_power_law

if TYPE_CHECKING:
    import pandas as pd

_BLOCK = 32  # vectors multiplied at once


@dataclass(frozen=True, eq=False)
class CurvatureComparison(ByValue):
    """The k leading eigenvalues of the Hessian H and of the gradient covariance C of batch size B.

    Were C = H / B, as is believed of minima (paper Eq. 3), all ratios would be 1 and all angles 0.

    Attributes:
        hessian: shape (k,), descending, all positive.
        covariance: shape (k,), descending, all above the rounding floor.
        ratios: shape (k,), lambda_k(H) / (B lambda_k(C)).
        batch_size: B.
        hessian_fit: the power-law fit of the k eigenvalues, with both verdicts; a spectrum is not a sample, so that
            passing means "as straight as a power law on log-log axes".
        covariance_fit: the same of the covariance.
        overlap: of the leading eigenspaces, with their principal angles; None if no vectors were compared.
    """

    hessian: np.ndarray
    covariance: np.ndarray
    ratios: np.ndarray
    batch_size: int
    hessian_fit: PowerLawFit
    covariance_fit: PowerLawFit
    overlap: SubspaceOverlap | None

    def to_frame(self) -> "pd.DataFrame":
        """One row a rank k; ``overlap`` and what random subspaces would have are empty beyond the vectors compared."""
        import pandas as pd  # loaded for those who ask for a table

        frame = pd.DataFrame(
            {"hessian": self.hessian, "covariance": self.covariance, "ratio": self.ratios},
            index=pd.RangeIndex(1, len(self.ratios) + 1, name="k"),
        )
        if self.overlap is not None:
            size = len(self.overlap.overlaps)
            frame.loc[:size, "overlap"] = self.overlap.overlaps
            frame.loc[:size, "overlap_random"] = self.overlap.expected
            frame.loc[:size, "principal_angle"] = self.overlap.angles
        return frame


@checked
def compare_curvature(
    hessian: Eigenpairs, covariance: Spectrum, batch_size: int, k: int = 1000, vectors: int | None = None
) -> CurvatureComparison:
    """Compare the k leading eigenvalues of the Hessian and of the gradient covariance, and their eigenspaces.

    Args:
        hessian: eigenpairs of ``which="LA"``.
        covariance: of gradients at the same theta.
        batch_size: B of those gradients.
        k: how many eigenvalues.
        vectors: compare so many leading eigenvectors; needs ``hessian.vectors``. Default: none.

    Raises:
        InputError: fewer than k eigenvalues of the Hessian were computed, or some of them are not positive; k above the
            numerical rank of the covariance; sizes that do not belong together.
    """
    if hessian.which != "LA":
        raise InputError(f"the comparison needs the largest eigenvalues (which='LA'), got which={hessian.which!r}")
    dimensions = hessian.operator["dimensions"]
    if covariance.dimensions != dimensions:
        raise InputError(f"the Hessian has {dimensions:,} dimensions and the gradients have {covariance.dimensions:,}")
    if k > hessian.positive:
        raise InputError(
            f"k={k} but of the {len(hessian.eigenvalues)} eigenvalues computed of the Hessian {hessian.positive} are "
            "positive (beyond their residuals); lower k, or compute more"
        )
    if k > covariance.rank:
        raise InputError(f"k={k} but the {covariance.matrix} spectrum has numerical rank {covariance.rank}")
    values, noise = hessian.eigenvalues[:k], covariance.eigenvalues[:k]
    return CurvatureComparison(
        hessian=values,
        covariance=noise,
        ratios=values / (batch_size * noise),
        batch_size=batch_size,
        hessian_fit=fit_power_law(values, k),
        covariance_fit=fit_power_law(noise, k),
        overlap=None if vectors is None else _overlap(hessian, covariance, vectors),
    )


def _overlap(hessian: Eigenpairs, covariance: Spectrum, count: int) -> SubspaceOverlap:
    if hessian.vectors is None or not 1 <= count <= len(hessian.vectors):
        kept = 0 if hessian.vectors is None else len(hessian.vectors)
        raise InputError(f"vectors={count} were to be compared, and {kept} eigenvectors of the Hessian were kept")
    return subspace_overlap(hessian.vectors[:count], covariance.eigenvectors(count).vectors)


@dataclass(frozen=True, eq=False)
class HessianSplit(ByValue):
    """The Hessian as generalised Gauss-Newton plus residual, H = G + R.

    For an eigenvector v of H the eigenvalue is the sum of both quadratic forms, v^T G v + v^T R v.

    Attributes:
        eigenvalues: shape (k,), of H.
        gauss_newton: shape (k,), v^T G v.
        residual: shape (k,), v^T R v.
        largest: eigenpairs of R, the largest.
        smallest: eigenpairs of R, the smallest: the source of negative curvature, as G has none for a convex loss.
        trace: of H, by random probes (Hutchinson 1990).
        gauss_newton_trace: of G, by the same probes.
        residual_trace: of R, by the same probes.
    """

    eigenvalues: np.ndarray
    gauss_newton: np.ndarray
    residual: np.ndarray
    largest: Eigenpairs
    smallest: Eigenpairs
    trace: Estimate
    gauss_newton_trace: Estimate
    residual_trace: Estimate

    def to_frame(self) -> "pd.DataFrame":
        """One row an eigenvalue of H, with what G and R have of it."""
        import pandas as pd  # loaded for those who ask for a table

        frame = pd.DataFrame(
            {"hessian": self.eigenvalues, "gauss_newton": self.gauss_newton, "residual": self.residual},
            index=pd.RangeIndex(1, len(self.eigenvalues) + 1, name="k"),
        )
        return frame.assign(gauss_newton_share=frame["gauss_newton"] / frame["hessian"])


def split_hessian(
    hessian: CurvatureOperator,
    gauss_newton: CurvatureOperator,
    pairs: Eigenpairs,
    *,
    k: int = 20,
    probes: int = 20,
    tol: float = 1e-4,
    seed: int = 0,
    progress: Progress | None = None,
) -> HessianSplit:
    """Split the Hessian, its eigenvalues and its trace into generalised Gauss-Newton and residual.

    Args:
        hessian: H.
        gauss_newton: G, over the same samples.
        pairs: eigenpairs of H, with vectors.
        k: how many extreme eigenvalues of the residual to compute at either end.
        probes: random vectors for the traces, at least 2.
        tol: of those eigenvalues; see :func:`~gradlaw.curvature.eigensolver.eigenpairs.eigenpairs`.
        seed: of the probes and of the solver.
        progress: where to show it.

    Raises:
        InputError: no eigenvectors were kept, fewer than 2 probes, or operators of different sizes.
    """
    progress = progress or SILENT
    if pairs.vectors is None:
        raise InputError("the split needs the eigenvectors of the Hessian: compute them with keep_vectors=True")
    if probes < 2:
        raise InputError(f"the standard error of a trace needs at least 2 probes, got {probes}")
    residual = hessian - gauss_newton
    forms = quadratic_forms(pairs.vectors, [gauss_newton, residual])
    of_hessian, of_gauss_newton = _trace_samples([hessian, gauss_newton], probes, seed)
    return HessianSplit(
        eigenvalues=pairs.eigenvalues,
        gauss_newton=forms[gauss_newton.name].to_numpy(),
        residual=forms[residual.name].to_numpy(),
        largest=eigenpairs(residual, k, "LA", tol=tol, keep_vectors=False, seed=seed, progress=progress),
        smallest=eigenpairs(residual, k, "SA", tol=tol, keep_vectors=False, seed=seed, progress=progress),
        trace=_mean(of_hessian),
        gauss_newton_trace=_mean(of_gauss_newton),
        residual_trace=_mean(of_hessian - of_gauss_newton),
    )


def quadratic_forms(vectors: Tensor, operators: Sequence[CurvatureOperator]) -> "pd.DataFrame":
    """v^T A v of each unit vector (a row of (k, n)) and each operator A: one row a vector, one column an operator.

    With the eigenvectors of the Hessian and the operators on the way from it to the gradient covariance (Gauss-Newton,
    empirical Fisher, its centred form) it shows at which step the two part.

    Args:
        vectors: (k, n), unit vectors as rows.
        operators: of n dimensions each; their names are the columns.
    """
    import pandas as pd  # loaded for those who ask for a table

    index = pd.RangeIndex(1, len(vectors) + 1, name="k")
    return pd.DataFrame({operator.name: _forms(vectors, operator) for operator in operators}, index=index)


def _forms(vectors: Tensor, operator: CurvatureOperator) -> np.ndarray:
    blocks = [rows.to(operator.device, operator.dtype) for rows in vectors.split(_BLOCK)]
    return torch.cat([((operator @ rows.T).double() * rows.T.double()).sum(dim=0) for rows in blocks]).cpu().numpy()


def _trace_samples(operators: Sequence[CurvatureOperator], probes: int, seed: int) -> np.ndarray:
    """z^T A z of each operator and random sign vector z; shape (operators, probes)."""
    rng = np.random.default_rng([random_streams.TRACE_PROBES, seed])
    signs = torch.from_numpy(rng.choice(np.array([-1.0, 1.0]), size=(probes, operators[0].dimensions)))
    return np.stack([_forms(signs, operator) for operator in operators])


def _mean(samples: np.ndarray) -> Estimate:
    return Estimate(float(samples.mean()), float(samples.std(ddof=1) / np.sqrt(len(samples))))
