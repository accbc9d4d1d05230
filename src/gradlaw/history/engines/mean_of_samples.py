"""Proof that the loss of a minibatch is the mean of the losses of its samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlaw._torch import pytree
from gradlaw.errors import InputError
from gradlaw.history.engines.loop import scalar_loss
from gradlaw.problem import Problem

_MOST_BYTES = 2**30  # of outputs, their gradients and targets that are kept
_MOST_SAMPLES = 16  # of a minibatch that is looked at before any work
_RELATIVE_EPS = 1e3  # of a loss, and of its gradient in the outputs: 1e-4 in float32


class MeanOfSamples:
    """Holds what the model made of each sample, and asks the loss itself what it makes of each minibatch of those.

    Given the outputs, a minibatch's loss and its gradient in the outputs cost next to nothing. If for a minibatch both
    are the means over its samples (the loss of a sample alone, the gradient of that in its output), so is the gradient
    in the parameters, whatever the loss does with weights, masks and pairs in other minibatches.

    Args:
        problem: whose loss.
        samples: sorted indices of the samples, in the order in which :meth:`keep` gets them.
    """

    def __init__(self, problem: Problem, samples: np.ndarray):
        self._problem, self._samples, self._state = problem, samples, problem.state()
        self._filled = 0
        self._outputs: list[Tensor] = []
        self._gradients: list[Tensor] = []
        self._targets: list[Tensor] = []
        self._losses: list[Tensor] = []
        self._tree: Any = None

    def keep(self, outputs: Any, gradients: list[Tensor | None], targets: Any) -> None:
        """Take the outputs of some samples, leaves (C, 1 or more, ...), their gradients, and targets (C, 1, ...).

        Raises:
            InputError: all samples' take too much memory.
        """
        leaves, tree = pytree.tree_flatten(outputs)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        given = [torch.zeros_like(o) if g is None else g for o, g in zip(tensors, gradients, strict=True)]
        target_leaves, self._target_tree = pytree.tree_flatten(targets)
        count = len(target_leaves[0])
        if not self._filled:
            self._allocate([*tensors, *given, *target_leaves], count)
            self._tree, self._others = tree, [leaf if not isinstance(leaf, Tensor) else None for leaf in leaves]
            self._is_tensor = [isinstance(leaf, Tensor) for leaf in leaves]
            self._outputs, self._gradients, self._targets = (
                [torch.empty(len(self._samples), *a.shape[1:], dtype=a.dtype, device=a.device) for a in group]
                for group in (tensors, given, target_leaves)
            )
        where = slice(self._filled, self._filled + count)
        for group, source in ((self._outputs, tensors), (self._gradients, given), (self._targets, target_leaves)):
            for kept, new in zip(group, source, strict=True):
                kept[where] = new.detach()
        self._filled += count

    def keep_losses(self, losses: Tensor) -> None:
        """The losses (C,) of the same samples."""
        self._losses.append(losses.detach().clone())

    def check(self, first: int, batches: Sequence[np.ndarray], counts: np.ndarray) -> None:
        """See that loss and output gradients of each minibatch are means over its samples.

        Args:
            first: iteration of the first of the minibatches.
            batches: their indices, (B,) each.
            counts: (C, N), how often each holds each sample; those that hold the same are looked at once.

        Raises:
            InputError: they are not; names the first iteration.
        """
        losses = torch.cat(self._losses).double()
        seen: set[bytes] = set()
        for t, (batch, count) in enumerate(zip(batches, counts, strict=True), start=first):
            key = count.tobytes()
            if key in seen:
                continue
            seen.add(key)
            where = torch.from_numpy(np.searchsorted(self._samples, batch)).to(losses.device)
            self._check_minibatch(t, where, losses[where])

    def _check_minibatch(self, t: int, where: Tensor, losses: Tensor) -> None:
        problem, size = self._problem, len(where)
        with problem.undisturbed(self._state), torch.enable_grad():
            outputs = [o[where].flatten(0, 1).requires_grad_(o.is_floating_point()) for o in self._outputs]
            targets = [target[where].flatten(0, 1) for target in self._targets]
            loss = scalar_loss(problem.loss(self._rebuilt(outputs), pytree.tree_unflatten(targets, self._target_tree)))
            live = [o for o in outputs if o.requires_grad]
            found = torch.autograd.grad(loss, live, allow_unused=True)
            loss = loss.detach()
        tolerance = _RELATIVE_EPS * torch.finfo(problem.dtype).eps
        off = abs(float(loss) - float(losses.mean()))
        if not off <= tolerance * float(losses.abs().mean().clamp_min(float(loss.abs()))):
            self._refuse(t, f"its loss is {float(loss):.6g}, and the mean of its samples' {float(losses.mean()):.6g}")
        for o, g, kept in zip(live, found, (g for g in self._gradients if g.is_floating_point()), strict=True):
            mean = kept[where].flatten(0, 1).double() / size
            of_loss = torch.zeros_like(o) if g is None else g
            if not float((of_loss.double() - mean).norm()) <= tolerance * float(mean.norm()):
                self._refuse(t, "its gradient in the model's outputs is not the mean of its samples'")

    def _rebuilt(self, outputs: list[Tensor]) -> Any:
        tensors = iter(outputs)
        kinds = zip(self._is_tensor, self._others, strict=True)
        leaves = [next(tensors) if is_tensor else other for is_tensor, other in kinds]
        return pytree.tree_unflatten(leaves, self._tree)

    def _allocate(self, leaves: list[Tensor], count: int) -> None:
        needed = sum(leaf.nbytes for leaf in leaves) // count * len(self._samples)
        if needed > _MOST_BYTES:
            raise InputError(
                f"the outputs of {len(self._samples):,} samples take {needed / 1e9:.1f} GB, more than is kept to see "
                "whether the loss is the mean over samples"
            )

    @staticmethod
    def _refuse(t: int, how: str) -> None:
        raise InputError(
            f"the loss of iteration {t} is not the mean over its samples ({how}): weights, masks, or samples that see "
            "one another"
        )


def refuse_other_means(problem: Problem, batch: np.ndarray) -> None:
    """See from a forward pass alone that the loss of the first minibatch is the mean over its samples.

    Before work that relies on it, which ends with :meth:`MeanOfSamples.check` of every minibatch; here one of up to 16
    samples whose outputs have a row each.

    Raises:
        InputError: it is not.
    """
    samples = np.unique(batch)
    if len(samples) > _MOST_SAMPLES:
        return
    proof = MeanOfSamples(problem, samples)
    inputs, targets = problem.fetch(samples)
    with problem.undisturbed(problem.state()), torch.no_grad():
        leaves, tree = pytree.tree_flatten(problem.output({}, inputs))
    if not all(leaf.shape[:1] == (len(samples),) for leaf in leaves if isinstance(leaf, Tensor)):
        return
    for sample in range(len(samples)):
        row = slice(sample, sample + 1)
        of_sample = [leaf[row].detach() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        tensors = [leaf for leaf in of_sample if isinstance(leaf, Tensor)]
        live = [leaf.requires_grad_() for leaf in tensors if leaf.is_floating_point()]
        target = pytree.tree_map(lambda a, row=row: a[row], targets)
        with problem.undisturbed(problem.state()), torch.enable_grad():
            loss = scalar_loss(problem.loss(pytree.tree_unflatten(of_sample, tree), target))
            found = dict(zip(map(id, live), torch.autograd.grad(loss, live, allow_unused=True), strict=True))
        gradients = [None if (g := found.get(id(leaf))) is None else g[None] for leaf in tensors]
        apart = [leaf.detach()[None] if isinstance(leaf, Tensor) else leaf for leaf in of_sample]
        proof.keep(pytree.tree_unflatten(apart, tree), gradients, pytree.tree_map(lambda a: a[None], target))
        proof.keep_losses(loss.detach()[None])
    proof.check(0, [batch], np.bincount(batch)[None])
