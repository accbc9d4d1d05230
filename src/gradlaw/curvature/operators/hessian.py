"""The Hessian and the generalised Gauss-Newton matrix of the mean loss at theta: asked for, checked and planned."""

import hashlib
from typing import Any

import torch

from gradlaw.argument_types import checked
from gradlaw.choices import RankChoice
from gradlaw.curvature.operators.checks import check_problem
from gradlaw.curvature.operators.loss_curvature import SOME_SAMPLES, LossCurvature, Plan
from gradlaw.curvature.operators.products import GAUSS_NEWTON, HESSIAN, Product
from gradlaw.curvature.operators.reference import Reference, measure_reference
from gradlaw.curvature.operators.samples import Samples, choose_samples
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
) -> LossCurvature:
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
) -> LossCurvature:
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
) -> LossCurvature:
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
        plan = Plan(group, chunk, granted if memory is None else memory, small)
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
    some = samples.indices[0] if samples.grouped else samples.indices[:SOME_SAMPLES]
    refuse_other_problems(ranks, problem, {**same, **chosen}, some)


def _is_small(
    ranks: RankGroup, problem: Problem, samples: Samples, reference: Reference, chunk: int, granted: int
) -> bool:
    """Whether each rank keeps the graph of the gradient of its samples, which are few, and differentiates it."""
    most = max(map(len, ranks.shares(len(samples.indices))))
    fits = reference.sample_bytes * most <= min(_SMALL_BYTES, granted / 4)
    small = not samples.grouped and most <= chunk and problem.dimensions * most <= _SMALL_PRODUCT and fits
    return ranks.first(lambda: small)
