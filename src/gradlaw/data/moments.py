"""Means and standard deviations of samples by position, and normalisation with them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradlaw.by_value import ByValue
from gradlaw.data.labelled import NORMALISATIONS, Normalisation
from gradlaw.errors import unknown

_BLOCK = 2**22  # values at a time in float64


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
        rows = max(1, _BLOCK // values[0].size)
        blocks = [values[i : i + rows] for i in range(0, len(values), rows)]
        constant = values.min(axis=0) == values.max(axis=0)
        mean = sum(block.sum(axis=0, dtype=np.float64) for block in blocks) / len(values)
        mean = np.where(constant, values[0], mean)
        variance = sum(np.square(block - mean).sum(axis=0) for block in blocks) / len(values)
        return cls(mean, np.where(constant, 0.0, np.sqrt(variance)))

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
    """Values (N, ...) with the mean taken off and divided by the standard deviation, float32."""
    scaled = values.astype(np.float32, order="C")
    if normalisation.per == "none":
        return torch.from_numpy(scaled)
    shape = values.shape[1:] if normalisation.per == "pixel" else (values.shape[1],) + (1,) * (values.ndim - 2)
    scaled -= np.array(normalisation.mean, np.float32).reshape(shape)
    scaled /= np.array(normalisation.std, np.float32).reshape(shape)
    return torch.from_numpy(scaled)
