"""SGD, Dom-SGD and Bulk-SGD from one step on the same minibatches; shares, progress and rotation along SGD."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import gradlaw as gl
from gradlaw.curvature import CurvatureOperator, Eigenpairs, hessian
from gradlaw.dynamics import Subspace, operator_distance, subspace_progress, subspace_rotation
from gradlaw.minibatches import Minibatches
from gradlaw.spectra import davis_kahan, gradient_eigenvectors
from gradlaw.spectra.eigenvectors import Eigenvectors
from studies.consequences.design import (
    BULK,
    COVARIANCE_MINIBATCHES,
    DOMINANT,
    HESSIAN,
    LAST,
    REFRESH,
    SGD,
    SUBSPACE_BATCH,
    SUBSPACE_RATE,
    SUBSPACE_SAMPLES,
    SUBSPACES,
    SWITCH,
    K,
    squared_error,
    subspace_model,
)

Row = dict[str, Any]
_TOL = 1e-4


class Training:
    """A model that is trained by SGD step by step; copies go their own ways."""

    def __init__(self, data: Any, seed: int):
        chosen = torch.randperm(len(data.inputs), generator=torch.Generator().manual_seed(seed))[:SUBSPACE_SAMPLES]
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            model = subspace_model()
        self.problem = gl.Problem(model, squared_error, (data.inputs[chosen].flatten(1), data.targets[chosen]))
        self.minibatches = Minibatches(SUBSPACE_SAMPLES, SUBSPACE_BATCH, LAST + 1, seed)
        self.step = 0

    def copy(self) -> "Training":
        """The same state, to be trained further by itself."""
        made = copy.copy(self)
        model, problem = copy.deepcopy(self.problem.model), self.problem
        made.problem = gl.Problem(model, problem.loss, problem.data)
        return made

    def run(self, steps: int, subspace: Subspace | None = None, keep: Any = "dominant") -> None:
        """So many steps of SGD, projected if there is a subspace."""
        parameters = self.problem.parameters()
        for _ in range(steps):
            self._backward()
            if subspace is not None:
                subspace.project_gradients(parameters, keep)
            with torch.no_grad():
                for parameter in parameters:
                    parameter.sub_(_gradient(parameter), alpha=SUBSPACE_RATE)
            self.step += 1

    def next_update(self) -> Tensor:
        """-eta times the gradient of the next minibatch."""
        self._backward()
        return -SUBSPACE_RATE * self._flat()

    def gradient(self) -> Tensor:
        """Of the mean loss of all samples."""
        self.problem.model.zero_grad()
        squared_error(self.problem.model(self.problem.data[0]), self.problem.data[1]).backward()
        return self._flat()

    @torch.no_grad()
    def loss(self) -> float:
        """Of all samples."""
        return float(squared_error(self.problem.model(self.problem.data[0]), self.problem.data[1]))

    def _backward(self) -> None:
        self.problem.model.zero_grad()
        inputs, targets = self.problem.fetch(self.minibatches[self.step])
        squared_error(self.problem.model(inputs), targets).backward()

    def _flat(self) -> Tensor:
        return torch.cat([_gradient(p).flatten() for p in self.problem.parameters()])


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None  # every parameter has one after a backward pass
    return parameter.grad


class Leading:
    """The leading eigenpairs at a point of a training, and what it takes to compare them with those of another."""

    def __init__(self, training: Training, kind: str, seed: int):
        self.kind, self.step = kind, training.step
        self.pairs: Eigenpairs | Eigenvectors
        if kind == HESSIAN:
            # A copy: the operator differentiates in the model's own tensors.
            self.operator: CurvatureOperator = hessian(training.copy().problem)
            self.pairs = gl.eigenpairs(self.operator, K + 1, tol=_TOL, measure=0, seed=seed)
        else:
            history = gl.collect(training.problem, COVARIANCE_MINIBATCHES, SUBSPACE_BATCH, seed=seed)
            self.gradients = np.asarray(history.gradients)
            self.pairs = gradient_eigenvectors(history, K + 1)
        self.subspace = Subspace(self.pairs, K)

    def rotation(self, later: "Leading") -> Row:
        """From here to a later point."""
        if self.kind == HESSIAN:
            distance = operator_distance(self.operator, later.operator, tol=1e-2)
        else:
            distance = davis_kahan(self.gradients, later.gradients, k=K).perturbation
        turned = subspace_rotation(self.pairs, later.pairs, K, distance)
        return {"step": self.step, "span": later.step - self.step, "sine": turned.sine, "overlap": turned.overlap,
                "gap": turned.gap, "perturbation": turned.perturbation, "bound": turned.bound}  # fmt: skip


def measure_subspaces(data: Any, seed: int) -> tuple[list[Row], list[Row], list[Row]]:
    """Rows of losses, shares and rotation of one seed.

    Args:
        data: MNIST, as ``gl.load_data`` gives it.
        seed: of samples, weights, minibatches and solvers.
    """
    training = Training(data, seed)
    training.run(SWITCH)
    start = training.copy()
    losses: list[Row] = []
    shares: list[Row] = []
    rotations: list[Row] = []
    for kind in SUBSPACES:
        along = _along_sgd(start.copy(), kind, seed, shares)
        rotations += [{"seed": seed, "subspace": kind} | row for row in _rotations(along)]
        for way, keep in ((DOMINANT, "dominant"), (BULK, "bulk")):
            losses += _projected(start.copy(), kind, way, keep, seed)
    losses += _plain(start.copy(), seed)
    return losses, shares, rotations


def _along_sgd(training: Training, kind: str, seed: int, shares: list[Row]) -> Iterator[Leading]:
    """The leading eigenpairs every so many steps, with a row of shares and of progress each."""
    while True:
        leading = Leading(training, kind, seed)
        update = training.next_update()
        progress = subspace_progress(training.problem, leading.subspace, update)
        alignment = np.sqrt(leading.subspace.shares(training.gradient()[None])[0])
        shares.append({"seed": seed, "subspace": kind, "step": training.step, "loss": progress.loss,
                       "alignment": float(alignment), "minibatch_alignment": float(np.sqrt(progress.share)),
                       "whole": progress.whole, "within": progress.within, "outside": progress.outside})  # fmt: skip
        yield leading
        if training.step >= LAST:
            return
        training.run(min(REFRESH, LAST - training.step))


def _rotations(along: Iterator[Leading]) -> Iterator[Row]:
    """From each point to the next, and from the first to the last."""
    first = before = last = next(along)
    for last in along:
        yield before.rotation(last)
        before = last
    yield first.rotation(last)


def _projected(training: Training, kind: str, way: str, keep: str, seed: int) -> list[Row]:
    rows = [_row(training, kind, way, seed)]
    while training.step < LAST:
        training.run(min(REFRESH, LAST - training.step), Leading(training, kind, seed).subspace, keep)
        rows.append(_row(training, kind, way, seed))
    return rows


def _plain(training: Training, seed: int) -> list[Row]:
    rows = [_row(training, "", SGD, seed)]
    while training.step < LAST:
        training.run(REFRESH)
        rows.append(_row(training, "", SGD, seed))
    return rows


def _row(training: Training, kind: str, way: str, seed: int) -> Row:
    return {"seed": seed, "subspace": kind, "way": way, "step": training.step, "loss": training.loss()}
