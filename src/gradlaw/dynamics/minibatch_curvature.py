"""Gradient and curvature along it of one minibatch after another, at fixed parameters."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.curvature.operators.checks import check_problem
from gradlaw.curvature.operators.composites import Composites
from gradlaw.curvature.operators.plain_loss import PlainLoss
from gradlaw.curvature.operators.products import HESSIAN
from gradlaw.curvature.operators.reference import flat
from gradlaw.curvature.operators.samples import Samples
from gradlaw.errors import InputError
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem
from gradlaw.progress import Progress


@dataclass(frozen=True, eq=False)
class MinibatchCurvature(ByValue):
    """Of M minibatches, in float64.

    Attributes:
        squared_norms: shape (M,), ||g_B||^2.
        curvatures: shape (M,), g_B^T H_B g_B.
        along: shape (M,), g_B^T u; zeros without a direction u.
        mean_squared_norm: ||mean of g_B||^2.
    """

    squared_norms: np.ndarray
    curvatures: np.ndarray
    along: np.ndarray
    mean_squared_norm: float

    @property
    def noise_trace(self) -> float:
        """The trace of Cov(g_B), unbiased."""
        count = len(self.squared_norms)
        return float((self.squared_norms.sum() - count * self.mean_squared_norm) / (count - 1))


def measure_minibatches(
    problem: Problem, batch_size: int, minibatches: int, seed: int, direction: Tensor | None, progress: Progress
) -> MinibatchCurvature:
    """By plain autograd in the model's own tensors; the product with the Hessian by double backward.

    Raises:
        InputError: a loss that is random or cannot be differentiated twice, a minibatch whose gradient is zero or not
            finite, or a batch size above N.
    """
    problem.refuse_batches("batch sharpness")
    batches = Minibatches(problem.samples, batch_size, minibatches, seed)
    check_problem(problem, Samples(np.stack([batches[0]]), seed))
    rows, total = np.zeros((3, minibatches)), torch.zeros(problem.dimensions, dtype=torch.float64)
    with progress.stage("batch sharpness", minibatches) as advance:
        for t, (gradient, product) in enumerate(_gradients_and_products(problem, batches)):
            total += gradient.cpu()
            rows[0, t] = float(gradient @ gradient)
            rows[1, t] = float(gradient @ product)
            if direction is not None:
                rows[2, t] = float(gradient @ direction.to(gradient))
            _refuse_undefined(t, rows[:, t])
            advance(1)
    mean = total / minibatches
    return MinibatchCurvature(rows[0], rows[1], rows[2], float(mean @ mean))


def _gradients_and_products(problem: Problem, batches: Minibatches) -> Iterator[tuple[Tensor, Tensor]]:
    """g_B and H_B g_B, flat and in float64."""
    plain = PlainLoss(problem, None)
    for indices in batches:
        with plain.in_place(), Composites():  # anew each time: batch norm writes its running statistics
            gradient, multiply = HESSIAN.reverse(plain, *plain.fetch(indices))
            product = multiply(tuple(part.detach() for part in gradient))
        yield flat(gradient).detach().double(), flat(product).detach().double()


def _refuse_undefined(t: int, row: np.ndarray) -> None:
    if not np.isfinite(row).all():
        raise InputError(f"gradient or curvature of minibatch {t} is not finite: has the model diverged?")
    if row[0] == 0:
        raise InputError(
            f"the gradient of minibatch {t} is zero, so that no direction is given in which to take the curvature; "
            "take larger minibatches, or parameters at which the loss is not yet fitted"
        )
