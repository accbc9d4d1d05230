"""The curvature of the mean loss at theta as an operator: how products are taken, and what proves them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw._torch import pytree
from gradlaw.curvature.operators.base import CurvatureOperator
from gradlaw.curvature.operators.checks import agrees, check_products, random_vectors
from gradlaw.curvature.operators.composites import Composites
from gradlaw.curvature.operators.mean_loss import MeanLoss, Theta
from gradlaw.curvature.operators.plain_loss import PlainLoss
from gradlaw.curvature.operators.products import GAUSS_NEWTON, Multiply, Product
from gradlaw.curvature.operators.reference import Reference, flat, mean_gradient
from gradlaw.curvature.operators.samples import Samples
from gradlaw.curvature.operators.split_trace import SplitTrace
from gradlaw.errors import InputError
from gradlaw.problem import Problem
from gradlaw.progress import Progress
from gradlaw.ranks import RankGroup

SOME_SAMPLES = 64  # whose product is compared with that of their halves


@dataclass(frozen=True)
class Plan:
    """How an operator works: by which ranks, with how many samples at once, in what memory, and whether it is small
    enough to keep the graph of the gradient.
    """

    ranks: RankGroup
    chunk: int
    memory: int
    small: bool


class LossCurvature(CurvatureOperator):
    """Made by :func:`~gradlaw.curvature.operators.hessian.hessian` and
    :func:`~gradlaw.curvature.operators.hessian.gauss_newton`.

    Of several ranks each has a share of the samples. What is decided is decided for all, from sums over ranks or from
    what the first of them found.

    Attributes:
        mode: ``"linearised"``, or ``"double backward"`` in the model's own tensors where that is not possible or right.
        chunks: the sample indices of each chunk of this rank.
        kept_bytes: memory that the stored linearisations take.
        recomputed: number of chunks that are linearised anew for each product.
    """

    def __init__(
        self, product: Product, problem: Problem, samples: Samples, dtype: torch.dtype, reference: Reference,
        plan: Plan, progress: Progress,
    ):  # fmt: skip
        self.name, self.dimensions, self.dtype, self.device = product.name, problem.dimensions, dtype, problem.device
        self._product_of, self._problem, self._samples = product, problem, samples
        self.ranks, self._own = plan.ranks, samples.share(plan.ranks)
        self._reference, self._memory, self._progress = reference, plan.memory, progress
        self._kept: dict[int, tuple[Tensor, ...]] = {}
        self._traces: dict[tuple[int, ...], SplitTrace] = {}
        self._graph: tuple[tuple[object, ...], Multiply] | None = None
        self._small, self.kept_bytes = plan.small, 0
        with reference.plain.in_place():
            if product is GAUSS_NEWTON:
                with self.ranks.together():
                    self._refuse_terms_beside_the_outputs()
            self._choose(plan.chunk)
        self._chunk_count = sum(self.ranks.gather(len(self.chunks)))
        check_products(self, reference.tolerance)

    @property
    def recomputed(self) -> int:
        return len(self.chunks) - len(self._kept)

    def describe(self) -> dict[str, Any]:
        return (
            super().describe()
            | {
                "problem": self._problem.describe(),
                "samples": int(self._samples.indices.size),
                "batch_size": self._samples.indices.shape[1] if self._samples.grouped else None,
                "seed": self._samples.seed,
                "samples_sha256": hashlib.sha256(self._samples.indices.tobytes()).hexdigest(),
                "mode": self.mode,
                "chunks": self._chunk_count,
            }
            | ({"ranks": self.ranks.size} if self.ranks.size > 1 else {})
        )

    def _product(self, block: Tensor) -> Tensor:
        rows = block.T.contiguous()
        zeros = torch.zeros(rows.shape, dtype=torch.float64, device=self.device)
        tangents = [self._tangent(row) for row in rows]
        return self.ranks.sum_of(lambda total: self._add_own(tangents, total), zeros).T.to(self.dtype)

    def _add_own(self, tangents: Sequence[Theta], total: Tensor) -> None:
        """Add the products over the samples of this rank, as parts of the mean over all, to the rows of total."""
        if self.mode == "double backward":
            with self._reference.plain.in_place():
                self._add_plain(self._reference.plain, self._pieces(), tangents, total, self._samples.indices.size)
            return
        for i, chunk in enumerate(self.chunks):
            multiply = self._linear_map(i)
            for row, tangent in zip(total, tangents, strict=True):
                row.add_(flat(multiply(tangent)), alpha=len(chunk) / len(self._samples.indices))

    def _linear_map(self, i: int) -> Callable[[Theta], Sequence[Tensor]]:
        """The product of one chunk with a tangent, by its linearisation."""
        trace = self._traces[self.chunks[i].shape]
        kept = self._kept[i] if i in self._kept else trace.keep(self._data(i))[0]
        return lambda tangent: trace.apply(kept, tangent)

    def _add_plain(
        self, plain: PlainLoss, pieces: Sequence[np.ndarray], tangents: Sequence[Theta], total: Tensor, size: int
    ) -> None:
        """Add products over pieces of a mean over ``size`` samples to the rows of total, by double backward inside
        ``plain.in_place``.
        """
        for piece in pieces:
            try:
                multiply = self._reverse(plain, piece)
                for row, tangent in zip(total, tangents, strict=True):
                    row.add_(flat(multiply(tangent)), alpha=len(piece) / size)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, NotImplementedError) as error:  # torch has no class for what cannot be derived twice
                reason = str(error).strip().splitlines()[0]
                raise InputError(
                    f"the {self.name} needs second derivatives, and plain double backward fails: {reason}"
                ) from error

    def _reverse(self, plain: PlainLoss, piece: np.ndarray) -> Multiply:
        """The product over one piece by double backward. A small operator keeps the graph while it is valid."""
        keeps = self._small and plain is self._reference.plain and any(piece is chunk for chunk in self.chunks)
        if keeps and self._graph is not None and self._graph[0] == plain.graph_state():
            return self._graph[1]
        with Composites():
            _, multiply = self._product_of.reverse(plain, *plain.fetch(piece))
        if keeps:
            self._graph = plain.graph_state(), multiply
        return multiply

    def _pieces(self) -> list[np.ndarray]:
        """What double backward takes at once: a chunk, or a single minibatch."""
        return [row for chunk in self.chunks for row in chunk] if self._samples.grouped else list(self.chunks)

    def _tangent(self, vector: Tensor) -> Theta:
        return tuple(vector[p.start : p.stop].view(p.shape) for p in self._problem.layout)

    def _choose(self, chunk: int) -> None:
        """The first way of multiplying that derives the gradient of plain autograd.

        Raises:
            InputError: none does.
        """
        chunks, alone = self._own.chunks(chunk), self.ranks.size == 1
        whole = [self._samples.indices] if self.ranks.is_first else []
        cuts = [chunks] if self._samples.grouped or (alone and len(chunks) == 1) else [chunks, whole]
        modes = ("double backward",) if self._small else ("linearised", "double backward")
        reasons: list[str] = []
        for self.chunks in cuts:
            if len(cuts) == 2 and self.chunks is chunks and not self.ranks.first(self._halves_add_up):
                continue
            if self.chunks is not chunks:
                self._refuse_more_than_fits()
                reasons = [
                    "the loss is not the mean over chunks of the samples (weights, ignored labels, or samples that see "
                    f"each other?): all {self._samples.indices.size:,} are taken at once"
                    + ("" if alone else ", by the first rank alone")
                ]
            for self.mode in modes:
                reason = self._linearise() if self.mode == "linearised" else self._derive_plainly()
                if reason is None:
                    self.notices += tuple(reasons)
                    return
                reasons.append(reason)
        raise self.ranks.common_error(
            f"two passes over the same samples gave different gradients ({reasons[-1]}): the loss is random at fixed "
            "parameters, or model or loss keep something from call to call. Turn that off"
        )

    def _linearise(self) -> str | None:
        """Trace, linearise and store the chunks; what is wrong with them, if anything is."""
        notices = self.notices
        gradient = torch.zeros(self.dimensions, dtype=torch.float64, device=self.device)
        scale = gradient.new_zeros(())
        reason = self._reason_of_any(lambda: self._trace_and_keep(gradient, scale))
        if reason is None:
            self.notices += self._recomputed_notices()
            reason = self._difference(gradient, scale)
            reason = reason and f"its gradient is not that of plain autograd, {reason}"
        if reason is None:
            reason = self._reason_of_any(self._check_last_chunk)
        if reason is None:
            return None
        self._kept, self._traces, self.kept_bytes, self.notices = {}, {}, 0, notices
        return f"products by double backward, which is slower: no linearisation of this model ({reason})"

    def _reason_of_any(self, work: Callable[[], str | None]) -> str | None:
        """Why the work of some rank fails, by what it returns or raises; None if that of none does."""
        with self.ranks.together():
            try:
                reason = work()
            except (torch.OutOfMemoryError, InputError):
                raise
            except Exception as error:  # tracing fails in many ways; plain autograd, which comes next, decides
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return next((other for other in self.ranks.gather(reason) if other is not None), None)

    def _trace_and_keep(self, gradient: Tensor, scale: Tensor) -> None:
        self._loss = MeanLoss(self._problem, self.dtype, grouped=self._samples.grouped)
        for chunk in (*self.chunks[:1], *self.chunks[-1:]):
            self._trace(chunk)
        self._keep(gradient, scale)

    def _check_last_chunk(self) -> str | None:
        if not self.chunks or self._agrees_on_last_chunk():
            return None
        return "a product is not that of double backward: a forward-mode derivative is wrong"

    def _derive_plainly(self) -> str | None:
        with self.ranks.together():
            plain, size = self._reference.plain, self._samples.indices.size
            gradient, scale = mean_gradient(plain, self._pieces(), size)
        return self._difference(gradient, gradient.new_tensor(scale))

    def _difference(self, gradient: Tensor, scale: Tensor) -> str | None:
        """How far the sum over ranks of their parts of the gradient is from that of plain autograd; None if it is met.

        Args:
            gradient: the part of this rank.
            scale: the sum of the norms of its pieces.
        """
        gradient, scale = self.ranks.sum(gradient), self.ranks.sum(scale)
        met = self._reference.met_by(gradient, float(scale))
        return self.ranks.first(lambda: None if met else self._distance(gradient))

    def _distance(self, gradient: Tensor) -> str:
        off = float((gradient - self._reference.gradient).norm())
        return f"||difference|| = {off:.3g}, ||gradient|| = {float(self._reference.gradient.norm()):.3g}"

    def _halves_add_up(self) -> bool:
        """Whether the product over some samples is the mean of those over their halves, by double backward.

        Gradients alone do not show a term that happens to be flat at theta.
        """
        size = len(self._samples.indices)
        some = self._samples.indices[np.linspace(0, size - 1, min(SOME_SAMPLES, size)).astype(np.int64)]
        vector = random_vectors(self, 1)[:, 0]
        whole, *halves = (self._plain_product([piece], vector) for piece in (some, *np.array_split(some, 2)))
        mean = self._plain_product(np.array_split(some, 2), vector)
        scale = max(float(product.norm()) for product in (whole, *halves))
        return float((whole - mean).norm()) <= self._reference.tolerance * scale

    def _plain_product(self, pieces: Sequence[np.ndarray], vector: Tensor, plain: PlainLoss | None = None) -> Tensor:
        total = torch.zeros(1, self.dimensions, dtype=torch.float64, device=self.device)
        size = sum(len(piece) for piece in pieces)
        self._add_plain(plain or self._reference.plain, pieces, [self._tangent(vector)], total, size)
        return total[0]

    def _refuse_more_than_fits(self) -> None:
        if self._reference.pieces > 1:
            raise self.ranks.common_error(
                f"the loss of {self._samples.indices.size:,} samples is not the mean over chunks of them (weights, "
                "ignored labels, or samples that see each other?), and all at once would take about "
                f"{self._reference.whole_bytes / 1e9:.1f} GB. Give fewer samples, or batch_size for the mean over "
                "fixed minibatches"
            )

    def _refuse_terms_beside_the_outputs(self) -> None:
        first = self._samples.indices[0] if self._samples.grouped else self._samples.indices[:SOME_SAMPLES]
        names = self._reference.plain.direct_names(first)
        if names:
            raise InputError(
                f"the loss depends on parameters other than through the model's outputs (a penalty?): "
                f"{', '.join(names)}. The generalised Gauss-Newton matrix knows the outputs alone; leave that term out "
                "and add its curvature, or take the Hessian"
            )

    def _trace(self, chunk: np.ndarray) -> None:
        if chunk.shape in self._traces:
            return
        data, tree = pytree.tree_flatten(self._loss.fetch(chunk))

        def function(*arguments: Tensor) -> Theta:
            inputs, targets = pytree.tree_unflatten(list(arguments[: len(data)]), tree)
            product, gradient = self._product_of.forward(self._loss, inputs, targets, arguments[len(data) :])
            return (*product, *gradient)

        zeros = [torch.zeros_like(t) for t in self._loss.theta]
        self._traces[chunk.shape] = SplitTrace(function, data, zeros, constant=len(zeros))

    def _data(self, i: int) -> list[Tensor]:
        return pytree.tree_leaves(self._loss.fetch(self.chunks[i]))

    def _keep(self, total: Tensor, scale: Tensor) -> None:
        """Linearise all chunks and store as many as the memory allows; add their part of the mean gradient to ``total``
        and the norms of its pieces to ``scale``.
        """
        self._largest = 0
        with self._progress.stage(f"linearise {self.name}", len(self.chunks)) as advance:
            for i, chunk in enumerate(self.chunks):
                trace = self._traces[chunk.shape]
                kept, gradient = trace.keep(self._data(i))
                share = flat(gradient).double() * (len(chunk) / len(self._samples.indices))
                total += share
                scale += share.norm()
                size = trace.kept_bytes(kept)
                self._largest = max(self._largest, size)
                if len(self._kept) == i and self.kept_bytes + size <= self._memory:
                    self._kept[i] = kept
                    self.kept_bytes += size
                advance(1)

    def _recomputed_notices(self) -> tuple[str, ...]:
        here = self.recomputed, len(self.chunks), self._largest
        for recomputed, chunks, largest in self.ranks.gather(here):
            if recomputed:
                return (
                    f"{recomputed} of {chunks} chunks are linearised anew for each product: all would take "
                    f"{chunks * largest / 1e9:.1f} GB and {self._memory / 1e9:.1f} GB are granted",
                )
        return ()

    def _agrees_on_last_chunk(self) -> bool:
        """Compare a product over a chunk (not the traced one, if there are two) with plain double backward."""
        vector, chunk = random_vectors(self, 1)[:, 0], self.chunks[-1]
        pieces = list(chunk) if self._samples.grouped else [chunk]
        fast = flat(self._linear_map(len(self.chunks) - 1)(self._tangent(vector))).double()
        plain = self._plain_product(pieces, vector)
        small = torch.finfo(self.dtype).eps * float(self._reference.gradient.norm())
        if float((fast - plain).norm()) <= self._reference.tolerance * (float(plain.norm()) + small):
            return True
        exact = PlainLoss(self._problem, torch.float64)  # how large is rounding here?
        try:
            with exact.in_place():
                return agrees(fast.to(self.dtype), plain, self._plain_product(pieces, vector.double(), exact))
        except InputError:  # constants of another type: not to be decided, so the plain way is taken
            return False
