"""Spectral densities of the blocks of a curvature matrix, a layer each, for models whose spectrum is out of reach."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from gradlaw.argument_types import checked
from gradlaw.curvature.eigensolver.density import SpectralDensity, spectral_density
from gradlaw.curvature.operators.base import CurvatureOperator
from gradlaw.curvature.operators.hessian import gauss_newton, hessian
from gradlaw.curvature.operators.outer_products import gradient_covariance
from gradlaw.errors import InputError, choice, count
from gradlaw.history import GradientHistory, collect
from gradlaw.patterns import chosen
from gradlaw.problem import ParameterSlice, Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.spectra.gram.dense import column_blocks

BlockOperator = Literal["covariance", "gauss-newton", "hessian"]
_NAMES_LISTED = 12


@checked
def block_densities(
    problem: Problem,
    operator: BlockOperator = "hessian",
    blocks: str | Mapping[str, str | Sequence[str]] = "layers",
    *,
    samples: int | None = None,
    batch_size: int | None = None,
    iterations: int = 1000,
    dtype: torch.dtype | None = None,
    probes: int = 10,
    steps: int = 60,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, SpectralDensity]:
    """The spectral density of each diagonal block of a matrix, by :func:`spectral_density`, with standard errors.

    Lanczos on the whole of a large network spends its steps on the few layers with the largest eigenvalues. The blocks
    show each layer at its own scale. They leave out what ties the layers together: their spectra together are not that
    of the whole matrix; their traces add up to its trace. The products are those of the block alone, which cost less
    than those of the whole.

    Args:
        problem: model, loss and data at fixed parameters.
        operator: ``"hessian"`` or ``"gauss-newton"`` of the mean loss, or ``"covariance"`` of minibatch gradients.
        blocks: ``"layers"``, a block for each module that holds parameters itself; ``"tensors"``, for each parameter;
            or the names of parameters, or shell-style patterns of them, by the name of the block. A parameter may be in
            several blocks, or in none.
        samples: of the Hessian and of Gauss-Newton: over how many samples. Default: all N.
        batch_size: of the gradients whose covariance it is, 1 by default; of Hessian and Gauss-Newton, of fixed
            minibatches, for a loss that couples samples (see :func:`~gradlaw.hessian`).
        iterations: T, of the covariance: how many gradients it is the covariance of. They are collected once, in memory
            if they take up to half of what is free, else on disk; the columns of a block are read into memory.
        dtype: of the products of Hessian and Gauss-Newton. Default: that of the problem.
        probes: random vectors for each block; standard errors fall as their square root.
        steps: products for each probe; dimensions of the block at the most.
        seed: of samples, minibatches and probes.
        progress: where to show it.

    Returns:
        Densities by the name of the block, in the order of the parameters.

    Raises:
        InputError: an unknown operator or way to cut, a pattern that means no parameter, or whatever ``hessian``,
            ``gauss_newton`` and ``collect`` refuse.

    Example:
        >>> import torch, gradlaw as gl
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
        >>> problem = gl.Problem(model, torch.nn.functional.mse_loss, (torch.randn(20, 3), torch.randn(20, 1)))
        >>> found = block_densities(problem, "gauss-newton", probes=3)
        >>> {name: density.dimensions for name, density in found.items()}
        {'0': 8, '1': 3}
    """
    progress = progress or SILENT
    choice(operator, "operator", get_args(BlockOperator))
    cut = parameter_blocks(problem, blocks)
    history = None
    if operator == "covariance":
        size = 1 if batch_size is None else batch_size
        history = collect(problem, count(iterations, "iterations", 2), size, seed, progress=progress)
    build = gauss_newton if operator == "gauss-newton" else hessian
    found = {}
    for name, names in cut.items():
        progress.say(f"block {name}")
        matrix: CurvatureOperator
        if history is not None:
            matrix = gradient_covariance(_columns(history, [part for part in history.layout if part.name in names]))
        else:
            part = problem.part(names)
            matrix = build(part, samples, batch_size=batch_size, seed=seed, dtype=dtype, progress=progress)
        found[name] = spectral_density(matrix, probes=probes, steps=steps, seed=seed, progress=progress)
    return found


def parameter_blocks(problem: Problem, blocks: str | Mapping[str, str | Sequence[str]]) -> dict[str, list[str]]:
    """The names of the parameters of each block; see :func:`block_densities`."""
    names = [part.name for part in problem.layout]
    if not isinstance(blocks, str):
        if not blocks:
            raise InputError('blocks is empty: give "layers", "tensors", or patterns of parameters by block')
        none = "no parameter matches"
        return {block: chosen(patterns, names, none, _NAMES_LISTED) for block, patterns in blocks.items()}
    if choice(blocks, "blocks", ("layers", "tensors")) == "tensors":
        return {name: [name] for name in names}
    cut: dict[str, list[str]] = {}
    for name in names:
        cut.setdefault(name.rpartition(".")[0] or name, []).append(name)
    return cut


def _columns(history: GradientHistory, parts: list[ParameterSlice]) -> Tensor:
    """The gradients of some parameters, (T, n_b): a view where they lie side by side in memory."""
    first, last = parts[0].start, parts[-1].stop
    if isinstance(history.gradients, Tensor) and sum(part.stop - part.start for part in parts) == last - first:
        return history.gradients[:, first:last]
    pieces = [next(iter(column_blocks(history.gradients, [part.start, part.stop])))[1] for part in parts]
    return torch.cat(pieces, dim=1)
