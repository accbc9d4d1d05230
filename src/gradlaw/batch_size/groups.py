"""Means of successive iterations of a history: gradients of larger minibatches."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.curvature import CurvatureOperator
from gradlaw.history import GradientHistory
from gradlaw.progress import Progress

MOST, FEWEST = 50, 10
_LARGEST = 2**28  # values in all means together
_AT_ONCE = 10  # products with the Hessian


@dataclass(frozen=True, eq=False)
class GroupMeans(ByValue):
    """Of m groups of ``size`` iterations each, in their order.

    Attributes:
        means: (m, n), float32 or float64.
        small: mean |g|^2 of the iterations of each group, shape (m,).
        size: iterations in a group.
    """

    means: Tensor
    small: np.ndarray
    size: int

    @property
    def big(self) -> np.ndarray:
        """|g|^2 of each mean, shape (m,)."""
        return self.means.double().square().sum(dim=1).cpu().numpy()

    def forms(self, operator: CurvatureOperator, progress: Progress) -> np.ndarray:
        """g_i^T A g_j of the means, symmetric; shape (m, m)."""
        rows = []
        with progress.stage(f"products with the {operator.name}", len(self.means)) as advance:
            for vectors in self.means.split(_AT_ONCE):
                products = (operator @ vectors.T).double()
                rows.append((self.means.to(products.device).double() @ products).T)
                advance(len(vectors))
        forms = torch.cat(rows)
        return ((forms + forms.T) / 2).cpu().numpy()


def group_means(history: GradientHistory) -> GroupMeans:
    """As many groups as are useful and fit; iterations that are left over at the end take no part."""
    iterations, dimensions = history.shape
    groups = min(MOST, max(FEWEST, _LARGEST // dimensions), iterations // 2)
    size = iterations // groups
    means, small = [], []
    for first in range(0, groups * size, size):
        rows = history[first : first + size].double()
        means.append(rows.mean(dim=0).to(history[0].dtype))
        small.append(float(rows.square().sum(dim=1).mean()))
    return GroupMeans(torch.stack(means), np.array(small), size)
