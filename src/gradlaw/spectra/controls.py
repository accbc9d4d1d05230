"""Controls: what the statistics of a spectrum say when there is nothing to find, and how they move with T."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gradlaw import streams
from gradlaw.errors import InputError
from gradlaw.spectra.gradient import Spectrum, rounding_of, spectrum_of_gram, tensor_of
from gradlaw.spectra.gram import gram_matrix

CONTROLS = ("isotropic", "permuted", "diagonal")
_COLUMNS = 4096  # the unit in which draws are seeded: part of what a seed means


def isotropic_noise(shape: tuple[int, int], seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Independent standard Gaussian noise in place of a history of ``shape`` (T, n).

    Its covariance is the identity; the spectrum of what T iterations show of it is that of Marchenko and Pastur.

    Raises:
        InputError: a shape without two positive sizes.
    """
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"shape must be (T, n), both positive, got {tuple(shape)}")
    noise = torch.empty(*shape, dtype=dtype)
    for start in range(0, shape[1], _COLUMNS):
        block = noise[:, start : start + _COLUMNS]
        block.copy_(_gaussian(streams.ISOTROPIC, seed, start, block))
    return noise


def permuted_within_dimensions(history: Any, seed: int = 0) -> Tensor:
    """The history with each dimension permuted over the iterations on its own.

    Every value, and so every mean and variance, stays in its dimension; correlations between dimensions go.

    Args:
        history: a GradientHistory, or a (T, n) array or tensor of gradients.
        seed: of the permutations.

    Returns:
        A tensor (T, n) of the type and on the device of the gradients.

    Raises:
        InputError: fewer than two iterations, or a value that is not finite.
    """
    return _controlled(tensor_of(history), _permuted, seed)


def diagonal_noise(history: Any, seed: int = 0) -> Tensor:
    """Independent Gaussian noise of mean zero with the measured variance in each dimension.

    The covariance's diagonal (divided by T, as DESIGN section 5 has it) with nothing beside it. Arguments, result and
    errors as for :func:`permuted_within_dimensions`.
    """
    return _controlled(tensor_of(history), _diagonal, seed)


def control_spectrum(history: Any, control: str, seed: int = 0) -> Spectrum:
    """The covariance spectrum of a control of the same shape and variance as a history, which is never stored.

    Memory beside the history is the T x T Gram matrix and blocks of 4096 dimensions.

    Args:
        history: a GradientHistory, or a (T, n) array or tensor of gradients.
        control: ``"isotropic"`` Gaussian noise of the mean measured variance, ``"permuted"``
            (:func:`permuted_within_dimensions`) or ``"diagonal"`` (:func:`diagonal_noise`).
        seed: of the control; the same noise as those functions give.

    Raises:
        InputError: an unknown control, fewer than two iterations, or a value that is not finite.
    """
    gradients = tensor_of(history)
    fill = _control(control, gradients)
    iterations, dimensions = gradients.shape
    gram = torch.zeros(iterations, iterations, dtype=torch.float64, device=gradients.device)
    for start in range(0, dimensions, _COLUMNS):
        gram += gram_matrix(fill(gradients[:, start : start + _COLUMNS], seed, start))
    return spectrum_of_gram(gram, dimensions, True, rounding_of(history))


@dataclass(frozen=True)
class SpectraOverIterations:
    """Spectra of nested subsamples of the iterations of one history.

    Attributes:
        sizes: how many iterations each has, ascending.
        spectra: one for each size.
        k: how many eigenvalues to fit s to, lowered to the rank where that is smaller.
    """

    sizes: tuple[int, ...]
    spectra: tuple[Spectrum, ...]
    k: int

    def to_frame(self, eigenvalues: int = 10) -> pd.DataFrame:
        """One row a size, indexed by ``iterations``: ``k`` used, ``s``, ``d_ks``, ``trace``, ``lambda_1``, ...

        ``eigenvalues`` says how many to show; a size with fewer has zeros, which is what they are.

        Raises:
            InputError: a spectrum of rank below 2.
        """
        rows = [self._row(spectrum, eigenvalues) for spectrum in self.spectra]
        return pd.DataFrame(rows, index=pd.Index(self.sizes, name="iterations"))

    def _row(self, spectrum: Spectrum, eigenvalues: int) -> dict[str, float]:
        k = min(self.k, spectrum.rank)
        if k < 2:
            raise InputError(
                f"the {spectrum.matrix} spectrum of {spectrum.iterations} iterations has numerical rank "
                f"{spectrum.rank}; a power law needs at least 2 eigenvalues"
            )
        fit = spectrum.power_law(k)
        shown = np.zeros(eigenvalues)
        shown[: len(spectrum.eigenvalues)] = spectrum.eigenvalues[:eigenvalues]
        named = {f"lambda_{rank}": float(value) for rank, value in enumerate(shown, start=1)}
        return {"k": k, "s": fit.s, "d_ks": fit.d_ks, "trace": spectrum.trace, **named}


