"""What an operator has to agree with: plain autograd over the same samples, in the user's own tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from gradlaw import random_streams
from gradlaw.curvature.operators.plain_loss import PlainLoss, own_types
from gradlaw.curvature.operators.samples import Samples
from gradlaw.errors import InputError
from gradlaw.problem import Problem

_RELATIVE_EPS = 1e3  # summation in another order moves a gradient by some eps; 1e-4 in float32
_ROUNDING = 30.0  # the same in units of the rounding error that was measured, where that is larger
_MOST_TOLERANCE = 0.02
_BACKWARD_SHARE = 2.0  # of what the forward pass saves, that a gradient takes in all
_REPEATED_SAMPLES = 64


@dataclass(frozen=True)
class Reference:
    """The gradient of the loss of all samples, and how closely it has to be met.

    Attributes:
        plain: the loss that it was taken of.
        gradient: shape (n,), float64.
        tolerance: relative to the norm.
        pieces: in how many pieces the samples were taken; 1 is all at once.
        whole_bytes: about the memory that all of them take at once; 0 where that was not asked.
        sample_bytes: about what the forward pass of one of them saves; inf where that is not known.
        notices: what a reader of results has to know.
    """

    plain: PlainLoss
    gradient: Tensor
    tolerance: float
    pieces: int
    whole_bytes: float
    sample_bytes: float
    notices: tuple[str, ...] = ()

    def met_by(self, gradient: Tensor, scale: float) -> bool:
        """Whether a gradient, a sum of pieces whose norms add up to ``scale``, is the same."""
        return float((gradient - self.gradient).norm()) <= self.tolerance * max(scale, float(self.gradient.norm()))


def measure_reference(
    problem: Problem, samples: Samples, dtype: torch.dtype, asked: bool, memory: int, rounding: float, chunk: int
) -> Reference:
    """The gradient over all samples at once, or over a few random pieces if they do not fit the memory.

    Pieces of their own, other than an operator's chunks: that both give one gradient shows that the loss is the mean
    over samples, however these are cut.

    Args:
        problem: whose loss.
        samples: over which.
        dtype: to compute in.
        asked: whether the user asked for that type.
        memory: bytes that a gradient may take.
        rounding: ||error|| / ||g|| as measured in the model's own types.
        chunk: samples that always fit.

    Raises:
        InputError: two passes differ, model or loss cannot be put into the type that was asked for, or the gradient is
            not finite.
    """
    plain, notices = _in_type(problem, samples, dtype, asked)
    with plain.in_place():
        some = _part(samples, _REPEATED_SAMPLES)
        _check_repeatable(plain, some, dtype)
        saved_bytes, types = _saved(plain, some)
        coarsest = max(torch.finfo(t).eps for t in {dtype} | types)
        tolerance = max(_RELATIVE_EPS * coarsest, _ROUNDING * rounding if plain.dtype is None else 0.0)
        pieces, needed = list(samples.indices) if samples.grouped else [samples.indices], 0.0
        if not samples.grouped and len(samples.indices) > chunk:
            needed = _saved(plain, samples.indices[:chunk])[0] / chunk * len(samples.indices) * _BACKWARD_SHARE
            if needed > memory:
                order = np.random.default_rng([random_streams.PRODUCT_CHECK, samples.seed]).permutation(samples.indices)
                most = -(-len(order) // chunk)
                pieces = np.array_split(order, max(2, min(most, int(min(needed / max(memory, 1), most)) + 1)))
        gradient, _ = mean_gradient(plain, pieces)
    if not torch.isfinite(gradient).all():
        raise InputError(
            f"the gradient over the {samples.indices.size:,} samples is not finite: has the model diverged, or do the "
            "data hold NaN or huge values?"
        )
    count = 1 if samples.grouped else len(pieces)
    each = saved_bytes / len(some)
    return Reference(plain, gradient, min(tolerance, _MOST_TOLERANCE), count, needed, each, notices)


def mean_gradient(plain: PlainLoss, pieces: Sequence[np.ndarray], size: int | None = None) -> tuple[Tensor, float]:
    """The mean of the gradients of pieces, weighted by their sizes, in float64, and the same of their norms.

    Args:
        plain: the loss.
        pieces: of samples.
        size: samples that the mean is over, of which these may be some. Default: all of these.
    """
    first = plain.parameters[0]
    total = torch.zeros(plain.problem.dimensions, dtype=torch.float64, device=first.device)
    scale, size = 0.0, sum(len(piece) for piece in pieces) if size is None else size
    for piece in pieces:
        gradient = flat(plain.gradient(piece)).double() * (len(piece) / size)
        total += gradient
        scale += float(gradient.norm())
    return total, scale


def flat(parts: Sequence[Tensor]) -> Tensor:
    """One vector (n,) out of one tensor a parameter."""
    common = max((p.dtype for p in parts), key=lambda t: torch.finfo(t).bits)
    dense = (p if p.layout == torch.strided else p.to_dense() for p in parts)
    return torch.cat([p.detach().reshape(-1).to(common) for p in dense])


def _in_type(problem: Problem, samples: Samples, dtype: torch.dtype, asked: bool) -> tuple[PlainLoss, tuple[str, ...]]:
    """The loss with model and data in a type, or as they are where they cannot be put into it."""
    own = PlainLoss(problem, None)
    if own_types(problem) == {dtype}:
        return own, ()
    cast = PlainLoss(problem, dtype)
    try:
        with cast.in_place():
            cast.gradient(_part(samples, _REPEATED_SAMPLES))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # constants of another type: torch has no class of its own for that
        reason = str(error).strip().splitlines()[0]
        name = str(dtype).removeprefix("torch.")
        if asked and not any(t == dtype for t in own_types(problem)):
            raise InputError(
                f"model and loss cannot be put into {name} ({reason}): constants of another type are written down in "
                "them. Leave dtype out, or make them of the type of the parameters"
            ) from error
        return own, (f"computed in the types of the model, which cannot be put into {name} as a whole ({reason})",)
    return cast, ()


def _part(samples: Samples, count: int) -> np.ndarray:
    """The first minibatch, or some samples from all over the data."""
    if samples.grouped:
        return samples.indices[0]
    size = len(samples.indices)
    return samples.indices[np.linspace(0, size - 1, min(count, size)).astype(np.int64)]


def _check_repeatable(plain: PlainLoss, indices: np.ndarray, dtype: torch.dtype) -> None:
    first, second = flat(plain.gradient(indices)).double(), flat(plain.gradient(indices)).double()
    off = float((first - second).norm())
    # Where a device sums in any order, bits may differ.
    if off > _RELATIVE_EPS * torch.finfo(dtype).eps * float(first.norm()):
        raise InputError(
            f"the loss is random at fixed parameters: two passes over the same {len(indices)} samples gave gradients "
            f"that differ by {off / float(first.norm()):.2g} of their norm, so that it has no Hessian. Something is "
            "drawn at random, or kept from call to call; turn it off"
        )


def _saved(plain: PlainLoss, indices: np.ndarray) -> tuple[float, set[torch.dtype]]:
    """The memory of what a forward pass saves for the backward pass, parameters apart, and its floating-point types."""
    saved: dict[int, int] = {}
    types: set[torch.dtype] = set()
    theta = {t.untyped_storage().data_ptr() for t in plain.parameters}

    def note(tensor: Tensor) -> Tensor:
        if tensor.layout == torch.strided:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        if tensor.is_floating_point():
            types.add(tensor.dtype)
        return tensor

    try:
        with saved_tensors_hooks(note, lambda tensor: tensor):
            loss = plain(*plain.fetch(indices))
    except RuntimeError:  # transforms of torch.func in the model allow no such hooks; the pass itself has been made
        return float("inf"), set()
    del loss
    return float(sum(size for place, size in saved.items() if place not in theta)), types
