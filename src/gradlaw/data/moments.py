"""Means and standard deviations of samples by position, and normalisation with them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.data.labelled import NORMALISATIONS, Normalisation
from gradlaw.errors import InputError, unknown

_BLOCK = 2**22  # values at a time in float64
_FAR = 1e3  # standard deviations between mean and zero, from which float32 is not enough
_LARGEST = 1e30


@dataclass(frozen=True, eq=False)
class Moments(ByValue):
    """Mean and standard deviation over samples, at every position of a sample: (C, H, W) or (F,), float64.

    Exactly 0 is the deviation of what is constant, whatever the rounding of its mean.
    """

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "Moments":
        """Those of values (N, ...), in two passes over blocks of samples."""
        blocks = _blocks(values)
        constant = values.min(axis=0) == values.max(axis=0)
        with np.errstate(over="ignore"):
            mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks) / len(values)
        mean = np.where(constant, values[0], mean)
        if not np.isfinite(mean).all():
            raise InputError("the data hold numbers too large to be normalised: their mean is not finite; scale them")
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            std = np.sqrt(sum(np.square(block - mean).sum(axis=0) for block in blocks) / len(values))
        std = np.where(constant, 0.0, std)
        lost = ~np.isfinite(std) | ((std == 0) & ~constant)  # squares of what is very large or small
        if lost.any():
            unit = np.maximum(values.max(axis=0) - mean, mean - values.min(axis=0))[lost]
            squares = sum(np.square((block[:, lost] - mean[lost]) / unit).sum(axis=0) for block in blocks)
            std[lost] = unit * np.sqrt(squares / len(values))
        return cls(mean, std)

    def normalisation(self, normalise: str) -> Normalisation:
        """The normalisation by channel, pixel or column, or none, that these moments of a training set give."""
        check_normalise(normalise)
        if normalise == "none":
            return Normalisation("none")
        mean, std, per = self.mean, self.std, normalise
        if mean.ndim == 1:
            per = "column"
        elif normalise == "channel":
            mean, std = self._by_channel()
        return Normalisation(per, tuple(mean.ravel().tolist()), tuple(np.where(std > 0, std, 1.0).ravel().tolist()))

    def _by_channel(self) -> tuple[np.ndarray, np.ndarray]:
        """The law of total variance over the positions of each channel."""
        means, variances = (a.reshape(len(a), -1) for a in (self.mean, self.std**2))
        constant = (np.ptp(means, axis=1) == 0) & ~variances.any(axis=1)
        mean = np.where(constant, means[:, 0], means.mean(axis=1))
        return mean, np.where(constant, 0.0, np.sqrt(variances.mean(axis=1) + means.var(axis=1)))


def check_normalise(normalise: str) -> None:
    """Refuse an unknown kind of normalisation."""
    if normalise not in NORMALISATIONS:
        raise unknown("normalisation", normalise, NORMALISATIONS)


def normalised(values: np.ndarray, normalisation: Normalisation) -> Tensor:
    """Values (N, ...) with the mean taken off and divided by the standard deviation, float32.

    Raises:
        InputError: what they are then is beyond the range of float32.
    """
    if normalisation.per == "none":
        return torch.from_numpy(_as_float32(values))
    shape = values.shape[1:] if normalisation.per == "pixel" else (values.shape[1],) + (1,) * (values.ndim - 2)
    mean, std = (np.array(numbers).reshape(shape) for numbers in (normalisation.mean, normalisation.std))
    if _needs_float64(values, mean, std):
        scaled = np.empty(values.shape, np.float32)
        for part, block in zip(_blocks(scaled), _blocks(values), strict=True):
            part[:] = _as_float32((block.astype(np.float64) - mean) / std)
        return torch.from_numpy(scaled)
    scaled = values.astype(np.float32, order="C")
    scaled -= mean.astype(np.float32)
    scaled /= std.astype(np.float32)
    return torch.from_numpy(scaled)


def _blocks(values: np.ndarray) -> list[np.ndarray]:
    """Samples, as many together as float64 has room for."""
    rows = max(1, _BLOCK // values[0].size)
    return [values[i : i + rows] for i in range(0, len(values), rows)]


def _needs_float64(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> bool:
    """Whether float32 would lose what tells the values apart: they are far from zero, or out of its range."""
    largest = max(abs(float(values.max())), abs(float(values.min())))
    return bool((np.abs(mean) > _FAR * std).any()) or largest > _LARGEST or float(std.min()) < 1 / _LARGEST


def _as_float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        found = values.astype(np.float32, order="C")
    if values.dtype.itemsize > 4 and not np.isfinite(found).all():
        raise InputError(
            f"the data hold numbers beyond the range of float32 (up to {np.abs(values).max():.3g}) that no "
            "normalisation brings into it; scale them"
        )
    return found
