"""Vectors of n values of which each rank has a run of neighbours: what the recurrence of Lanczos needs of them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlaw.ranks import RankGroup


@dataclass(frozen=True)
class SharedVectors:
    """How vectors are shared out. Sums have the same bits on every rank, so that all decide alike.

    Attributes:
        dimensions: n.
        ranks: that have them together; one alone has them whole.
    """

    dimensions: int
    ranks: RankGroup

    def share(self, whole: Tensor) -> Tensor:
        """What this rank keeps of a vector (n,), or of the columns of a block (n, m)."""
        columns = self.ranks.share(self.dimensions)
        return whole[columns.start : columns.stop]

    def whole(self, shares: Tensor) -> Tensor:
        """The vector (n,) on every rank, or the vectors (m, n), of which each rank has its share."""
        if self.ranks.size == 1:
            return shares
        return self.ranks.joined(shares.reshape(-1, shares.shape[-1]), self.dimensions).view(*shares.shape[:-1], -1)

    def dot(self, u: Tensor, v: Tensor) -> float:
        """The scalar product of two vectors."""
        return float(self.ranks.sum(u @ v))

    def norm_and_dot(self, u: Tensor, v: Tensor) -> tuple[float, float]:
        """The length of u and its scalar product with v, in one sum over ranks."""
        if self.ranks.size == 1:
            return self.norm(u), self.dot(v, u)
        square, product = self.ranks.sum(torch.stack([torch.linalg.vector_norm(u).square(), v @ u])).tolist()
        return math.sqrt(square), product

    def norm(self, vector: Tensor) -> float:
        """The length of a vector."""
        return float(self.norms(vector))

    def norms(self, vectors: Tensor) -> Tensor:
        """The length of a vector, or of each row."""
        here = torch.linalg.vector_norm(vectors, dim=-1)
        return here if self.ranks.size == 1 else self.ranks.sum(here.square()).sqrt()
