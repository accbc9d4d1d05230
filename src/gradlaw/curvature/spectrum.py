"""The extreme eigenvalues of the Hessian of a problem's mean loss."""

from dataclasses import dataclass
from pathlib import Path

import torch

from gradlaw.argument_types import checked
from gradlaw.choices import RankChoice, Which
from gradlaw.curvature.eigensolver.eigenpairs import Eigenpairs, eigenpairs
from gradlaw.curvature.operators.hessian import hessian
from gradlaw.errors import InputError
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.stats.powerlaw import PowerLawFit, fit_power_law


@dataclass(frozen=True, eq=False)
class HessianSpectrum(Eigenpairs):
    """The :class:`~gradlaw.curvature.eigensolver.eigenpairs.Eigenpairs` of a Hessian, by :func:`hessian_spectrum`."""

    def power_law(self, k: int = 1000, alpha: float = 0.05) -> PowerLawFit:
        """The power-law fit of the k largest eigenvalues, all of which have to be positive.

        A spectrum is not a sample: eigenvalues repel one another, so that passing means "as straight as a power law on
        log-log axes", and the p-value is descriptive.

        Raises:
            InputError: fewer than k of the largest eigenvalues are positive beyond their residuals.
        """
        if k > self.positive:
            raise InputError(
                f"k={k} but {self.positive} of the largest eigenvalues of the Hessian were computed and are above "
                f"their residuals (which={self.which!r}, {len(self.eigenvalues)} eigenvalues)"
            )
        return fit_power_law(self.eigenvalues[:k], k, alpha)


@checked
def hessian_spectrum(
    problem: Problem,
    k: int = 1000,
    which: Which = "LA",
    *,
    samples: int | None = None,
    batch_size: int | None = None,
    dtype: torch.dtype | None = None,
    tol: float = 1e-6,
    measure: int | None = None,
    keep_vectors: bool = False,
    memory: float | None = None,
    checkpoint: str | Path | None = None,
    save_seconds: float = 180.0,
    seed: int = 0,
    ranks: RankChoice = "all",
    progress: Progress | None = None,
) -> HessianSpectrum:
    """The k extreme eigenvalues of the Hessian of the mean loss at theta, with their residuals.

    Args:
        problem: model, loss and data at fixed parameters.
        k: how many eigenvalues; all n if k is larger.
        which: ``"LA"`` the largest, ``"SA"`` the smallest, ``"LM"`` the largest in magnitude.
        samples: over how many samples. Default: all N. See :func:`~gradlaw.curvature.operators.hessian.hessian`, also
            for ``batch_size`` and ``dtype``.
        batch_size: for losses that couple the samples of a minibatch (batch norm in training mode).
        dtype: of the products.
        tol: largest residual of a converged pair, relative to the norm of the Hessian. See
            :func:`~gradlaw.curvature.eigensolver.eigenpairs.eigenpairs`, also for the arguments that follow.
        measure: how many residuals are measured by a product with the finished eigenvector. Default: all.
        keep_vectors: return the eigenvectors too.
        memory: bytes that the Krylov basis may take, on each rank; beyond, it is on disk.
        checkpoint: a folder to save to now and then and to resume from.
        save_seconds: between two saves, at least, 3 minutes by default.
        seed: of the samples, the minibatches and the solver.
        ranks: ``"all"`` of an initialised process group share samples and basis, and each gets the result; ``"one"``
            leaves it all to this process. See :func:`~gradlaw.curvature.operators.hessian.hessian`.
        progress: where to show it.

    Raises:
        InputError: as ``hessian`` and ``eigenpairs``.
        RankLost: another rank has died.
    """
    progress = progress or SILENT
    operator = hessian(problem, samples, batch_size=batch_size, seed=seed, dtype=dtype, ranks=ranks, progress=progress)
    pairs = eigenpairs(
        operator, k, which, tol=tol, measure=measure, keep_vectors=keep_vectors, memory=memory, checkpoint=checkpoint,
        save_seconds=save_seconds, seed=seed, progress=progress,
    )  # fmt: skip
    return HessianSpectrum(**vars(pairs))
