"""The density of the whole spectrum by stochastic Lanczos quadrature, with error bars."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from gradlaw.argument_types import checked
from gradlaw.by_value import ByValue, equal
from gradlaw.curvature.eigensolver.basis import Basis
from gradlaw.curvature.eigensolver.lanczos import Lanczos
from gradlaw.curvature.eigensolver.shared_vectors import SharedVectors
from gradlaw.curvature.operators.base import CurvatureOperator, as_operator
from gradlaw.errors import InputError, count
from gradlaw.errors import seed as checked_seed
from gradlaw.progress import SILENT, Progress
from gradlaw.random_streams import QUADRATURE
from gradlaw.spectra.noise import Estimate

_GRID_POINTS = 1000
_TAIL_WIDTHS = 4  # of the kernel, beyond the outermost nodes


class DensityCurve(NamedTuple):
    """A density on a grid: eigenvalues, their density (it integrates to one), and the standard error of that."""

    grid: np.ndarray
    density: np.ndarray
    standard_error: np.ndarray

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and equal(tuple(self), tuple(other))

    def __ne__(self, other: object) -> bool:
        return not self == other


@dataclass(frozen=True, eq=False)
class SpectralDensity(ByValue):
    """The spectral density (1/n) sum_i delta(x - lambda_i) of a symmetric matrix, estimated from random probes.

    Every estimate is the mean over probes; its standard error is theirs, infinite with a single probe.

    Attributes:
        nodes: shape (probes, steps), the quadrature nodes of each probe.
        weights: shape (probes, steps), not negative, of sum 1 for each probe; 0 where a probe ended early.
        trace: of the matrix (Hutchinson 1990).
        trace_of_square: sum of the squared eigenvalues.
        dimensions: n.
        products: products with the matrix.
        seed: of the probes.
        operator: the operator's description of itself.
    """

    nodes: np.ndarray
    weights: np.ndarray
    trace: Estimate
    trace_of_square: Estimate
    dimensions: int
    products: int
    seed: int
    operator: dict[str, Any]

    def curve(self, grid: np.ndarray | None = None, width: float | None = None) -> DensityCurve:
        """The density smoothed by a Gaussian kernel.

        Args:
            grid: where. Default: 1,000 points over the nodes.
            width: standard deviation of the kernel, in units of the eigenvalues. Default: the range of the nodes over
                their number, about what the quadrature resolves.
        """
        low, high = self.nodes.min(), self.nodes.max()
        if width is None:
            width = (high - low) / self.nodes.shape[1] or 0.01 * abs(high) or 0.01
        if width <= 0:
            raise InputError(f"the width of the kernel must be positive, got {width}")
        if grid is None:
            grid = np.linspace(low - _TAIL_WIDTHS * width, high + _TAIL_WIDTHS * width, _GRID_POINTS)
        curves = np.zeros((len(self.nodes), len(grid)))
        for curve, nodes, weights in zip(curves, self.nodes, self.weights, strict=True):
            curve += np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2) @ weights / (width * np.sqrt(2 * np.pi))
        return DensityCurve(grid, *_mean_and_error(curves))

    def count_above(self, threshold: float) -> Estimate:
        """About how many eigenvalues exceed a threshold."""
        shares = np.where(self.nodes > threshold, self.weights, 0.0).sum(axis=1)
        return _estimate(self.dimensions * shares)


@checked
def spectral_density(
    matrix: Any, *, probes: int = 10, steps: int = 100, seed: int = 0, progress: Progress | None = None
) -> SpectralDensity:
    """Stochastic Lanczos quadrature (Ubaru, Chen, Saad 2017; Ghorbani, Krishnan, Xiao 2019).

    Each probe, a random vector of signs over sqrt(n), starts ``steps`` steps of Lanczos with full reorthogonalisation.
    The eigenvalues of the tridiagonal matrix are its nodes and the squared first entries of the eigenvectors its
    weights: they integrate polynomials of degree 2 steps - 1 exactly for that probe. Memory: ``steps`` vectors.

    Args:
        matrix: a CurvatureOperator, or what :func:`~gradlaw.curvature.operators.base.as_operator` takes. Of one
            that ranks share, the vectors are shared too, and each rank gets the result.
        probes: number of random vectors; standard errors fall as their square root.
        steps: products a probe; n at the most.
        seed: of the probes.
        progress: where to show it.

    Raises:
        InputError: no probe, fewer than 2 steps, or a product that is not finite.

    Example:
        >>> density = spectral_density(np.diag([1.0, 1.0, 1.0, 5.0]), probes=4, steps=3)
        >>> round(density.trace.value, 6), round(density.count_above(4).value, 6)
        (8.0, 1.0)
    """
    progress = progress or SILENT
    probes, steps, seed = count(probes, "probes"), count(steps, "steps", 2), checked_seed(seed)
    operator = as_operator(matrix)
    n = operator.dimensions
    steps = min(steps, n)
    nodes, weights, products = np.zeros((probes, steps)), np.zeros((probes, steps)), 0
    with operator.ranks.alive(), progress.stage(f"density of the {operator.name}", probes * steps) as advance:
        operator.ranks.refuse_differences({"probes": probes, "steps": steps, "seed": seed})
        for probe in range(probes):
            run = _chain(operator, steps, _signs(operator, seed, probe))
            size = run.basis.size
            values, vectors = _nodes(run)
            nodes[probe], weights[probe, :size] = np.pad(values, (0, steps - size), mode="edge"), vectors[0] ** 2
            products += size
            advance(steps)
    return SpectralDensity(
        nodes=nodes,
        weights=weights,
        trace=_estimate(n * (weights * nodes).sum(axis=1)),
        trace_of_square=_estimate(n * (weights * nodes**2).sum(axis=1)),
        dimensions=n,
        products=products,
        seed=seed,
        operator=operator.describe(),
    )


def _chain(operator: CurvatureOperator, steps: int, start: Tensor) -> Lanczos:
    """Steps of Lanczos from a unit vector, fewer if it lies in an invariant subspace."""
    run = Lanczos(operator, Basis(operator.dimensions, operator.device, ranks=operator.ranks), seed=0)
    run.next = start
    while run.basis.size < steps and run.next is not None:
        run.step()
    return run


def _nodes(run: Lanczos) -> tuple[np.ndarray, np.ndarray]:
    """The eigenvalues and eigenvectors of the tridiagonal matrix of a chain."""
    alpha, beta = run.projection.alpha, run.projection.beta[:-1]
    values, vectors = run.ranks.first(lambda: eigh_tridiagonal(alpha, beta))
    return values, vectors


def _signs(operator: CurvatureOperator, seed: int, probe: int) -> Tensor:
    generator = np.random.default_rng([QUADRATURE, seed, probe])
    signs = generator.choice([-1.0, 1.0], operator.dimensions) / np.sqrt(operator.dimensions)
    return SharedVectors(operator.dimensions, operator.ranks).share(torch.from_numpy(signs).to(operator.device)).clone()


def _estimate(values: np.ndarray) -> Estimate:
    mean, error = _mean_and_error(values[:, None])
    return Estimate(float(mean[0]), float(error[0]))


def _mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis, and its standard error."""
    mean = values.mean(axis=0)
    if len(values) == 1:
        return mean, np.full_like(mean, np.inf)
    return mean, values.std(axis=0, ddof=1) / np.sqrt(len(values))
