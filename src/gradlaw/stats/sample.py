"""One sample as magnitudes, by the words that several functions share: which side, NaN, what lies above x_max."""

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import InputError, choice
from gradlaw.stats.arrays import Array, as_sample, refuse_non_finite
from gradlaw.stats.nan_policy import without_nan

Side = Literal["both", "right", "left"]
SIDES = ("both", "right", "left")


def magnitudes(values: Array, tail: str = "both", nan_policy: str = "raise", x_max: float | None = None) -> Tensor:
    """The magnitudes of a sample of shape (L,): finite, not negative, none above ``x_max``.

    Those of the other side are zero for a one-sided tail: they are part of the sample, and of no tail.

    Raises:
        InputError: another shape, side or policy, a value that is not finite, or an x_max that is no positive number.
    """
    sample = as_sample(values, see="fit_power_law_rows")
    kept = without_nan(sample, nan_policy)
    if not torch.isfinite(kept).all():
        refuse_non_finite(sample.where(~sample.isnan(), 0.0)[None] if nan_policy == "omit" else sample[None])
    sided = one_side(kept, tail)
    if x_max is None:
        return sided
    return sided[sided <= positive(x_max, "x_max")]


def one_side(sample: Tensor, tail: str) -> Tensor:
    """Magnitudes of one side of zero, those of the other being zero; or of both."""
    choice(tail, "tail", SIDES)
    if tail == "both":
        return sample.abs()
    return (sample if tail == "right" else -sample).clamp_min(0)


def precision(values: Array) -> float:
    """The relative step of the floats that the values came in; that of float64 for integers."""
    dtype = values.dtype if isinstance(values, Tensor) else np.asarray(values).dtype
    if isinstance(dtype, torch.dtype):
        return float(torch.finfo(dtype).eps) if dtype.is_floating_point else float(np.finfo(np.float64).eps)
    floats = np.issubdtype(dtype, np.floating) and dtype.itemsize <= 8  # longer ones are narrowed
    return float(np.finfo(dtype if floats else np.float64).eps)


def positive(value: float, name: str) -> float:
    """``value`` as a float above zero and below infinity."""
    if isinstance(value, bool) or (not isinstance(value, (int, float)) and not hasattr(value, "__float__")):
        raise InputError(f"{name} must be a positive number, got {value!r}")
    number = float(value)
    if not 0 < number < math.inf:
        raise InputError(f"{name} must be positive and finite, got {value!r}")
    return number


def largest(sample: Tensor, k: int) -> Tensor:
    """The k largest of a sample of magnitudes, descending, float64, in main memory."""
    return sample.topk(k).values.double().cpu()
