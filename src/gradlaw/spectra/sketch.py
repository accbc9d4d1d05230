"""A seeded sketch of gradients: m numbers each, of which the spectrum of a window of them is estimated with its error.

The gradient is cut into rows of 32 numbers; every number gets a random sign, every row a random bucket and a sign, and
rows of one bucket are added: a CountSketch (Charikar, Chen, Farach-Colton 2002) that hashes rows in place of single
numbers, so that one pass at the speed of memory is enough. Inner products are unbiased, with relative standard error
sqrt(2/m) for squared norms. Signs and buckets are kept for one chunk of the gradient, and every other takes them from
another place of their cycle, drawn at random: what is alike in two chunks, as the rows of a matrix of low rank, meets
with signs that are not. So nothing of n numbers is stored.

A sketch is two independent halves. Of T gradients, K1 and K2 of the halves and their mean K' estimate the Gram matrix
K, and (K1 - K2)/2 has the distribution of the error K' - K. Seen from where K' is the identity,

    e = || K'^(-1/2) (K1 - K2)/2 K'^(-1/2) ||

so that K (1 - e) <= K' <= K (1 + e) and by Weyl's inequality in its multiplicative form (Ostrowski 1959) every
eigenvalue at once, however small, is known to the relative error e, about 2 sqrt(T/m). As e is itself one draw of the
error's norm, it is widened by 1 + 2 T^(-2/3), the scale on which such norms scatter; how often that covers was
measured (docs/sketch.md).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gradlaw import random_streams
from gradlaw.by_value import ByValue
from gradlaw.errors import InputError, count
from gradlaw.errors import seed as checked_seed
from gradlaw.spectra.gradient import spectrum_of_gram
from gradlaw.spectra.gram.dense import centre
from gradlaw.spectra.spectrum import Spectrum

WIDTH = 32  # numbers that are hashed together
_CHUNK = 2**16  # numbers whose signs are kept
_ROUNDING = 1e-6  # relative, of sketches in single precision
_LARGEST_SHARE = 8  # sketches are at least so many times longer than windows


class GradientSketch:
    """Makes sketches of gradients that come as tensors, for T of them to be compared.

    Cost: about 1 ms a million numbers on a core. Memory: half a megabyte for the signs.

    Args:
        sizes: how many numbers each tensor has.
        size: m, numbers of a sketch, a power of two from 128; eight times the longest window or more.
        seed: of signs and buckets. Sketches of other seeds, sizes or blocks cannot be compared.
        blocks: independent sketches of m / blocks numbers each that it is made of, a power of two: each number of a
            gradient is in one place of every block, which makes it the sparse Johnson-Lindenstrauss matrix of Kane and
            Nelson (2014). Two tell the error; more tell also how far a statistic is off (:mod:`.sketched_error`), and
            take as many times the time.

    Raises:
        InputError: no tensors, or an m or a number of blocks that is not such a power of two.

    Example:
        >>> gradients = torch.randn(20, 100_000)
        >>> sketch = GradientSketch([100_000], size=4096)
        >>> sketches = torch.stack([sketch.of([gradient]) for gradient in gradients])
        >>> found = sketched_spectrum(sketches, 100_000)
        >>> bool(np.all(np.abs(found.spectrum.eigenvalues[:19] / 5000 - 1) < found.relative_error))
        True
    """

    def __init__(self, sizes: Sequence[int], size: int = 8192, seed: int = 0, blocks: int = 2):
        self.size, self.seed = count(size, "size", minimum=128), checked_seed(seed)
        self.blocks = count(blocks, "blocks", minimum=2)
        if self.size & (self.size - 1):
            raise InputError(f"size must be a power of two, got {size}")
        if self.blocks & (self.blocks - 1) or 2 * WIDTH * self.blocks > 2 * self.size:
            raise InputError(
                f"blocks must be a power of two, at most {self.size // WIDTH} of size {size}; got {blocks}"
            )
        if sum(sizes) < 1:
            raise InputError("there is nothing to sketch: sizes has no tensor with a number")
        self.sizes = list(sizes)
        self.dimensions = sum(self.sizes)
        self._chunk = max(_CHUNK, self.size)
        stream = np.random.default_rng([random_streams.SKETCH, self.seed])
        signs = torch.from_numpy(stream.integers(0, 2, size=self._chunk, dtype=np.int8)).float() * 2 - 1
        orders = torch.from_numpy(np.stack([stream.permutation(self._chunk // WIDTH) for _ in range(self.blocks)]))
        self._signs, self._orders = signs.repeat(2), orders.repeat(1, 2)  # two cycles: every place begins a whole one
        places = (-(-self.dimensions // self._chunk), self.blocks)
        self._sign_places = stream.integers(self._chunk, size=places).tolist()
        self._order_places = stream.integers(self._chunk // WIDTH, size=places).tolist()

    def of(self, gradient: Sequence[Tensor | None]) -> Tensor:
        """The sketch of one gradient, shape (m,), float32 on its device; None stands for zeros.

        Raises:
            InputError: tensors of other sizes.
        """
        found = [size if tensor is None else tensor.numel() for tensor, size in zip(gradient, self.sizes, strict=False)]
        if len(gradient) != len(self.sizes) or found != self.sizes:
            raise InputError(f"the gradient is to have tensors of {self.sizes} numbers, got {found}")
        device = next((tensor.device for tensor in gradient if tensor is not None), torch.device("cpu"))
        self._signs, self._orders = self._signs.to(device), self._orders.to(device)
        rows = 2 * self.size // self.blocks // WIDTH
        result = torch.zeros(self.blocks, rows, WIDTH, device=device)  # of a block, the rows with + and with -
        signed, ordered = torch.empty(
            2, self._chunk // WIDTH, WIDTH, device=device
        )  # fresh memory costs more than sums
        for number, chunk in enumerate(self._chunks(gradient)):
            for block in range(self.blocks):
                signs = self._signs[self._sign_places[number][block] :][: self._chunk]
                order = self._orders[block, self._order_places[number][block] :][: len(signed)]
                torch.mul(chunk.view(-1, WIDTH), signs.view(-1, WIDTH), out=signed)
                torch.index_select(signed, 0, order, out=ordered)
                result[block] += ordered.view(-1, *result.shape[1:]).sum(dim=0)
        plus, minus = result.chunk(2, dim=1)
        return (plus - minus).flatten()

    def _chunks(self, gradient: Sequence[Tensor | None]) -> Iterator[Tensor]:
        """The gradient as one vector, in equal parts, the last with zeros at its end."""
        pieces: list[Tensor] = []
        room = self._chunk
        for tensor, size in zip(gradient, self.sizes, strict=True):
            flat = torch.zeros(size, device=self._signs.device) if tensor is None else tensor.detach().reshape(-1)
            while len(flat):
                pieces.append(flat[:room].float())
                flat, room = flat[room:], room - len(pieces[-1])
                if room == 0:
                    yield pieces[0] if len(pieces) == 1 else torch.cat(pieces)
                    pieces, room = [], self._chunk
        if pieces:
            yield F.pad(torch.cat(pieces), (0, room))


@dataclass(frozen=True, eq=False)
class SketchedSpectrum(ByValue):
    """The spectrum of T gradients as their sketches tell it.

    Attributes:
        spectrum: its eigenvalues are estimates; noise of the sketch spreads those that lie close together.
        corrected: shape (T,), with the larger part of that spread taken off (extrapolated from half the size of the
            sketch to twice); descending, at least 0. For fits over many eigenvalues.
        relative_error: e, which holds for every eigenvalue of ``spectrum`` at once; of a covariance for all but the
            last, which is 0.
        gram_error: relative error of the Gram matrix in the Frobenius norm.
        size: m.
    """

    spectrum: Spectrum
    corrected: np.ndarray
    relative_error: float
    gram_error: float
    size: int

    @property
    def lower(self) -> np.ndarray:
        """The least that each eigenvalue may be."""
        return self.spectrum.eigenvalues / (1 + self.relative_error)

    @property
    def upper(self) -> np.ndarray:
        """The most that each eigenvalue may be; infinite where the error is not below 1."""
        room = 1 - self.relative_error
        return self.spectrum.eigenvalues / room if room > 0 else np.full_like(self.spectrum.eigenvalues, np.inf)


def sketched_spectrum(sketches: Tensor, dimensions: int, center: bool = True) -> SketchedSpectrum:
    """The spectrum of the covariance, or of the second moment, of T gradients from their sketches.

    Args:
        sketches: shape (T, m), of one :class:`GradientSketch`.
        dimensions: n, numbers of a gradient.
        center: take the mean over the T gradients off first.

    Raises:
        InputError: fewer than two sketches, values that are not finite, T above m / 8, or gradients that are all alike.
    """
    iterations = _checked(sketches)
    first, second = _grams(sketches)
    mean = (first + second) / 2
    spectrum = spectrum_of_gram(mean, dimensions, center, _ROUNDING)
    halves = [spectrum_of_gram(gram, dimensions, center, _ROUNDING).eigenvalues for gram in (first, second)]
    difference = (first - second) / 2
    if center:
        mean, difference = centre(mean), centre(difference)
    corrected = 2 * spectrum.eigenvalues - (halves[0] + halves[1]) / 2
    return SketchedSpectrum(
        spectrum=spectrum,
        corrected=np.sort(corrected.clip(min=0))[::-1].copy(),
        relative_error=_relative_error(mean, difference, spectrum.rank) * (1 + 2 * iterations ** (-2 / 3)),
        gram_error=float(torch.linalg.matrix_norm(difference) / torch.linalg.matrix_norm(mean)),
        size=sketches.shape[1],
    )


def sketched_overlap(first: Tensor, second: Tensor, k: int, center: bool = True) -> np.ndarray:
    """Overlap of the leading eigenvectors of two windows of gradients, in the space of the gradients.

    As :func:`~gradlaw.spectra.subspaces.subspace_overlap` has it, for the first 1 to k of either: the mean squared
    cosine of the principal angles. Squares are products of what the two halves of the sketch say, so that its noise
    adds nothing on average; single values may fall below 0.

    Args:
        first: sketches of one window, shape (T, m).
        second: of the other, of the same :class:`GradientSketch`, shape (T', m).
        k: how many eigenvectors.
        center: take the mean over each window off first.

    Returns:
        Shape (k,).

    Raises:
        InputError: as :func:`sketched_spectrum`; sketches of different lengths; or fewer than k eigenvalues above
            rounding.
    """
    windows = [sketches.double() for sketches in (first, second)]
    if windows[0].shape[1:] != windows[1].shape[1:]:
        raise InputError(f"sketches have {first.shape[1]} and {second.shape[1]} numbers: they are not of one sketch")
    maps = []
    for sketches in windows:
        _checked(sketches)
        rows = sketches - sketches.mean(dim=0) if center else sketches
        values, vectors = torch.linalg.eigh(rows @ rows.T / 2)
        values, vectors = values.flip(0)[:k], vectors.flip(1)[:, :k]
        if len(values) < count(k, "k") or not values[-1] > _ROUNDING * values[0]:
            raise InputError(f"k={k} eigenvectors were asked for of {len(rows)} gradients; ask for fewer")
        maps.append(((vectors / values.sqrt()).T @ rows).unflatten(1, (2, -1)))
    cosines = [maps[0][:, half] @ maps[1][:, half].T for half in (0, 1)]
    squares = (cosines[0] * cosines[1]).cpu().numpy()
    return squares.cumsum(axis=0).cumsum(axis=1).diagonal() / np.arange(1, k + 1)


def _relative_error(mean: Tensor, difference: Tensor, rank: int) -> float:
    """The norm of the difference where the mean is the identity, on what has a rank."""
    if rank < 1:
        raise InputError("the gradients are all alike: there is no spectrum")
    values, vectors = torch.linalg.eigh(mean)
    whiten = vectors[:, -rank:] / values[-rank:].sqrt()
    return float(torch.linalg.matrix_norm(whiten.T @ difference @ whiten, ord=2))


def _grams(sketches: Tensor) -> tuple[Tensor, Tensor]:
    first, second = sketches.double().chunk(2, dim=1)
    return first @ first.T, second @ second.T


def _checked(sketches: Tensor) -> int:
    """How many there are."""
    if sketches.dim() != 2 or len(sketches) < 2:
        raise InputError(f"sketches must have shape (T, m) with at least two, got {tuple(sketches.shape)}")
    iterations, size = sketches.shape
    if _LARGEST_SHARE * iterations > size:
        least = 2 ** math.ceil(math.log2(_LARGEST_SHARE * iterations))
        raise InputError(f"sketches of {size} numbers tell too little of {iterations} gradients: use size={least}")
    if not torch.isfinite(sketches).all():
        raise InputError("a sketch is of a gradient that is not finite; leave it out")
    return iterations
