"""What is checked before any long work: the problem, and the products of the operator made of it."""

import numpy as np
import torch
from torch import Tensor

from gradlaw import streams
from gradlaw.curvature.operator import CurvatureOperator
from gradlaw.curvature.samples import Samples
from gradlaw.errors import InputError
from gradlaw.history.loop import LoopEngine, flatten
from gradlaw.history.preflight import inspect_problem
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem

_PROBE_SAMPLES = 8
_RELATIVE_EPS = 2e4  # rounding in another order moves a product by some eps; a wrong one is off by much more


def check_problem(problem: Problem, samples: Samples) -> list[str]:
    """Refuse a problem whose mean loss is not a fixed function of theta; return what has to be known of it.

    Raises:
        InputError: the loss is random, couples the samples of a minibatch although it is to be a mean over samples, or
            whatever :func:`~gradlaw.history.preflight.inspect_problem` refuses.
    """
    probe = samples.indices.shape[1] if samples.grouped else min(_PROBE_SAMPLES, problem.samples)
    reference = LoopEngine(problem, samples.seed)
    minibatches = Minibatches(problem.samples, probe, 2, samples.seed)
    findings = inspect_problem(problem, minibatches, reference)
    if findings.random:
        raise InputError(
            "the loss is random at fixed parameters (dropout?), so that it has no Hessian: use model.eval(), or set "
            "the probability to 0"
        )
    if not samples.grouped and _couples_samples(problem, minibatches[0], findings.gradient, reference):
        raise InputError(
            "the loss couples the samples of a minibatch (batch norm in training mode, or a weighted mean?): its "
            "gradient is not the mean of those of single samples. Give batch_size, for the mean over fixed minibatches "
            "of that size, or call model.eval()"
        )
    return findings.notices


def _couples_samples(problem: Problem, indices: np.ndarray, gradient: Tensor, reference: LoopEngine) -> bool:
    """Whether the gradient of a minibatch differs from the mean over its two halves."""
    half = len(indices) // 2
    if half < 2:  # all fit into one chunk
        return False
    parts = [flatten(reference.gradient(0, i)[1], problem) for i in (indices[:half], indices[half : 2 * half])]
    if len(indices) % 2:
        gradient = flatten(reference.gradient(0, indices[: 2 * half])[1], problem)
    scale = max(float(part.norm()) for part in parts)
    return float((gradient - (parts[0] + parts[1]) / 2).norm()) > torch.finfo(problem.dtype).eps ** 0.5 * scale


def random_vectors(operator: CurvatureOperator, count: int) -> Tensor:
    """Unit vectors of random direction, (n, count), of a seed of their own."""
    rng = np.random.default_rng([streams.PRODUCT_CHECK])
    block = torch.from_numpy(rng.standard_normal((operator.dimensions, count))).to(operator.device, operator.dtype)
    return block / block.norm(dim=0)


def check_products(operator: CurvatureOperator) -> None:
    """Multiply two random vectors and see that the products are finite and the matrix symmetric.

    Raises:
        InputError: they are not, or it is not.
    """
    u, v = random_vectors(operator, 2).T
    a, b = (operator @ torch.stack([u, v], dim=1)).T
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise InputError(
            f"a product of the {operator.name} with a random vector is not finite: has the model diverged, do the data "
            "hold NaN, or is an operation of the model not twice differentiable where it is used?"
        )
    left, right = float(u.double() @ b.double()), float(v.double() @ a.double())
    tolerance = _RELATIVE_EPS * torch.finfo(operator.dtype).eps * float(a.norm() + b.norm())
    if abs(left - right) > tolerance:
        raise InputError(
            f"the {operator.name} is not symmetric: u^T H v = {left:.6g} and v^T H u = {right:.6g} for random u, v; an "
            "operation of the model has a wrong derivative"
        )


def agrees(fast: Tensor, plain: Tensor, exact: Tensor) -> bool:
    """Whether a product is as close to the float64 one as rounding and the plain way in the same type allow."""
    rounding = _RELATIVE_EPS * torch.finfo(fast.dtype).eps * float(exact.norm())
    return float((fast - exact).norm()) <= rounding + 10 * float((plain - exact).norm())
