"""Controls: what the statistics of a spectrum say when there is nothing to find, and how they move with T."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gradlaw import random_streams
from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.spectra.access import gradients_of, own_columns, rounding_of
from gradlaw.spectra.gradient import spectra_of_gram, spectrum_of_gram
from gradlaw.spectra.gram.dense import column_blocks, gram_matrix, gram_of_blocks
from gradlaw.spectra.spectrum import Spectrum

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = 4096  # the unit in which draws are seeded: part of what a seed means


def isotropic_noise(shape: tuple[int, int], seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Independent standard Gaussian noise in place of a history of ``shape`` (T, n).

    Its covariance is the identity; the spectrum of what T iterations show of it is that of Marchenko and Pastur.

    Args:
        shape: (T, n).
        seed: of the noise.
        dtype: of the result.

    Raises:
        InputError: a shape without two positive sizes.
    """
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"shape must be (T, n), both positive, got {tuple(shape)}")
    noise = torch.empty(*shape, dtype=dtype)
    for start in range(0, shape[1], _COLUMNS):
        block = noise[:, start : start + _COLUMNS]
        block.copy_(_gaussian(random_streams.ISOTROPIC, seed, start, block))
    return noise


def permuted_within_dimensions(history: Any, seed: int = 0) -> Tensor:
    """The history with each dimension permuted over the iterations on its own.

    Every value, and so every mean and variance, stays in its dimension; correlations between dimensions go.

    Args:
        history: a GradientHistory, in memory or on disk, or a (T, n) array or tensor of gradients.
        seed: of the permutations.

    Returns:
        A tensor (T, n) in memory, of the type (but no less than float32) and on the device of the gradients.

    Raises:
        InputError: fewer than two iterations, or a value that is not finite.
    """
    return _controlled(history, "permuted", seed)


def diagonal_noise(history: Any, seed: int = 0) -> Tensor:
    """Independent Gaussian noise of mean zero with the measured variance in each dimension.

    The covariance's diagonal (divided by T, as DESIGN section 5 has it) with nothing beside it. Arguments, result and
    errors as for :func:`permuted_within_dimensions`.

    Args:
        history: a GradientHistory, or a (T, n) array or tensor of gradients.
        seed: of the noise.

    Raises:
        InputError: as :func:`permuted_within_dimensions`.
    """
    return _controlled(history, "diagonal", seed)


def control_spectrum(history: Any, control: str, seed: int = 0) -> Spectrum:
    """The covariance spectrum of a control of the same shape and variance as a history, which is never stored.

    The history is read once; memory beside it is the T x T Gram matrix and blocks of 4096 dimensions. Draws are seeded
    by those blocks, so that a control is the same whatever the chunks on disk or the memory at hand.

    Args:
        history: a GradientHistory, in memory or on disk, or a (T, n) array or tensor of gradients.
        control: ``"isotropic"`` Gaussian noise of the mean measured variance, ``"permuted"``
            (:func:`permuted_within_dimensions`) or ``"diagonal"`` (:func:`diagonal_noise`).
        seed: of the control; the same noise as those functions give.

    Raises:
        InputError: an unknown control, fewer than two iterations, or a value that is not finite.
    """
    if control not in CONTROLS:
        raise InputError(f"control must be one of {', '.join(CONTROLS)}, got {control!r}")
    own = own_columns(history)
    power = torch.zeros((), dtype=torch.float64)

    def blocks() -> Iterator[tuple[int, Tensor]]:
        for start, block in _seeded_blocks(own.gradients, own.columns):
            power.add_(float(_variances(block).sum()))
            yield start, _filled(control, block, seed, start, own.dimensions)

    gram = own.ranks.sum(gram_of_blocks(blocks(), len(own.gradients), own.gradients.device))
    own.ranks.sum(power)
    if control == "isotropic":
        gram *= float(power) / own.dimensions
    return own.ranks.first(lambda: spectrum_of_gram(gram, own.dimensions, True, rounding_of(history)))


