"""Batch sharpness, largest eigenvalue and gradient noise beside 2 / eta (Andreyev and Beneventano 2024)."""

from dataclasses import dataclass

import numpy as np

from gradlaw.argument_types import checked
from gradlaw.by_value import ByValue
from gradlaw.curvature.eigensolver.eigenpairs import eigenpairs
from gradlaw.curvature.operators.hessian import hessian
from gradlaw.dynamics.minibatch_curvature import MinibatchCurvature, measure_minibatches
from gradlaw.errors import InputError, count
from gradlaw.errors import seed as checked_seed
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.spectra.noise import Estimate


@dataclass(frozen=True, eq=False)
class BatchSharpness(ByValue):
    """The curvature that minibatches have along their own gradients.

    Attributes:
        value: E_B[g_B^T H_B g_B / ||g_B||^2], H_B the Hessian of the minibatch's own loss; the mean over minibatches,
            its standard error as if they were independent.
        ratio_of_means: E_B[g_B^T H_B g_B] / E_B[||g_B||^2], which weighs minibatches by their squared gradient; its
            standard error by the delta method.
        quotients: shape (M,), of each minibatch.
        batch_size: B.
    """

    value: Estimate
    ratio_of_means: Estimate
    quotients: np.ndarray
    batch_size: int


@dataclass(frozen=True, eq=False)
class EdgeOfStability(ByValue):
    """What decides whether SGD with a step eta is stable, each beside 2 / eta.

    Attributes:
        threshold: 2 / eta.
        sharpness: batch sharpness, which settles at about the threshold under SGD.
        top_eigenvalue: the largest eigenvalue of the Hessian of the mean loss, which settles there under gradient
            descent (Cohen et al. 2021).
        top_residual: of that eigenpair.
        gradient_along: mean of g_B^T u over the minibatches, u the top eigenvector (its sign means nothing).
        noise_along: Var(g_B^T u), in squared units of the gradient.
        noise_share: its share of tr Cov(g_B), 0 to 1.
    """

    threshold: float
    sharpness: BatchSharpness
    top_eigenvalue: float
    top_residual: float
    gradient_along: Estimate
    noise_along: Estimate
    noise_share: float

    def __str__(self) -> str:
        found = self.sharpness.value
        return (
            f"2/eta = {self.threshold:.4g}; batch sharpness {found.value:.4g} +- {found.standard_error:.2g}, largest "
            f"eigenvalue {self.top_eigenvalue:.4g}; {self.noise_share:.1%} of the noise is along its eigenvector"
        )


@checked
def batch_sharpness(
    problem: Problem, batch_size: int, *, minibatches: int = 200, seed: int = 0, progress: Progress | None = None
) -> BatchSharpness:
    """E_B[g_B^T H_B g_B / ||g_B||^2] at fixed parameters, over seeded minibatches.

    The batch sharpness of Andreyev and Beneventano 2024 ("Edge of Stochastic Stability", arXiv 2412.20553). For plain
    SGD with a constant step eta it rises to about 2 / eta and stays there. With momentum or an adaptive optimiser it
    has other values to settle at, and under a batch size other than that of the training it is another quantity. One
    product with H_B costs about three gradients.

    Args:
        problem: model, loss and data; the model is used in the mode it is in and left as it is.
        batch_size: B, that of the training.
        minibatches: M, at least 2, from the seeded epochs of :class:`gradlaw.minibatches.Minibatches`.
        seed: of the minibatches.
        progress: where to show it.

    Raises:
        InputError: B above N, a loss that is random or cannot be differentiated twice, a minibatch whose gradient is
            zero or not finite, or a problem of a step.

    Example:
        >>> import torch, gradlaw as gl
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> data = torch.ones(8, 1), torch.zeros(8, 1)  # loss theta^2, of second derivative 2 everywhere
        >>> gl.dynamics.batch_sharpness(gl.Problem(model, torch.nn.functional.mse_loss, data), 2).value.value
        2.0
    """
    size, asked = count(batch_size, "batch_size"), count(minibatches, "minibatches", 2)
    found = measure_minibatches(problem, size, asked, checked_seed(seed), None, progress or SILENT)
    return _sharpness(found, size)


@checked
def edge_of_stability(
    problem: Problem,
    batch_size: int,
    learning_rate: float,
    *,
    minibatches: int = 200,
    samples: int | None = None,
    hessian_by_minibatches: bool = False,
    tol: float = 1e-3,
    seed: int = 0,
    progress: Progress | None = None,
) -> EdgeOfStability:
    """Batch sharpness, largest eigenvalue of the Hessian and the noise along its eigenvector, beside 2 / eta.

    Args:
        problem: model, loss and data.
        batch_size: B of the training.
        learning_rate: eta of the training, plain SGD.
        minibatches: of the batch sharpness and of the noise.
        samples: of the Hessian. Default: all N. See :func:`gradlaw.hessian`.
        hessian_by_minibatches: take the Hessian of the mean over fixed minibatches of B, which a model with batch norm
            in training mode needs: its loss of all samples is not the mean over samples.
        tol: largest residual of the top eigenpair, relative to the norm of the Hessian.
        seed: of minibatches, samples and solver.
        progress: where to show it.

    Raises:
        InputError: as :func:`batch_sharpness` and :func:`gradlaw.hessian`, or a learning rate that is not positive.
    """
    if not 0 < learning_rate < float("inf"):
        raise InputError(f"learning_rate must be positive, got {learning_rate}")
    size, asked, chosen = count(batch_size, "batch_size"), count(minibatches, "minibatches", 2), progress or SILENT
    operator = hessian(
        problem, samples, batch_size=size if hessian_by_minibatches else None, seed=seed, ranks="one", progress=chosen
    )
    top = eigenpairs(operator, 1, tol=tol, seed=seed, progress=chosen)
    assert top.vectors is not None  # they are kept by default
    direction = top.vectors[0].double()
    found = measure_minibatches(problem, size, asked, checked_seed(seed), direction, chosen)
    variance = float(found.along.var(ddof=1))
    return EdgeOfStability(
        threshold=2 / learning_rate,
        sharpness=_sharpness(found, size),
        top_eigenvalue=float(top.eigenvalues[0]),
        top_residual=float(top.residuals[0]),
        gradient_along=_mean(found.along),
        noise_along=Estimate(variance, _error_of_variance(found.along)),
        noise_share=variance / found.noise_trace if found.noise_trace > 0 else 0.0,
    )


def _sharpness(found: MinibatchCurvature, batch_size: int) -> BatchSharpness:
    quotients = found.curvatures / found.squared_norms
    ratio = float(found.curvatures.mean() / found.squared_norms.mean())
    residuals = (found.curvatures - ratio * found.squared_norms) / found.squared_norms.mean()
    return BatchSharpness(_mean(quotients), Estimate(ratio, _mean(residuals).standard_error), quotients, batch_size)


def _mean(values: np.ndarray) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))


def _error_of_variance(values: np.ndarray) -> float:
    """Of the squared deviations' mean, to first order in 1 / M."""
    return _mean((values - values.mean()) ** 2).standard_error
