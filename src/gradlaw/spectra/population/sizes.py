"""The sizes of single gradients, and gradients that are made equal in size.

Gradients of single samples are far from Gaussian: those of some samples are many times longer than others in every
direction, x_t = m + sqrt(w_t) Lambda^(1/2) z_t. Their sample spectrum is that of a steeper law, and their plain mean is
known to the long ones alone. Here every w_t is measured by the leave-one-out form of the resolvent,

    1 / (tau Q_tt) - 1 = x_t^T (S + tau)^-1 x_t / T,    Q = (B + tau)^-1,    S of the other draws,

which weights many directions of the population alike, and draws are divided by sqrt(w_t), measured again, and so on:
the fixed point of a regularised M-estimator of scatter (Tyler 1987; Couillet, Pascal, Silverstein 2014). The mean is
that with weights 1 / w_t, and is taken off exactly: T draws are rotated to T - 1 of mean zero. What comes out is as
independent of the true sizes as the z_t are.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from gradlaw.by_value import ByValue
from gradlaw.spectra.access import rounding_floor

REFERENCE = 1000  # draws that measure the sizes of all: an inverse of more would take as long as a spectrum
SMALLEST = 1e-8  # size below which a draw has none, of the mean: rounding of the mean would be all of it
_ROUNDS, _SETTLED, _PLACED = 30, 1e-3, 3  # rounds in which tau is placed anew
_PLACE = 0.6  # of tau among the eigenvalues: many directions are above it


@dataclass(frozen=True, eq=False)
class Sizes(ByValue):
    """Measured sizes of T draws.

    Attributes:
        values: w_t, of mean 1, shape (T,).
        tau: of the resolvent, for draws divided by sqrt(w_t).
        reference: draws that it is made of.
    """

    values: np.ndarray
    tau: float
    reference: int

    @property
    def spread(self) -> float:
        """Standard deviation of the sizes over their mean."""
        return float(self.values.std() / self.values.mean())


def long_enough(gram: np.ndarray) -> np.ndarray:
    """Which draws have a size: gradients of zero say nothing of a direction."""
    squares = gram.diagonal()
    return np.asarray(squares > SMALLEST * squares.mean())


def distinct(gram: np.ndarray) -> np.ndarray:
    """Which draws are no repetition of an earlier one: the same minibatch drawn again would be the mean of both."""
    squares = gram.diagonal()
    apart = squares[:, None] + squares - 2 * gram
    repeats = np.any(np.tril(apart <= SMALLEST * squares.mean(), -1), axis=1)
    return np.asarray(~(repeats & long_enough(gram)))  # zeros are draws each


def measured_sizes(gram: np.ndarray, rounding: float) -> Sizes | None:
    """The sizes of draws; None if one draw is where the mean is, and takes all of it.

    Args:
        gram: X X^T of T independent draws that are :func:`long_enough` and :func:`distinct`, float64.
        rounding: relative rounding error of a draw.
    """
    used = min(len(gram), REFERENCE)
    known, tau, reached = _of_reference(gram[:used, :used], rounding)
    if known.min() <= SMALLEST:
        return None
    values = known if used == len(gram) else np.concatenate([known, _of_others(gram, known, tau) / reached])
    return Sizes(values / values.mean(), tau * float(values.mean()), used)


def equalized(gram: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """B of T - 1 draws of mean zero and one size: (T - 1, T - 1), divided by T - 1."""
    normal = _mean_direction(sizes)
    whole = gram / np.sqrt(np.outer(sizes, sizes))
    mirror = normal.copy()  # of the reflection that takes the direction of the mean to the first axis
    mirror[0] += np.copysign(1.0, normal[0])
    mirror /= np.linalg.norm(mirror)
    image = whole @ mirror
    image = 2 * (image - (mirror @ image) * mirror)
    whole -= np.outer(mirror, image) + np.outer(image, mirror)
    return whole[1:, 1:] / (len(sizes) - 1)


def _mean_direction(sizes: np.ndarray) -> np.ndarray:
    """In which the mean is, of draws divided by their sizes."""
    direction = 1 / np.sqrt(sizes)
    return np.asarray(direction / np.linalg.norm(direction))


def above_rounding(eigenvalues: np.ndarray, gram: np.ndarray, sizes: np.ndarray, rounding: float) -> int:
    """How many eigenvalues of :func:`equalized` draws are none of rounding."""
    squares = float(np.mean(gram.diagonal() / sizes))
    return int((eigenvalues > rounding_floor(len(gram), float(eigenvalues[0]), squares, rounding)).sum())


def _of_reference(gram: np.ndarray, rounding: float) -> tuple[np.ndarray, float, float]:
    """Sizes at the fixed point, tau, and what every quadratic form then is."""
    centred = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
    sizes = np.maximum(centred.diagonal() / centred.diagonal().mean(), SMALLEST)
    tau, reached = 0.0, 1.0
    for step in range(_ROUNDS):
        if step < _PLACED:
            eigenvalues = np.linalg.eigvalsh(equalized(gram, sizes))[::-1]
            tau = float(eigenvalues[int(_PLACE * above_rounding(eigenvalues, gram, sizes, rounding))])
        forms = _quadratic_forms(gram, sizes, tau)
        reached = float(np.exp(np.log(forms).mean()))
        sizes = sizes * forms / reached
        level = float(np.exp(np.log(sizes).mean()))
        sizes, tau = np.maximum(sizes / level, SMALLEST), tau * level
        settled = np.abs(np.log(forms / reached)).max() < _SETTLED
        if step >= _PLACED and (settled or sizes.min() <= SMALLEST):
            break
    return sizes, tau, reached


def _quadratic_forms(gram: np.ndarray, sizes: np.ndarray, tau: float) -> np.ndarray:
    """By draws divided by their sizes: x_t^T (S + tau)^-1 x_t / T, with S and the mean of the others."""
    normal = _mean_direction(sizes)
    inverse = np.linalg.inv(_regular(gram, sizes, tau)).diagonal() - normal**2 / tau
    forms = (1 - normal**2) / (tau * inverse) - 1
    return np.asarray(np.maximum(forms, np.finfo(float).tiny))


def _regular(gram: np.ndarray, sizes: np.ndarray, tau: float) -> np.ndarray:
    """B + tau of draws divided by their sizes, with the mean taken off."""
    normal = _mean_direction(sizes)
    whole = gram / np.sqrt(np.outer(sizes, sizes))
    image = whole @ normal
    image = image - (normal @ image) / 2 * normal
    whole -= np.outer(normal, image) + np.outer(image, normal)
    return whole / (len(sizes) - 1) + tau * np.eye(len(sizes))


def _of_others(gram: np.ndarray, sizes: np.ndarray, tau: float) -> np.ndarray:
    """The same forms of the draws after those whose sizes are known, by these alone."""
    used = len(sizes)
    weights = 1 / sizes / np.sum(1 / sizes)
    own, across = gram[:used, :used], gram[used:, :used]
    mean = own @ weights
    normal = _mean_direction(sizes)
    rows = (across - mean) / np.sqrt(sizes)
    rows = rows - np.outer(rows @ normal, normal)
    squares = gram.diagonal()[used:] - 2 * (across @ weights) + weights @ mean
    solved = cho_solve(cho_factor(_regular(gram[:used, :used], sizes, tau), lower=True), rows.T).T
    forms = (squares - np.sum(rows * solved, axis=1) / (used - 1)) / (tau * (used - 1))
    return np.asarray(np.maximum(forms, np.finfo(float).tiny))