@dataclass(frozen=True, eq=False)
class SpectraOverIterations(ByValue):
    """Spectra of nested subsamples of the iterations of one history.

    Attributes:
        sizes: how many iterations each has, ascending.
        spectra: one for each size.
        k: how many eigenvalues to fit s to, lowered to the rank where that is smaller.
    """

    sizes: tuple[int, ...]
    spectra: tuple[Spectrum, ...]
    k: int

    def to_frame(self, eigenvalues: int = 10) -> "pd.DataFrame":
        """One row a size, indexed by ``iterations``: ``k`` used, ``s``, ``d_ks``, ``trace``, ``lambda_1``, ...

        ``eigenvalues`` says how many to show; a size with fewer has zeros, which is what they are.

        Raises:
            InputError: a spectrum of rank below 2.
        """
        import pandas as pd  # loaded for those who ask for a table

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
        history: a GradientHistory, in memory or on disk, or a (T, n) array or tensor of gradients.
        sizes: numbers of iterations, from 2 to T.
        center: take the mean over the subsample off first.
        k: how many eigenvalues to fit s to. An s is comparable between sizes well above k.
        seed: of the draw.
        gram: G G^T of the uncentred gradients as :func:`~gradlaw.spectra.gram.dense.gram_matrix` makes it, if at hand.

    Raises:
        InputError: fewer than two iterations, a value that is not finite, no size, or one that does not fit.
    """
    own = own_columns(history)
    iterations, dimensions = len(own.gradients), own.dimensions
    ascending = sorted(set(sizes))
    if not ascending or not 2 <= ascending[0] <= ascending[-1] <= iterations:
        raise InputError(f"sizes must lie between 2 and the {iterations} iterations of the history, got {list(sizes)}")
    gram = own.ranks.sum(gram_matrix(own.gradients)) if gram is None else gram
    order = np.random.default_rng([random_streams.SUBSAMPLE, seed]).permutation(iterations)
    spectra = []
    for size in ascending:
        chosen = torch.from_numpy(np.sort(order[:size])).to(gram.device)
        # the way of the whole analysis: another library's solver would first take half a second to set itself up
        second_moment, covariance = spectra_of_gram(gram[chosen][:, chosen], dimensions, rounding_of(history))
        spectra.append(covariance if center else second_moment)
    return SpectraOverIterations(tuple(ascending), tuple(spectra), k)


def _seeded_blocks(gradients: Any, columns: range | None = None) -> Iterator[tuple[int, Tensor]]:
    """Blocks of gradients of all columns, or of those named, that end where the draws of a seed do."""
    first, stop = (0, gradients.shape[1]) if columns is None else (columns.start, columns.stop)
    edges = [first, *range(first - first % _COLUMNS + _COLUMNS, stop, _COLUMNS), stop]
    return ((first + start, block) for start, block in column_blocks(gradients, [edge - first for edge in edges]))


def _filled(control: str, block: Tensor, seed: int, start: int, dimensions: int) -> Tensor:
    """What a control puts in place of the columns ``start`` onwards; draws are made for all columns of a block."""
    first = start - start % _COLUMNS
    width = min(_COLUMNS, dimensions - first)
    if block.shape[1] == width:
        return _FILL[control](block, seed, first)
    whole, here = block.new_zeros(len(block), width), slice(start - first, start - first + block.shape[1])
    whole[:, here] = block
    return _FILL[control](whole, seed, first)[:, here]


def _controlled(history: Any, control: str, seed: int) -> Tensor:
    gradients = gradients_of(history)
    dtype = torch.promote_types(gradients.dtype, torch.float32)
    result = torch.empty(tuple(gradients.shape), dtype=dtype, device=gradients.device)
    for start, block in _seeded_blocks(gradients):
        result[:, start : start + block.shape[1]] = _FILL[control](block, seed, start)
    return result


def _permuted(block: Tensor, seed: int, first: int) -> Tensor:
    wide = block.to(torch.promote_types(block.dtype, torch.float32))  # NumPy has no bfloat16
    series = np.array(wide.T.cpu().numpy(), order="C", copy=True)
    np.random.default_rng([random_streams.PERMUTED, seed, first]).permuted(series, axis=1, out=series)
    return torch.from_numpy(series).T.to(block.device)


def _diagonal(block: Tensor, seed: int, first: int) -> Tensor:
    return _gaussian(random_streams.DIAGONAL, seed, first, block) * _variances(block).sqrt()


def _gaussian(stream: int, seed: int, first: int, block: Tensor) -> Tensor:
    """Standard Gaussian noise in place of a block, float64 whatever its type: the same numbers for every type."""
    noise = np.random.default_rng([stream, seed, first]).standard_normal(tuple(block.shape))
    return torch.from_numpy(noise).to(block.device)


def _variances(block: Tensor) -> Tensor:
    return block.double().var(dim=0, correction=0)


_FILL = {
    "isotropic": lambda block, seed, first: _gaussian(random_streams.ISOTROPIC, seed, first, block),
    "permuted": _permuted,
    "diagonal": _diagonal,
}
CONTROLS = tuple(_FILL)
