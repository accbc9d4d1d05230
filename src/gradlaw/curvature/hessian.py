"""The Hessian and the generalised Gauss-Newton matrix of the mean loss at theta, as operators."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from gradlaw.curvature.checks import agrees, check_problem, check_products, random_vectors
from gradlaw.curvature.mean_loss import MeanLoss, Theta
from gradlaw.curvature.operator import CurvatureOperator
from gradlaw.curvature.products import GAUSS_NEWTON, HESSIAN, Product
from gradlaw.curvature.samples import Samples, choose_samples
from gradlaw.curvature.split_trace import SplitTrace
from gradlaw.errors import InputError
from gradlaw.history.placement import free_memory
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress

_CHUNK_SAMPLES = {"cpu": 256, "cuda": 4096}  # at once
_MEMORY_SHARE = 0.5  # of what is free, that the linearisations may take


def hessian(
    problem: Problem,
    samples: int | None = None,
    *,
    batch_size: int | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> "LossCurvature":
    """The Hessian of the mean loss at theta: H = (1/S) sum of the Hessians of S samples, by exact products.

    The gradient of each chunk of samples is linearised once; a product applies the stored linear maps and costs about
    a gradient. Chunks that do not fit the memory are linearised anew for each product (each block of vectors).

    Args:
        problem: model, loss and data; neither parameters nor buffers change, and theta is copied.
        samples: how many, from the start of the seeded first epoch. Default: all N.
        batch_size: for a loss that couples the samples of a minibatch (batch norm in training mode, a weighted mean):
            the Hessian is then that of the mean over fixed, seeded minibatches of this size.
        seed: of the samples and minibatches.
        dtype: float32 or float64, in which to compute. Default: that of the problem.
        memory: bytes that the stored linearisations may take. Default: half of what is free.
        progress: where to show it, and to announce what had to be decided.

    Raises:
        InputError: a random loss (dropout), one that couples samples without a ``batch_size``, values that are not
            finite, or a product that is not symmetric or disagrees with plain double backward.

    Example:
        >>> import torch, gradlaw as gl
        >>> model = torch.nn.Linear(2, 1, bias=False)
        >>> inputs, targets = torch.tensor([[1.0, 0.0], [1.0, 2.0]]), torch.zeros(2, 1)
        >>> H = hessian(gl.Problem(model, torch.nn.functional.mse_loss, (inputs, targets)))
        >>> H @ torch.tensor([1.0, 0.0])  # of (1/2) sum (x theta)^2: sum x x^T
        tensor([2., 2.])
    """
    progress = progress or SILENT
    return _build(HESSIAN, problem, samples, batch_size, seed, dtype, memory, progress)


def gauss_newton(
    problem: Problem,
    samples: int | None = None,
    *,
    batch_size: int | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
) -> "LossCurvature":
    """The generalised Gauss-Newton matrix G = (1/S) sum J^T H_out J (Schraudolph 2002); arguments as for the Hessian.

    J is the Jacobian of the model's outputs in theta and H_out the Hessian of the loss in the outputs. H - G is what
    the curvature of the model itself adds. For cross entropy of a softmax G is the Fisher information matrix.
    """
    progress = progress or SILENT
    return _build(GAUSS_NEWTON, problem, samples, batch_size, seed, dtype, memory, progress)


def _build(
    product: Product,
    problem: Problem,
    samples: int | None,
    batch_size: int | None,
    seed: int,
    dtype: torch.dtype | None,
    memory: int | None,
    progress: Progress,
) -> "LossCurvature":
    dtype = problem.dtype if dtype is None else dtype
    if dtype not in (torch.float32, torch.float64):
        raise InputError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
    chosen = choose_samples(problem, samples, batch_size, seed)
    notices = check_problem(problem, chosen)
    budget = int(_MEMORY_SHARE * free_memory(problem.device)) if memory is None else memory
    operator = LossCurvature(product, problem, chosen, dtype, budget, progress)
    operator.notices = (*notices, *chosen.notices, *operator.notices)
    for notice in operator.notices:
        progress.say(f"{product.name}: {notice}")
    return operator


class LossCurvature(CurvatureOperator):
    """Made by :func:`hessian` and :func:`gauss_newton`.

    Attributes:
        mode: ``"linearised"``, or ``"double backward"`` where an operation has no forward-mode derivative.
        chunks: the sample indices of each chunk.
        kept_bytes: memory that the stored linearisations take.
        recomputed: number of chunks that are linearised anew for each product.
    """

    def __init__(
        self, product: Product, problem: Problem, samples: Samples, dtype: torch.dtype, memory: int, progress: Progress
    ):
        self.name, self.dimensions, self.dtype, self.device = product.name, problem.dimensions, dtype, problem.device
        self._product_of, self._problem, self._samples = product, problem, samples
        self.chunks = samples.chunks(_CHUNK_SAMPLES.get(problem.device.type, _CHUNK_SAMPLES["cuda"]))
        self.kept_bytes = 0
        self._kept: dict[int, tuple[Tensor, ...]] = {}
        self._loss = MeanLoss(problem, dtype, grouped=samples.grouped)
        self._traces: dict[tuple[int, ...], SplitTrace] = {}
        try:
            for chunk in (self.chunks[0], self.chunks[-1]):
                self._trace(chunk)
            self.mode = "linearised"
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # what torch.func raises for what it cannot do
            reason = str(error).strip().splitlines()[0]
            self.notices = (f"products by double backward, which is slower: no linearisation of this model ({reason})",)
            self.mode = "double backward"
            self._loss = MeanLoss(problem, dtype, grouped=samples.grouped, plain=True)
        if self.mode == "linearised":
            self._keep(memory, progress)
            self._check_last_chunk()
        check_products(self)

    @property
    def recomputed(self) -> int:
        return len(self.chunks) - len(self._kept)

    def describe(self) -> dict[str, Any]:
        return super().describe() | {
            "problem": self._problem.describe(),
            "samples": int(self._samples.indices.size),
            "batch_size": self._samples.indices.shape[1] if self._samples.grouped else None,
            "seed": self._samples.seed,
            "samples_sha256": hashlib.sha256(self._samples.indices.tobytes()).hexdigest(),
            "mode": self.mode,
            "chunks": len(self.chunks),
        }

    def _product(self, block: Tensor) -> Tensor:
        rows = block.T.contiguous()
        tangents = [self._tangent(row) for row in rows]
        total = torch.zeros(rows.shape, dtype=torch.float64, device=self.device)
        for i, chunk in enumerate(self.chunks):
            multiply = self._multiply(i)
            weight = len(chunk) / len(self._samples.indices)
            for row, tangent in zip(total, tangents, strict=True):
                row.add_(_flat(multiply(tangent)), alpha=weight)
        return total.T.to(self.dtype)

    def _multiply(self, i: int) -> Callable[[Theta], Sequence[Tensor]]:
        """The product of one chunk with a tangent."""
        chunk = self.chunks[i]
        if self.mode == "double backward":
            return self._product_of.reverse(self._loss, *self._loss.fetch(chunk))
        trace = self._traces[chunk.shape]
        kept = self._kept[i] if i in self._kept else trace.keep(pytree.tree_leaves(self._loss.fetch(chunk)))
        return lambda tangent: trace.apply(kept, tangent)

    def _tangent(self, vector: Tensor) -> Theta:
        return tuple(vector[p.start : p.stop].view(p.shape) for p in self._problem.layout)

    def _trace(self, chunk: np.ndarray) -> None:
        if chunk.shape in self._traces:
            return
        data, tree = pytree.tree_flatten(self._loss.fetch(chunk))

        def function(*arguments: Tensor) -> Theta:
            inputs, targets = pytree.tree_unflatten(list(arguments[: len(data)]), tree)
            return self._product_of.forward(self._loss, inputs, targets, arguments[len(data) :])

        self._traces[chunk.shape] = SplitTrace(function, data, [torch.zeros_like(t) for t in self._loss.theta])

    def _keep(self, memory: int, progress: Progress) -> None:
        """Linearise and store as many chunks as the memory allows."""
        with progress.stage(f"linearise {self.name}", len(self.chunks)) as advance:
            for i, chunk in enumerate(self.chunks):
                trace = self._traces[chunk.shape]
                kept = trace.keep(pytree.tree_leaves(self._loss.fetch(chunk)))
                size = trace.kept_bytes(kept)
                if self.kept_bytes + size > memory:
                    break
                self._kept[i] = kept
                self.kept_bytes += size
                advance(1)
        if self.recomputed:
            needed = len(self.chunks) * size
            self.notices += (
                f"{self.recomputed} of {len(self.chunks)} chunks are linearised anew for each product: all would take "
                f"{needed / 1e9:.1f} GB and {memory / 1e9:.1f} GB are granted",
            )

    def _check_last_chunk(self) -> None:
        """Compare a product over a chunk (not the traced one, if there are two) with double backward in float64."""
        vector, chunk = random_vectors(self, 1)[:, 0], self.chunks[-1]

        def double_backward(dtype: torch.dtype) -> Tensor:
            loss = MeanLoss(self._problem, dtype, grouped=self._samples.grouped, plain=True)
            multiply = self._product_of.reverse(loss, *loss.fetch(chunk))
            return _flat(multiply(self._tangent(vector.to(dtype)))).double()

        fast = _flat(self._multiply(len(self.chunks) - 1)(self._tangent(vector)))
        exact, plain = double_backward(torch.float64), double_backward(self.dtype)
        if torch.isfinite(exact).all() and not agrees(fast, plain, exact):
            raise InputError(
                f"the linearised {self.name} disagrees with double backward over {chunk.size} samples: "
                f"||difference|| = {float((fast - exact).norm()):.3g}, ||product|| = {float(exact.norm()):.3g}; an "
                "operation of the model has a wrong forward-mode derivative, or its control flow depends on the data"
            )


def _flat(pieces: Sequence[Tensor]) -> Tensor:
    return torch.cat([piece.reshape(-1) for piece in pieces])
