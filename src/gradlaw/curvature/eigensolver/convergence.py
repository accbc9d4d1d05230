"""The search for k eigenpairs: Lanczos until they converge, then from random vectors until no further one turns up."""

from typing import Any

import numpy as np

from gradlaw.curvature.eigensolver.lanczos import Lanczos
from gradlaw.curvature.eigensolver.projection import PREFERENCE

_SAFETY = 0.3  # of the tolerance, that residuals may reach before rounding is added to them
_FEWEST_PROBES = 30  # products from a random vector that are to find what was missed
_PROBE_SHARE = 0.1  # the same, as a share of the products before
_MISS_RATE = 1e-3


class EigenSearch:
    """Drives a Lanczos run until its k preferred Ritz pairs have converged and a probe found no others.

    A single start vector sees one vector of each eigenspace. So converged pairs are deflated and the run goes on from a
    random vector: further copies of a multiple eigenvalue are now the extreme ones, and are found first.

    Attributes:
        finished: whether the k rows of the basis are now the result, of eigenvalues ``lanczos.projection.theta``.
        restarts: how often the basis was full.
        consistent: whether an exception has left a state to go on from, as those do that end a product, not a restart.
    """

    def __init__(self, lanczos: Lanczos, k: int, which: str, tol: float, capacity: int, max_products: int):
        self.lanczos, self.k, self.which, self.tol = lanczos, k, which, tol
        self.capacity, self.max_products = capacity, max_products
        self.restarts, self.finished, self.consistent = 0, False, True
        self._next_step = min(capacity, k + max(10, k // 4))
        self._probe_end = 0  # in products; 0 before the first probe
        self._probe_length = 0
        self._complete = False
        self._converged = ((0, 0), (0, 0))  # products and converged pairs at the last two steps
        self._deflated = np.zeros(0)

    @property
    def converged(self) -> int:
        """How many of the k preferred pairs have a residual within the tolerance, at the last step."""
        return self._converged[1][1]

    def advance(self) -> bool:
        """One product; returns whether it ended a step."""
        self.lanczos.step()
        products, rows = self.lanczos.products, self.lanczos.basis.size
        if rows < self._next_step and products < self.max_products:
            return False
        self.consistent = False
        self._step()
        self.consistent = True
        return True

    def products_left(self) -> int | None:
        """About how many more products it will take, were pairs to converge as between the last two steps."""
        products, converged = self._converged[0]
        gained, taken = self.converged - converged, self.lanczos.products - products
        if gained <= 0:
            return None
        missing = (self.k - self.converged) * taken / gained
        ahead = _PROBE_SHARE * (self.lanczos.products + missing) if not self._probe_end else 0.0
        return int(missing + ahead)

    def resolution(self) -> float:
        """How far beyond the k-th eigenvalue one may lie that was missed, but for one run in a thousand.

        A Lanczos run of j products from a random vector misses the largest eigenvalue by more than a share e of the
        spread of the spectrum with a probability below 1.648 sqrt(n) exp(-(2j - 1) sqrt(e)) (Kuczynski and Wozniakowski
        1992, section 4). Zero if the whole spectrum was computed, infinite if no probe came to its end.
        """
        if self._complete:
            return 0.0
        bound = np.log(1.648 * np.sqrt(self.lanczos.basis.dimensions) / _MISS_RATE)
        share = (bound / (2 * self._probe_length - 1)) ** 2 if self._probe_length else np.inf
        worst = PREFERENCE[self.which](self.lanczos.projection.theta).min()
        return float(share / (1 - share) * (worst + self.lanczos.norm)) if share < 1 else np.inf

    def state(self) -> dict[str, Any]:
        """All that :meth:`restore` needs."""
        return {
            "capacity": self.capacity, "converged": self.converged, "restarts": self.restarts,
            "finished": self.finished, "next_look": self._next_step, "probe_end": self._probe_end,
            "probe_length": self._probe_length, "deflated": self._deflated, "complete": self._complete,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        self.capacity, self.restarts = int(state["capacity"]), int(state["restarts"])
        self._converged = ((0, 0), (0, int(state["converged"])))
        self.finished, self._next_step = bool(state["finished"]), int(state["next_look"])
        self._probe_end, self._probe_length = int(state["probe_end"]), int(state["probe_length"])
        self._deflated, self._complete = state["deflated"], bool(state["complete"])

    def _step(self) -> None:
        """Count what has converged, and decide how to go on."""
        lanczos, k = self.lanczos, self.k
        rows, self._complete = lanczos.basis.size, lanczos.basis.size == lanczos.basis.dimensions
        keep = k + (self.capacity - k) // 2 if rows == self.capacity else k
        values, residuals, coefficients = lanczos.ritz_pairs(keep, self.which)
        count = int((residuals[:k] <= _SAFETY * self.tol * lanczos.norm).sum())
        self._converged = (self._converged[1], (lanczos.products, count))
        settled = self.converged == k and lanczos.products >= self._probe_end
        if settled and self._probe_end and not self._found(values[:k]):
            self._finish(values, coefficients)
        elif self._complete or lanczos.products >= self.max_products:
            self._probe_length = 0
            self._finish(values, coefficients)
        elif settled:
            self._deflate(values[:k], coefficients[:, :k])
        elif rows == self.capacity:
            lanczos.restart(values, coefficients, deflate=False)
            self.restarts += 1
            self._plan_step(max(10, self.capacity // 8))
        else:
            self._plan_step(max(10, rows // 20))

    def _found(self, values: np.ndarray) -> bool:
        """Whether the preferred values are better than those deflated before this probe, by more than the tolerance."""
        now = np.sort(PREFERENCE[self.which](values))
        return bool((now > self._deflated + self.tol * self.lanczos.norm).any())

    def _deflate(self, values: np.ndarray, coefficients: np.ndarray) -> None:
        """Keep only the k pairs and probe what is orthogonal to them."""
        self.lanczos.restart(values, coefficients, deflate=True)
        self._deflated = np.sort(PREFERENCE[self.which](values))
        self._probe_length = max(_FEWEST_PROBES, int(_PROBE_SHARE * self.lanczos.products))
        self._probe_end = self.lanczos.products + self._probe_length
        self._plan_step(self._probe_length)

    def _finish(self, values: np.ndarray, coefficients: np.ndarray) -> None:
        """Leave the k pairs as the rows of the basis, descending."""
        descending = np.argsort(-values[: self.k], kind="stable")
        self.lanczos.restart(values[descending], coefficients[:, descending], deflate=True)
        self.finished = True

    def _plan_step(self, wait: int) -> None:
        wait = max(wait, self._probe_end - self.lanczos.products)
        self._next_step = min(self.lanczos.basis.size + wait, self.capacity)
