"""Eigenpairs of a curvature operator, thousands of them, each with its residual."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw.argument_types import checked
from gradlaw.by_value import ByValue
from gradlaw.choices import Which
from gradlaw.curvature.eigensolver.basis import Basis
from gradlaw.curvature.eigensolver.budget import basis_budget
from gradlaw.curvature.eigensolver.checkpoint import SolverState
from gradlaw.curvature.eigensolver.convergence import EigenSearch
from gradlaw.curvature.eigensolver.lanczos import NEGLIGIBLE, Lanczos
from gradlaw.curvature.eigensolver.projection import PREFERENCE
from gradlaw.curvature.operators.base import CurvatureOperator, as_operator
from gradlaw.errors import InputError, count
from gradlaw.errors import seed as checked_seed
from gradlaw.progress import SILENT, Advance, Progress
from gradlaw.resources import free_memory

_BLOCK = 8  # eigenvectors multiplied at a time
_QUIET_SECONDS = 60.0  # between two lines about the state of a run
_OF_THIS_RUN = ("notices", "chunks", "ranks")  # of what an operator says of itself: another run may go on with others


@dataclass(frozen=True, eq=False)
class Eigenpairs(ByValue):
    """k eigenpairs of a symmetric n x n matrix A, the largest, smallest, or largest in magnitude.

    Attributes:
        eigenvalues: shape (k,), descending, float64.
        residuals: shape (k,), ||A v - lambda v|| of the unit vectors v, float64.
        measured: shape (k,), which residuals come from a product with the finished vector. The others come from the
            Lanczos relation between the products that were taken, and lack the rounding error of the product.
        converged: shape (k,), residual within ``tol`` times ``norm``.
        vectors: shape (k, n), one unit vector a row, in the type of the operator; None if they were not kept.
        which: ``"LA"``, ``"SA"`` or ``"LM"``.
        tol: what was asked for.
        norm: ||A||_2, the largest magnitude seen, a lower bound.
        resolution: had an eigenvalue been missed (a further copy of a multiple one, say), it would be less than this
            beyond the k-th, but for one run in a thousand; 0 if the whole spectrum was computed.
        products: products with A, those for the residuals included.
        restarts: how often the memory for the basis was full.
        operator: the operator's description of itself.
    """

    eigenvalues: np.ndarray
    residuals: np.ndarray
    measured: np.ndarray
    converged: np.ndarray
    vectors: Tensor | None
    which: str
    tol: float
    norm: float
    resolution: float
    products: int
    restarts: int
    operator: dict[str, Any]

    @property
    def positive(self) -> int:
        """How many eigenvalues, from the largest of the matrix on, are above their residuals, hence surely positive."""
        if self.which == "SA" and len(self.eigenvalues) < self.operator["dimensions"]:
            return 0  # the largest are not among them
        sure = self.eigenvalues > self.residuals
        return len(sure) if sure.all() else int(np.argmin(sure))


@checked
def eigenpairs(
    matrix: Any,
    k: int,
    which: Which = "LA",
    *,
    tol: float = 1e-6,
    measure: int | None = None,
    keep_vectors: bool = True,
    max_products: int | None = None,
    memory: float | None = None,
    checkpoint: str | Path | None = None,
    save_seconds: float = 180.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Eigenpairs:
    """The k extreme eigenpairs of a symmetric matrix, by Lanczos with full reorthogonalisation.

    The basis grows without restarts while memory lasts, because products are what costs; then thick restarts (Wu and
    Simon 2000). Full reorthogonalisation leaves no ghosts. Multiple eigenvalues are found with their multiplicity: once
    k pairs have converged, the run goes on from a random vector orthogonal to them until no further one turns up.
    Where ranks share the operator (see :func:`gradlaw.hessian`), each has a share of the n values of all vectors.

    Vectors and recurrence are float64 whatever the type of the products, which then set what can be reached: with
    float32 products, residuals of 4e-7 to 9e-7 ||A|| (LeNet on MNIST), and eigenvalues accurate to 1e-8 ||A||.

    Args:
        matrix: a CurvatureOperator, or what :func:`~gradlaw.curvature.operators.base.as_operator` takes: a symmetric
            tensor, array, sparse matrix, SciPy LinearOperator or curvlinops operator.
        k: how many; all n if k is larger.
        which: ``"LA"`` the largest, ``"SA"`` the smallest, ``"LM"`` the largest in magnitude.
        tol: largest residual of a converged pair, relative to ||A||_2.
        measure: measure the residuals of so many pairs, evenly spread, by a product with the finished vector. Default:
            of all. The others are stated from the Lanczos relation.
        keep_vectors: return the eigenvectors; they are copied out of the basis, in the type of the operator, whole on
            every rank.
        max_products: stop the search here, converged or not. Default: 10 n.
        memory: bytes that the basis may take, on each rank; beyond, it is on disk. Default: half of what is free.
        checkpoint: a folder to save to now and then, and on Ctrl-C, and to resume from, with the same result bit for
            bit. It is emptied when the run is done. Several ranks write to one folder that all of them read, not on
            Ctrl-C, and another number of them goes on from it, with the same result but for rounding. Default: no
            checkpoints.
        save_seconds: between two saves, at least, 3 minutes by default; the result does not depend on it.
        seed: of the random vectors.
        progress: shows converged pairs, and what memory is needed beforehand.

    Raises:
        InputError: k < 1, an unknown ``which``, a ``tol`` or ``max_products`` too small, a product that is not finite,
            a basis or eigenvectors that do not fit, a checkpoint of another run or one that is damaged, a full disk.

    Example:
        >>> pairs = eigenpairs(np.diag([3.0, -5.0, 3.0, 1.0, 0.0]), k=3)
        >>> pairs.eigenvalues.round(6), bool(pairs.converged.all())
        (array([3., 3., 1.]), True)
    """
    progress = progress or SILENT
    operator = as_operator(matrix)
    with operator.ranks.alive():
        return _eigenpairs(
            operator,
            k,
            which,
            tol,
            measure,
            keep_vectors,
            max_products,
            memory,
            checkpoint,
            save_seconds,
            seed,
            progress,
        )


def _eigenpairs(
    operator: CurvatureOperator,
    k: int,
    which: Which,
    tol: float,
    measure: int | None,
    keep_vectors: bool,
    max_products: int | None,
    memory: float | None,
    checkpoint: str | Path | None,
    save_seconds: float,
    seed: int,
    progress: Progress,
) -> Eigenpairs:
    ranks = operator.ranks
    seed, tol = checked_seed(seed), float(tol)
    measure = None if measure is None else count(measure, "measure", 0)
    max_products = None if max_products is None else count(max_products, "max_products")
    k = _check(operator, count(k, "k"), which, tol, max_products)
    described = {name: value for name, value in operator.describe().items() if name not in _OF_THIS_RUN}
    settings = {"operator": described, "k": k, "which": which, "tol": tol, "seed": seed,
                "measure": measure, "max_products": max_products}  # fmt: skip
    given = {"memory": memory, "checkpoint": str(checkpoint), "keep_vectors": keep_vectors}
    ranks.refuse_differences(settings | given)
    if keep_vectors and ranks.size > 1:
        _refuse_vectors_beyond_memory(operator, k)
    saved = None if checkpoint is None else SolverState(Path(checkpoint), settings, float(save_seconds), ranks)
    folder = saved.folder if saved else None
    budget = basis_budget(k, operator.dimensions, operator.device, memory, folder, ranks)
    progress.say(budget.announcement)
    with _folder(budget.on_disk, saved) as folder:
        basis = Basis(operator.dimensions, operator.device, folder, ranks)
        search = EigenSearch(
            Lanczos(operator, basis, seed), k, which, tol, budget.capacity, max_products or 10 * operator.dimensions
        )
        run = _Run(search, saved, measure, progress)
        try:
            run.search_pairs()
            run.measure_residuals()
        except BaseException as error:
            run.save_interrupted(error)
            raise
        result = run.result(keep_vectors)
    if saved is not None:
        saved.remove()
    return result


def _check(operator: CurvatureOperator, k: int, which: str, tol: float, max_products: int | None) -> int:
    if which not in PREFERENCE:
        raise InputError(f"which must be one of {', '.join(PREFERENCE)}, got {which!r}")
    attainable = max(2 * torch.finfo(operator.dtype).eps, 2 * NEGLIGIBLE)
    if tol < attainable:
        raise InputError(f"tol={tol:g} is out of reach with {operator.dtype} products; give at least {attainable:.1g}")
    k = min(k, operator.dimensions)
    if max_products is not None and max_products < k:
        raise InputError(f"k={k} eigenpairs take at least {k} products, and max_products is {max_products}")
    return k


def _refuse_vectors_beyond_memory(operator: CurvatureOperator, k: int) -> None:
    """Every rank has all of the result, while it had a share of the basis alone."""
    needed = k * operator.dimensions * torch.promote_types(operator.dtype, torch.float32).itemsize
    free = operator.ranks.least_part(str(operator.device), free_memory(operator.device))
    if needed > free:
        raise operator.ranks.common_error(
            f"{k:,} eigenvectors of n={operator.dimensions:,} take {needed / 1e9:.2f} GB on every rank, and "
            f"{free / 1e9:.2f} GB are free for each; pass keep_vectors=False, or take fewer"
        )


@contextmanager
def _folder(on_disk: bool, saved: SolverState | None) -> Iterator[Path | None]:
    """The folder of a basis on disk."""
    if not on_disk:
        yield None
    elif saved is not None:
        yield saved.folder
    else:
        with tempfile.TemporaryDirectory(prefix="gradlaw-") as folder:
            yield Path(folder)


class _Run:
    """A search and the measurement of its residuals, saved now and then."""

    def __init__(self, search: EigenSearch, saved: SolverState | None, measure: int | None, progress: Progress):
        self.search, self.saved, self.progress = search, saved, progress
        self.lanczos, self.basis = search.lanczos, search.lanczos.basis
        k = search.k
        self.picks = np.unique(np.linspace(0, k - 1, k if measure is None else min(measure, k)).round().astype(int))
        self.residuals = np.full(len(self.picks), np.nan)
        if saved is not None and saved.state is not None:
            self._restore(saved.state)

    def search_pairs(self) -> None:
        """Advance the search to its end."""
        search = self.search
        with self.progress.stage("converged eigenpairs", search.k) as advance:
            report = _Report(search, advance, self.progress)
            while not search.finished:
                generation = self.basis.generation
                if search.advance():
                    report()
                self._save(self.basis.generation != generation)

    def measure_residuals(self) -> None:
        """||A v - lambda v|| of the picked rows."""
        theta = self.lanczos.projection.theta
        with self.progress.stage("measured residuals", len(self.picks)) as advance:
            for start in range(0, len(self.picks), _BLOCK):
                part = self.picks[start : start + _BLOCK]
                if np.isnan(self.residuals[start]):
                    vectors, shared = torch.stack([self.basis[int(i)] for i in part]), self.lanczos.vectors
                    images = shared.share(self.lanczos.operator.multiply(shared.whole(vectors).T)).T.double()
                    values = torch.from_numpy(theta[part]).to(vectors.device)
                    norms = shared.norms(images - values[:, None] * vectors)
                    self.residuals[start : start + _BLOCK] = norms.cpu().numpy()
                    self._save(False)
                advance(len(part))

    def result(self, keep_vectors: bool) -> Eigenpairs:
        """What was found."""
        search, lanczos, operator = self.search, self.lanczos, self.lanczos.operator
        theta, residuals = lanczos.projection.theta, lanczos.dropped.copy()
        norm = max(lanczos.norm, float(np.abs(theta).max()))
        residuals[self.picks] = self.residuals
        measured = np.zeros(len(theta), dtype=bool)
        measured[self.picks] = True
        return Eigenpairs(
            eigenvalues=theta,
            residuals=residuals,
            measured=measured,
            converged=residuals <= search.tol * norm,
            vectors=self.basis.rows(torch.promote_types(operator.dtype, torch.float32)) if keep_vectors else None,
            which=search.which,
            tol=search.tol,
            norm=norm,
            resolution=search.resolution(),
            products=lanczos.products + len(self.picks),
            restarts=search.restarts,
            operator=operator.describe(),
        )

    def save_interrupted(self, error: BaseException) -> None:
        """Save once more if it is Ctrl-C or the end of the process that stops the run, and not in a restart; several
        ranks are not stopped at one place, and keep what they saved together.
        """
        if not isinstance(error, Exception) and self.search.consistent and self.lanczos.ranks.size == 1:
            self._save(True)

    def _save(self, at_once: bool) -> None:
        if self.saved is not None and (at_once or self.saved.due()):
            state = self.lanczos.state() | self.search.state() | {"residuals": self.residuals}
            self.saved.save(state, self.basis)

    def _restore(self, state: dict[str, Any]) -> None:
        assert self.saved is not None
        size, generation = int(state["size"]), int(state["generation"])
        self.basis.load(self.saved.folder, size, generation, state["checksums"])
        self.lanczos.restore(state)
        self.search.restore(state)
        self.residuals = state["residuals"]
        self.progress.say(f"resumed after {self.lanczos.products:,} products")


class _Report:
    """Moves the bar of converged pairs and, now and then, says how long the rest will take."""

    def __init__(self, search: EigenSearch, advance: Advance, progress: Progress):
        self.search, self.advance, self.progress = search, advance, progress
        self.shown = self.last = 0
        self.started = self.spoken = time.monotonic()
        self.first = search.lanczos.products

    def __call__(self) -> None:
        search, now = self.search, time.monotonic()
        converged, products = search.converged, search.lanczos.products
        self.advance(max(0, converged - self.shown))
        self.shown = max(self.shown, converged)
        if now - self.spoken < _QUIET_SECONDS:
            return
        self.spoken = now
        pace = (now - self.started) / (products - self.first)
        text = f"{products:,} products of {pace:.2f} s, {converged:,} of {search.k:,} eigenpairs converged"
        left = search.products_left()
        self.progress.say(text if left is None else f"{text}; about {left * pace / 60:.0f} min to go")
