"""The Hessian and the generalised Gauss-Newton matrix of the mean loss at theta, as operators."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw._torch import pytree
from gradlaw.argument_types import checked
from gradlaw.choices import RankChoice
from gradlaw.curvature.operators.base import CurvatureOperator
from gradlaw.curvature.operators.checks import agrees, check_problem, check_products, random_vectors
from gradlaw.curvature.operators.composites import Composites
from gradlaw.curvature.operators.mean_loss import MeanLoss, Theta
from gradlaw.curvature.operators.plain_loss import PlainLoss
from gradlaw.curvature.operators.products import GAUSS_NEWTON, HESSIAN, Multiply, Product
from gradlaw.curvature.operators.reference import Reference, flat, mean_gradient, measure_reference
from gradlaw.curvature.operators.samples import Samples, choose_samples
from gradlaw.curvature.operators.split_trace import SplitTrace
from gradlaw.errors import InputError, count
from gradlaw.history.engines.preflight import unused_notices
from gradlaw.history.same_problem import refuse_other_gradients, refuse_other_problems
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.ranks import RankGroup, those_asked
from gradlaw.resources import memory_budget

_CHUNK_SAMPLES = {"cpu": 256, "cuda": 4096}  # at once
_CHUNK_BYTES = 4e6  # of a forward pass, up to which a chunk on a CPU may have more samples: about what caches hold
# Up to so many bytes and n x samples, double backward over a graph that is kept takes less than the tracing of a
# linearisation (over a second in a process that has not traced yet) for some thousand products.
_SMALL_BYTES, _SMALL_PRODUCT = 2e6, 1e7
_HALVED_SAMPLES = 64  # whose product is compared with that of their halves


@checked
def hessian(
    problem: Problem,
    samples: int | None = None,
    *,
    batch_size: int | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    memory: int | None = None,
    chunk_samples: int | None = None,
    ranks: RankChoice = "all",
    progress: Progress | None = None,
) -> "LossCurvature":
    """The Hessian of the mean loss at theta: H = (1/S) sum of the Hessians of S samples, by exact products.

    Where the loss of all samples is not the mean over samples (class weights, ignored labels, a mean over tokens), H is
    the Hessian of ``loss(model(inputs), targets)`` of all S samples at once.

    The gradient of each chunk of samples is linearised once; a product applies the stored linear maps and costs about
    a gradient. Of small problems (a forward pass of all samples saves up to 2 MB, n x S up to 10^7) the graph of the
    gradient is kept and differentiated, without any tracing. Chunks that do not fit the memory are linearised anew for
    each product (each block of vectors). The gradient that the operator derives is compared with plain autograd over
    all samples, and a product with plain double backward. Where they differ (parameters that are reached by a closure,
    control flow that depends on the data, a loss that is no mean), products are taken by double backward in the model's
    own tensors, over all samples at once if need be, and a notice says so.

    Args:
        problem: model, loss and data; the model is left as it is, and theta is copied.
        samples: how many, from the start of the seeded first epoch. Default: all N.
        batch_size: for a loss that couples the samples of a minibatch (batch norm in training mode): the Hessian is
            then that of the mean over fixed, seeded minibatches of this size.
        seed: of the samples and minibatches.
        dtype: float32 or float64, in which to compute. Default: that of the problem.
        memory: bytes that the stored linearisations may take, on each rank. Default: half of what is free.
        chunk_samples: how many samples are worked on at once: memory against speed. Default: 256 on a CPU, or as many
            as save 4 MB in a forward pass, 4096 on a GPU. Products agree to rounding.
        ranks: where ``torch.distributed`` has been initialised with several processes, ``"all"`` of them make this call
            with the same problem, each differentiates a share of the samples, and products are their sums, which every
            rank has; they too are asked for by all ranks. ``"one"`` leaves it all to this process.
        progress: where to show it, and to announce what had to be decided.

    Raises:
        InputError: a random loss (dropout), batch norm in training mode without a ``batch_size``, a loss that is no
            mean over samples with more samples than fit the memory at once, an operation that cannot be differentiated
            twice, values that are not finite, or a product that is not symmetric; a problem or arguments that differ
            between ranks, or fewer dimensions than ranks.
        RankLost: another rank has died.

    Example:
        >>> import torch, gradlaw as gl
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> inputs, targets = torch.tensor([[1.0, 0.0], [1.0, 2.0]]), torch.zeros(2, 1)
        >>> H = hessian(gl.Problem(model, torch.nn.functional.mse_loss, (inputs, targets)))
        >>> H @ torch.tensor([1.0, 0.0])  # of (1/2) sum (x theta)^2: sum x x^T
        tensor([2., 2.])
    """
    progress = progress or SILENT
    return _build(HESSIAN, problem, samples, batch_size, seed, dtype, memory, chunk_samples, ranks, progress)


@checked
def gauss_newton(
    problem: Problem,
    samples: int | None = None,
    *,
    batch_size: int | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    memory: int | None = None,
    chunk_samples: int | None = None,
    ranks: RankChoice = "all",
    progress: Progress | None = None,
) -> "LossCurvature":
    """The generalised Gauss-Newton matrix G = (1/S) sum J^T H_out J (Schraudolph 2002); arguments as for the Hessian.

    J is the Jacobian of the model's outputs in theta and H_out the Hessian of the loss in the outputs. H - G is what
    the curvature of the model itself adds. For cross entropy of a softmax G is the Fisher information matrix. A loss
    that depends on parameters other than through the outputs (a penalty) is refused: G says nothing of that term.

    Args:
        problem: model, loss and data; the model is left as it is, and theta is copied.
        samples: how many, from the start of the seeded first epoch. Default: all N.
        batch_size: of fixed, seeded minibatches, for a loss that couples their samples.
        seed: of the samples and minibatches.
        dtype: float32 or float64, in which to compute. Default: that of the problem.
        memory: bytes that the stored linearisations may take, on each rank. Default: half of what is free.
        chunk_samples: how many samples are worked on at once: memory against speed.
        ranks: see :func:`hessian`.
        progress: where to show it, and to announce what had to be decided.

    Raises:
        InputError: as :func:`hessian`, or a loss that depends on parameters other than through the outputs.
    """
    progress = progress or SILENT
    problem.refuse_batches("the Gauss-Newton matrix")
    return _build(GAUSS_NEWTON, problem, samples, batch_size, seed, dtype, memory, chunk_samples, ranks, progress)


def _build(
    product: Product,
    problem: Problem,
    samples: int | None,
    batch_size: int | None,
    seed: int,
    dtype: torch.dtype | None,
    memory: int | None,
    chunk_samples: int | None,
    ranks: RankChoice,
    progress: Progress,
) -> "LossCurvature":
    asked, dtype = dtype is not None, problem.dtype if dtype is None else dtype
    if dtype not in (torch.float32, torch.float64):
        raise InputError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
    chosen = choose_samples(problem, samples, batch_size, seed)
    group = those_asked(ranks)
    with group.alive():
        if group.size > 1:
            same = {"dtype": str(dtype), "memory": memory, "chunk_samples": chunk_samples, "matrix": product.name}
            _refuse_differences(group, problem, chosen, same)
        with group.together():
            findings = check_problem(problem, chosen)
        if group.size > 1:
            refuse_other_gradients(group, findings.gradient)
        granted = int(group.least_part(str(problem.device), memory_budget(problem.device, None)))
        with group.together():
            usual = _CHUNK_SAMPLES.get(problem.device.type, _CHUNK_SAMPLES["cuda"])
            chunk = usual if chunk_samples is None else count(chunk_samples, "chunk_samples")
            reference = measure_reference(problem, chosen, dtype, asked, granted, findings.rounding, chunk)
        small = False
        if chunk_samples is None:
            if problem.device.type == "cpu":
                chunk = max(chunk, int(_CHUNK_BYTES // max(reference.sample_bytes, 1)))
            small = _is_small(group, problem, chosen, reference, chunk, granted)
        plan = _Plan(group, chunk, granted if memory is None else memory, small)
        operator = LossCurvature(product, problem, chosen, dtype, reference, plan, progress)
    parts = [part for part in problem.layout if part.name in findings.unused]
    unused = [part.name for part in parts if not reference.gradient[part.start : part.stop].any()]
    operator.notices = (
        *unused_notices(unused),
        *findings.notices,
        *chosen.notices,
        *reference.notices,
        *operator.notices,
    )
    for notice in operator.notices:
        progress.say(f"{product.name}: {notice}")
    return operator


def _refuse_differences(ranks: RankGroup, problem: Problem, samples: Samples, same: dict[str, Any]) -> None:
    """Refuse what is not the same on every rank, and more ranks than dimensions."""
    if problem.dimensions < ranks.size:
        raise ranks.common_error(
            f"{ranks.size} ranks share out {problem.dimensions} dimensions, and each needs at least one; take fewer"
        )
    chosen = {"seed": samples.seed, "samples": hashlib.sha256(samples.indices.tobytes()).hexdigest()}
    some = samples.indices[0] if samples.grouped else samples.indices[:_HALVED_SAMPLES]
    refuse_other_problems(ranks, problem, {**same, **chosen}, some)


def _is_small(
    ranks: RankGroup, problem: Problem, samples: Samples, reference: Reference, chunk: int, granted: int
) -> bool:
    """Whether each rank keeps the graph of the gradient of its samples, which are few, and differentiates it."""
    most = max(map(len, ranks.shares(len(samples.indices))))
    fits = reference.sample_bytes * most <= min(_SMALL_BYTES, granted / 4)
    small = not samples.grouped and most <= chunk and problem.dimensions * most <= _SMALL_PRODUCT and fits
    return ranks.first(lambda: small)


@dataclass(frozen=True)
class _Plan:
    """How an operator works: by which ranks, with how many samples at once, in what memory, and whether it is small
    enough to keep the graph of the gradient.
    """

    ranks: RankGroup
    chunk: int
    memory: int
    small: bool


class LossCurvature(CurvatureOperator):
    """Made by :func:`hessian` and :func:`gauss_newton`.

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
        plan: _Plan, progress: Progress,
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
        some = self._samples.indices[np.linspace(0, size - 1, min(_HALVED_SAMPLES, size)).astype(np.int64)]
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
        first = self._samples.indices[0] if self._samples.grouped else self._samples.indices[:_HALVED_SAMPLES]
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
