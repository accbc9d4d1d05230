"""What to do about NaN in a sample, in the words of SciPy."""

from typing import Literal

import torch
from torch import Tensor

from gradlaw.errors import InputError, choice

NanPolicy = Literal["raise", "omit"]
_POLICIES = ("raise", "omit")


def without_nan(sample: Tensor, nan_policy: str) -> Tensor:
    """A sample of one dimension, without its NaN if they are to be left out.

    Those that are to be refused are left to whoever looks at the values and says where they are. "propagate", the
    third word of SciPy, is refused: no result here is NaN.
    """
    _check(nan_policy)
    if nan_policy == "raise":
        return sample
    kept = sample[~sample.isnan()]
    if len(sample) and not len(kept):
        raise InputError(f"nan_policy='omit' leaves no value: all {len(sample)} are NaN")
    return kept


def rows_without_nan(rows: Tensor, k: int, nan_policy: str) -> Tensor:
    """Rows in which a NaN, if it is to be left out, is a zero: the k largest magnitudes are then those of the others.

    Raises:
        InputError: another policy, or a row that has fewer than k other values.
    """
    _check(nan_policy)
    if nan_policy == "raise":
        return rows
    missing = rows.isnan()
    if not missing.any():
        return rows
    left = rows.shape[1] - missing.sum(dim=1)
    if (left < k).any():
        row = int((left < k).int().argmax())
        raise InputError(f"nan_policy='omit' leaves {int(left[row])} values of row {row}, fewer than k={k}")
    return torch.where(missing, torch.zeros((), dtype=rows.dtype, device=rows.device), rows)


def _check(nan_policy: str) -> None:
    if nan_policy == "propagate":
        raise InputError("nan_policy='propagate' would give results that are NaN; take 'raise' or 'omit'")
    choice(nan_policy, "nan_policy", _POLICIES)
