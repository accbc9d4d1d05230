"""What is checked before any long work: the problem, and the products of the operator made of it."""

import numpy as np
import torch
from torch import Tensor

from gradlaw import random_streams
from gradlaw._torch import BatchNorm
from gradlaw.curvature.operators.base import CurvatureOperator
from gradlaw.curvature.operators.samples import Samples
from gradlaw.errors import InputError, listed
from gradlaw.history.engines.gradient_hooks import hooked
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.history.engines.preflight import Findings, inspect_problem
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem

_PROBE_SAMPLES = 8
_RELATIVE_EPS = 2e4  # rounding in another order moves a product by some eps; a wrong one is off by much more


def check_problem(problem: Problem, samples: Samples) -> Findings:
    """Refuse a problem whose mean loss is not a fixed function of theta; return what was found.

    Raises:
        InputError: the loss is random, or can be differentiated once alone; gradients pass through hooks; batch norm
            takes the statistics of a minibatch and there are no minibatches; or whatever
            :func:`~gradlaw.history.engines.preflight.inspect_problem` refuses.
    """
    places = hooked(problem)
    if places:
        raise InputError(
            f"gradients pass through hooks (of {listed(places)}), so that their derivative is not the Hessian of the "
            "loss; remove them"
        )
    if not samples.grouped and not problem.by_batches:
        _refuse_minibatch_statistics(problem)
    probe = samples.indices.shape[1] if samples.grouped else min(_PROBE_SAMPLES, problem.samples)
    minibatches = Minibatches(problem.samples, probe, 2, samples.seed)
    reference = LoopEngine(problem, samples.seed)
    findings = inspect_problem(problem, minibatches, reference)
    if reference.by_backward:
        raise InputError(
            "segments checkpointed with use_reentrant=True cannot be differentiated twice, so that there is no "
            "Hessian; checkpoint them with use_reentrant=False"
        )
    if findings.random:
        raise InputError(
            "the loss is random at fixed parameters (dropout?), so that it has no Hessian: use model.eval(), or set "
            "the probability to 0"
        )
    return findings


def _refuse_minibatch_statistics(problem: Problem) -> None:
    for name, module in problem.model.named_modules():
        if isinstance(module, BatchNorm) and (module.training or module.running_mean is None):
            raise InputError(
                f"the loss couples the samples of a minibatch (batch norm {name!r} takes its statistics). Give "
                "batch_size, for the mean over fixed minibatches of that size, or call model.eval()"
            )


def random_vectors(operator: CurvatureOperator, count: int) -> Tensor:
    """Unit vectors of random direction, (n, count), of a seed of their own."""
    rng = np.random.default_rng([random_streams.PRODUCT_CHECK])
    block = torch.from_numpy(rng.standard_normal((operator.dimensions, count))).to(operator.device, operator.dtype)
    return block / block.norm(dim=0)


def check_products(operator: CurvatureOperator, rounding: float = 0.0) -> None:
    """Multiply two random vectors, one of them twice: the products are finite and repeat, the matrix is symmetric.

    Args:
        operator: whose products.
        rounding: that moves a product, relative to its norm, where it is more than that of the operator's type.

    Raises:
        InputError: they are not, or it is not.
    """
    u, v = random_vectors(operator, 2).T
    a, b = (operator @ torch.stack([u, v], dim=1)).T
    if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise operator.ranks.common_error(
            f"a product of the {operator.name} with a random vector is not finite: has the model diverged, do the data "
            "hold NaN, or is an operation of the model not twice differentiable where it is used?"
        )
    tolerance = max(_RELATIVE_EPS * torch.finfo(operator.dtype).eps, rounding)
    off = float((a - operator @ u).norm())
    if off > tolerance * float(a.norm()):
        raise operator.ranks.common_error(
            f"two products of the {operator.name} with one vector differ by {off / float(a.norm()):.2g} of their norm: "
            "something in model or loss is drawn at random, or kept from call to call; turn it off"
        )
    left, right = float(u.double() @ b.double()), float(v.double() @ a.double())
    if abs(left - right) > tolerance * float(a.norm() + b.norm()):
        raise operator.ranks.common_error(
            f"the {operator.name} is not symmetric: u^T H v = {left:.6g} and v^T H u = {right:.6g} for random u, v; an "
            "operation of the model has a wrong derivative"
        )


def agrees(fast: Tensor, plain: Tensor, exact: Tensor) -> bool:
    """Whether a product is as close to the float64 one as rounding and the plain way in the same type allow."""
    rounding = _RELATIVE_EPS * torch.finfo(fast.dtype).eps * float(exact.norm())
    return float((fast - exact).norm()) <= rounding + 10 * float((plain - exact).norm())
