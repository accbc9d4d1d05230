"""Lanczos with full reorthogonalisation and thick restarts (Wu and Simon 2000): one product and one basis row a step.

One vector at a time: a block would need more products for the same accuracy, and multiplying several vectors at once
gains little on operators that are bound by arithmetic (LeNet, 500 samples: 58 ms of CPU a vector for 8 of them one
after the other, 61 alone, 98 by vmap). The first is random: the leading space of the Gauss-Newton matrix has 18% of
that of the Hessian of LeNet at its initialisation, and a start in it took no fewer products (170; a random one 160, one
among the 20 vectors sought 120). What a single start vector cannot see, further copies of a multiple eigenvalue, is
found by continuing from a random vector orthogonal to everything found so far.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.curvature.eigensolver.basis import Basis
from gradlaw.curvature.eigensolver.projection import Projection
from gradlaw.curvature.eigensolver.shared_vectors import SharedVectors
from gradlaw.curvature.operators.base import CurvatureOperator
from gradlaw.random_streams import LANCZOS

NEGLIGIBLE = 100 * torch.finfo(torch.float64).eps  # a next vector so short, relative to ||A||, is rounding error
_SMALLEST = 1e-150  # length of a product that is told from zero; squares of smaller ones underflow
_ENOUGH_LEFT = 0.7  # of the norm: then one Gram-Schmidt pass suffices (Daniel, Gragg, Kaufman, Stewart 1976)


class Lanczos:
    """The state of a run: A Q = Q P + (last beta) next e^T, for the basis rows Q and the projection P.

    Attributes:
        basis: Q.
        projection: P.
        next: the unit vector that comes next; None if the basis spans an invariant subspace.
        products: how many were taken.
        dropped: norms of the residuals that deflation left out of the relation, for each row kept at the last restart.
        norm: a lower bound of ||A||, from the products ||A q|| and, once Ritz pairs are looked at, the Ritz values.
        witness: q^T A q of the first random vector, by which a resumed run recognises the operator.
    """

    def __init__(self, operator: CurvatureOperator, basis: Basis, seed: int):
        self.operator, self.basis, self.seed, self.ranks = operator, basis, seed, basis.ranks
        self.vectors = SharedVectors(basis.dimensions, basis.ranks)
        self.projection = Projection()
        self.next: Tensor | None = None
        self.products, self.draws, self.norm, self.witness = 0, 0, 0.0, 0.0
        self.dropped = np.zeros(0)

    def step(self) -> None:
        """One product: the basis grows by one row. From an invariant subspace it continues at random.

        An exception, such as that of Ctrl-C, leaves the state as it was before.
        """
        before = self.next, self.basis.size, self.products, self.draws, self.norm
        try:
            self._step()
        except BaseException:
            self.next, self.basis.size, self.products, self.draws, self.norm = before
            del self.projection.alpha[len(self.projection.beta) :]
            raise

    def _step(self) -> None:
        if self.next is None:
            self.next = self._random_vector()
        previous = self.basis.size - 1
        row, self.next = self.next, None
        self.basis.append(row)
        image = self._product(row)
        length, alpha = self.vectors.norm_and_dot(image, row)
        if not np.isfinite(length):
            raise self.ranks.common_error(
                f"product {self.products + 1:,} with the {self.operator.name} is not finite: its entries, or the loss "
                "and its derivatives at these parameters, overflow"
            )
        if length < _SMALLEST and float(self.ranks.sum(image.any().double())):
            raise self.ranks.common_error(
                f"product {self.products + 1:,} with the {self.operator.name} has a length below {_SMALLEST:g}, whose "
                "square is not held in floating point; multiply the matrix by a power of ten, and divide eigenvalues "
                "by it"
            )
        self.products += 1
        self.norm = max(self.norm, length)
        if self.products == 1:
            self.witness = alpha
        image.add_(row, alpha=-alpha)
        if self.projection.alpha:
            image.add_(self.basis[previous], alpha=-self.projection.beta[-1])
        beta = self._orthogonalise(image)
        if beta <= NEGLIGIBLE * self.norm or self.basis.size == self.basis.dimensions:
            beta = 0.0
        else:
            self.next = image.div_(beta)
        self.projection.alpha.append(alpha)
        self.projection.beta.append(beta)

    def ritz_pairs(self, count: int, which: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values, best first, their residual norms by the relation above, and coefficients (rows, count)."""

        def solved() -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
            values, coefficients = self.projection.eigenpairs(count, which)
            residuals = np.hypot(self._coupling(coefficients), self._left_out(coefficients))
            return max(self.norm, self.projection.norm_bound()), values, residuals, coefficients

        # By one rank: the signs of eigenvectors are the choice of a library.
        self.norm, values, residuals, coefficients = self.ranks.first(solved)
        return values, residuals, coefficients

    def restart(self, values: np.ndarray, coefficients: np.ndarray, deflate: bool) -> None:
        """Keep some Ritz vectors; continue the Krylov space, or ``deflate`` them and go on from a random vector."""
        coupling, left_out = self._coupling(coefficients), self._left_out(coefficients)
        arrow = self.projection.beta[-1] * coefficients[-1]
        self.basis.combine(coefficients)
        if deflate:
            self.dropped = np.hypot(coupling, left_out)
            self.projection, self.next = Projection(values, np.zeros_like(arrow)), None
        else:
            self.dropped = left_out
            self.projection = Projection(values, arrow)
            if self.next is not None:
                self.next.div_(self._orthogonalise(self.next))

    def _coupling(self, coefficients: np.ndarray) -> np.ndarray:
        return self.projection.beta[-1] * np.abs(coefficients[-1])

    def _left_out(self, coefficients: np.ndarray) -> np.ndarray:
        return np.sqrt(self.dropped**2 @ coefficients[: len(self.dropped)] ** 2)

    def state(self) -> dict[str, Any]:
        """All that :meth:`restore` needs beside the rows of the basis."""
        p = self.projection
        row = np.zeros(0) if self.next is None else self.vectors.whole(self.next).cpu().numpy()
        return {
            "theta": p.theta, "arrow": p.arrow, "alpha": np.array(p.alpha), "beta": np.array(p.beta), "next": row,
            "size": self.basis.size, "generation": self.basis.generation, "products": self.products,
            "draws": self.draws, "norm": self.norm, "witness": self.witness, "dropped": self.dropped,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state; the rows of the basis are loaded by the caller.

        Raises:
            InputError: the operator is another one.
        """
        self.projection = Projection(state["theta"], state["arrow"], state["alpha"].tolist(), state["beta"].tolist())
        row = torch.from_numpy(state["next"]).to(self.basis.device)
        self.next = self.vectors.share(row).clone() if len(row) else None
        self.products, self.draws, self.dropped = int(state["products"]), int(state["draws"]), state["dropped"]
        self.norm, self.witness = float(state["norm"]), float(state["witness"])
        first = self._random_direction(0)
        seen = self.vectors.dot(first, self._product(first))
        if not np.isclose(seen, self.witness, rtol=1e-3, atol=1e-6 * self.norm):
            raise self.ranks.common_error(
                f"the checkpoint is of another {self.operator.name}: q^T A q of its first vector was "
                f"{self.witness:.6g} and is {seen:.6g} now; choose another folder, or delete it"
            )

    def _random_vector(self) -> Tensor:
        """A random direction orthogonal to the basis."""
        vector = self._random_direction(self.draws)
        self.draws += 1
        return vector.div_(self._orthogonalise(vector))

    def _random_direction(self, draw: int) -> Tensor:
        generator = np.random.default_rng([LANCZOS, self.seed, draw])
        values = torch.from_numpy(generator.standard_normal(self.basis.dimensions))
        vector = values.to(self.basis.device)
        return self.vectors.share(vector.div_(float(torch.linalg.vector_norm(vector)))).clone()

    def _product(self, vector: Tensor) -> Tensor:
        return self.vectors.share(self.operator.multiply(self.vectors.whole(vector)).double())

    def _orthogonalise(self, vector: Tensor) -> float:
        """Orthogonalise in place against the basis, again as long as a pass takes much of the norm; the norm left."""
        for _ in range(4):
            before = self.basis.project_out(vector)
            after = self.vectors.norm(vector)
            if after >= _ENOUGH_LEFT * before:
                break
        return after