def spectrum_over_iterations(
    history: Any,
    sizes: Sequence[int],
    center: bool = True,
    k: int = 1000,
    seed: int = 0,
    *,
    gram: Tensor | None = None,
) -> SpectraOverIterations:
    """How eigenvalues and s move with T, by subsampling the iterations of one Gram matrix.

    The iterations of each size, drawn without replacement, are among those of every larger one.

    Args:
        history: a GradientHistory, or a (T, n) array or tensor of gradients.
        sizes: numbers of iterations, from 2 to T.
        center: take the mean over the subsample off first.
        k: how many eigenvalues to fit s to. An s is comparable between sizes well above k.
        seed: of the draw.
        gram: G G^T of the uncentred gradients as :func:`~gradlaw.spectra.gram.gram_matrix` makes it, if at hand.

    Raises:
        InputError: fewer than two iterations, a value that is not finite, no size, or one that does not fit.
    """
    gradients = tensor_of(history)
    iterations, dimensions = gradients.shape
    ascending = sorted(set(sizes))
    if not ascending or not 2 <= ascending[0] <= ascending[-1] <= iterations:
        raise InputError(f"sizes must lie between 2 and the {iterations} iterations of the history, got {list(sizes)}")
    gram = gram_matrix(gradients) if gram is None else gram
    order = np.random.default_rng([streams.SUBSAMPLE, seed]).permutation(iterations)
    spectra = []
    for size in ascending:
        chosen = torch.from_numpy(np.sort(order[:size])).to(gram.device)
        spectra.append(spectrum_of_gram(gram[chosen][:, chosen], dimensions, center, rounding_of(history)))
    return SpectraOverIterations(tuple(ascending), tuple(spectra), k)


_Fill = Callable[[Tensor, int, int], Tensor]


def _control(name: str, gradients: Tensor) -> _Fill:
    """What makes the control of a block of dimensions."""
    if name not in CONTROLS:
        raise InputError(f"control must be one of {', '.join(CONTROLS)}, got {name!r}")
    if name == "isotropic":
        deviation = _mean_variance(gradients) ** 0.5
        return lambda block, seed, first: deviation * _gaussian(streams.ISOTROPIC, seed, first, block)
    return _permuted if name == "permuted" else _diagonal


def _controlled(gradients: Tensor, fill: _Fill, seed: int) -> Tensor:
    result = torch.empty_like(gradients)
    for start in range(0, gradients.shape[1], _COLUMNS):
        block = slice(start, start + _COLUMNS)
        result[:, block] = fill(gradients[:, block], seed, start)
    return result


def _permuted(block: Tensor, seed: int, first: int) -> Tensor:
    wide = block.to(torch.promote_types(block.dtype, torch.float32))  # NumPy has no bfloat16
    series = np.array(wide.T.cpu().numpy(), order="C", copy=True)
    np.random.default_rng([streams.PERMUTED, seed, first]).permuted(series, axis=1, out=series)
    return torch.from_numpy(series).T.to(block.device)


def _diagonal(block: Tensor, seed: int, first: int) -> Tensor:
    return _gaussian(streams.DIAGONAL, seed, first, block) * _variances(block).sqrt()


def _gaussian(stream: int, seed: int, first: int, block: Tensor) -> Tensor:
    """Standard Gaussian noise in place of a block, float64 whatever its type: the same numbers for every type."""
    noise = np.random.default_rng([stream, seed, first]).standard_normal(tuple(block.shape))
    return torch.from_numpy(noise).to(block.device)


def _variances(block: Tensor) -> Tensor:
    return block.double().var(dim=0, correction=0)


def _mean_variance(gradients: Tensor) -> float:
    return sum(float(_variances(block).sum()) for block in gradients.split(_COLUMNS, dim=1)) / gradients.shape[1]
