"""Means of outer products of gradients as operators: gradient covariance, empirical and Monte-Carlo Fisher."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw import random_streams
from gradlaw._torch import pytree
from gradlaw.curvature.operators.base import CurvatureOperator
from gradlaw.curvature.operators.samples import choose_samples
from gradlaw.errors import InputError
from gradlaw.history import GradientHistory, collect
from gradlaw.history.engines.plain_cross_entropy import is_plain_cross_entropy
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.spectra.access import gradients_of
from gradlaw.spectra.matrices import MATRICES
from gradlaw.stats.series import series_blocks


class OuterProducts(CurvatureOperator):
    """(1/T) sum g g^T over the rows g of a (T, n) matrix, or of g - gbar with their mean gbar (``centred``).

    The rows are streamed, from memory or from disk, once for each block of vectors.
    """

    def __init__(self, name: str, gradients: Any, centred: bool, record: dict[str, Any], notices: tuple[str, ...] = ()):
        self.name, self.dimensions, self.device = name, gradients.shape[1], gradients.device
        self.gradients, self.centred, self.record, self.notices = gradients, centred, record, notices
        self.dtype = torch.promote_types(gradients.dtype, torch.float32)
        self._mean = self._mean_gradient() if centred else None

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"centred": self.centred, "rows": self.gradients.shape[0]} | self.record

    def _product(self, block: Tensor) -> Tensor:
        count = self.gradients.shape[0]
        total = torch.zeros(block.shape, dtype=torch.float64, device=self.device)
        if self._mean is None:
            for _, rows in series_blocks(self.gradients, "dimension"):
                total += rows.T @ (rows @ block)
            return (total / count).to(self.dtype)
        # The mean is taken off the coefficients: a difference of the two large products would cancel.
        shift, left = self._mean @ block, torch.zeros(block.shape[1], dtype=torch.float64, device=self.device)
        for _, rows in series_blocks(self.gradients, "dimension"):
            coefficients = rows @ block - shift
            total += rows.T @ coefficients
            left += coefficients.sum(dim=0)  # zero but for rounding
        return ((total - self._mean[:, None] * left) / count).to(self.dtype)

    def _mean_gradient(self) -> Tensor:
        total = sum(rows.sum(dim=0, dtype=torch.float64) for _, rows in series_blocks(self.gradients, "dimension"))
        return (total / self.gradients.shape[0]).to(self.dtype)


def gradient_covariance(history: Any, center: bool = True) -> OuterProducts:
    """The gradient covariance C = (1/T) sum (g - gbar)(g - gbar)^T, or the second moment with ``center=False``.

    Args:
        history: a GradientHistory, or a (T, n) array or tensor of gradients.
        center: take the mean over the iterations off first.

    Raises:
        InputError: fewer than two iterations, or a value that is not finite.

    Example:
        >>> import torch
        >>> C = gradient_covariance(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        >>> C @ torch.tensor([3.0, 5.0])
        tensor([3., 0.])
    """
    record = {"history": history.settings.as_dict()} if isinstance(history, GradientHistory) else {}
    notices = tuple(history.notices) if isinstance(history, GradientHistory) else ()
    return OuterProducts(f"gradient {MATRICES[center]}", gradients_of(history), center, record, notices)


def empirical_fisher(
    problem: Problem,
    samples: int | None = None,
    *,
    centred: bool = False,
    seed: int = 0,
    store: str | Path | None = None,
    progress: Progress | None = None,
) -> OuterProducts:
    """The empirical Fisher matrix F = (1/S) sum g_i g_i^T of the gradients of single samples with their own labels.

    Args:
        problem: model, loss and data.
        samples: S, at least 2, from the start of the seeded first epoch. Default: all N.
        centred: take the mean gradient off first; F is then the covariance at B = 1.
        seed: of the samples.
        store: where the S gradients go, as in :func:`~gradlaw.history.collect`: by default into memory if they take up
            to half of what is free, else onto disk.
        progress: where to show their collection.

    Raises:
        InputError: whatever ``collect`` refuses at batch size 1, batch norm in training mode among it.
    """
    progress = progress or SILENT
    problem.refuse_batches("the Fisher matrix of samples")
    chosen = choose_samples(problem, samples, None, seed)
    history = collect(problem, len(chosen.indices), 1, seed, store=store, progress=progress)
    name = "centred empirical Fisher" if centred else "empirical Fisher"
    return OuterProducts(name, history.gradients, centred, _record(problem, history), tuple(history.notices))


def monte_carlo_fisher(
    problem: Problem,
    samples: int | None = None,
    *,
    draws: int = 1,
    seed: int = 0,
    store: str | Path | None = None,
    progress: Progress | None = None,
) -> OuterProducts:
    """An estimate of the Fisher matrix: (1/(S d)) sum g g^T with labels drawn from the model's own distribution.

    Unbiased for the Fisher matrix, which for a softmax and cross entropy is the generalised Gauss-Newton matrix.

    Args:
        problem: its loss is ``cross_entropy`` and its model returns logits (B, classes).
        samples: S; S draws must be at least 2. Default: all N.
        draws: labels drawn for each sample.
        seed: of the samples and labels.
        store: where the gradients go; see :func:`empirical_fisher`.
        progress: where to show their collection.

    Raises:
        InputError: a loss or an output that gives no distribution of labels, or whatever ``collect`` refuses.
    """
    progress = progress or SILENT
    problem.refuse_batches("the Fisher matrix of samples")
    if draws < 1:
        raise InputError(f"draws must be at least 1, got {draws}")
    if not is_plain_cross_entropy(problem.loss):
        raise InputError(
            "the Monte-Carlo Fisher draws labels from the softmax of the logits, which is the model's distribution for "
            "plain cross entropy alone (no weights, no label smoothing, mean reduction); use the empirical Fisher or "
            "the generalised Gauss-Newton matrix for this loss"
        )
    indices = choose_samples(problem, samples, None, seed).indices
    inputs, _ = problem.fetch(indices)
    labels = _drawn_labels(problem, indices, draws, seed)
    inputs = pytree.tree_map(lambda a: a.repeat(draws, *[1] * (a.ndim - 1)), inputs)
    names = [part.name for part in problem.layout]
    drawn = Problem(problem.model, problem.loss, (inputs, labels), names, problem.device, name=problem.name)
    history = collect(drawn, len(labels), 1, seed, store=store, progress=progress)
    record = _record(problem, history) | {"draws": draws}
    return OuterProducts("Monte-Carlo Fisher", history.gradients, False, record, tuple(history.notices))


def _record(problem: Problem, history: GradientHistory) -> dict[str, Any]:
    return {"problem": problem.describe(), "history": history.settings.as_dict()}


def _drawn_labels(problem: Problem, indices: np.ndarray, draws: int, seed: int) -> Tensor:
    """Labels (draws S,), all samples once before any comes again."""
    rng = np.random.default_rng([random_streams.FISHER_LABELS, seed])
    labels = []
    for chunk in np.array_split(indices, -(-len(indices) // 512)):
        with torch.no_grad():
            logits = problem.output(problem.buffers(), problem.fetch(chunk)[0])
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(f"the Monte-Carlo Fisher needs logits of shape (B, classes), the model returns {got}")
        edges = logits.double().softmax(dim=1).cumsum(dim=1).cpu().numpy()
        uniform = rng.random((draws, len(chunk), 1)) * edges[:, -1:]
        labels.append((uniform >= edges).sum(axis=2))
    return torch.from_numpy(np.concatenate(labels, axis=1).ravel()).to(problem.device)
