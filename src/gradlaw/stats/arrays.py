"""Arrays in, arrays out: NumPy and torch at the border of the statistics, through one door for every function."""

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from gradlaw.errors import InputError

Array: TypeAlias = np.ndarray | Tensor

_TENSOR_TYPES = (torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
                 torch.int8, torch.int16, torch.int32, torch.int64)  # fmt: skip
_NARROW_TYPES = (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e4m3fnuz,
                 torch.float8_e5m2, torch.float8_e5m2fnuz)  # fmt: skip


def as_matrix(matrix: Any, what: str = "matrix") -> Tensor:
    """A float tensor of two dimensions that shares the memory of ``matrix`` where it can; see :func:`as_float`.

    Raises:
        InputError: what :func:`as_float` refuses, another number of dimensions, or series without any value.
    """
    tensor = as_float(matrix, what)
    if tensor.ndim != 2:
        raise InputError(f"{what} must have two dimensions, got shape {tuple(tensor.shape)}")
    if tensor.shape[1] == 0:
        raise InputError(f"{what} is empty: it has shape {tuple(tensor.shape)}; pass series of at least one value")
    return tensor


def as_sample(values: Any, see: str = "") -> Tensor:
    """A float tensor of one dimension; ``see`` names the function for several samples.

    Raises:
        InputError: what :func:`as_float` refuses, another number of dimensions, or no value at all.
    """
    tensor = as_float(values)
    if tensor.ndim != 1:
        hint = f"; see {see}" if see else ""
        raise InputError(f"values must have one dimension, got shape {tuple(tensor.shape)}{hint}")
    if len(tensor) == 0:
        raise InputError("values is empty: pass a sample of at least one value")
    return tensor


def as_float(values: Any, what: str = "values") -> Tensor:
    """Real numbers as a float tensor without gradient: the one door through which all statistics take their arrays.

    float32 and float64 stay as they are and share their memory, of either byte order, with a neg bit, and whether or
    not they require a gradient; float16, bfloat16 and float8 become float32, integers and truth values float64.
    Extended precision becomes float64 where its range allows. pandas objects are taken by their numbers, missing ones
    as NaN (which every statistic refuses, with its place). Of a masked array of one dimension what is masked is left
    out.

    Raises:
        InputError: a masked value in an array of several dimensions, where leaving it out would move the others;
            sparse, quantized, nested and meta tensors; complex numbers; objects, strings and dates; or nested lists of
            unequal lengths.
    """
    return _from_tensor(values, what) if isinstance(values, Tensor) else _shared(_from_array(values, what))


def _from_tensor(tensor: Tensor, what: str) -> Tensor:
    if isinstance(tensor, torch.masked.MaskedTensor):
        raise InputError(f"{what} is a masked tensor: pass its unmasked values, tensor.get_data()[tensor.get_mask()]")
    if tensor.is_quantized:
        raise InputError(f"{what} is quantized: pass {what}.dequantize()")
    if tensor.is_nested:
        raise InputError(f"{what} is a nested tensor, of series of unequal lengths: pass them one by one")
    if tensor.layout is not torch.strided:
        raise InputError(f"{what} is sparse ({tensor.layout}): pass {what}.to_dense() if its zeros are to count")
    if tensor.is_meta:
        raise InputError(f"{what} is on the meta device and holds no numbers: pass a tensor with storage")
    tensor = tensor.detach().resolve_neg()
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    if tensor.dtype in _NARROW_TYPES:
        return tensor.float()
    if tensor.is_complex():
        raise InputError(f"{what} must be real, got complex numbers; pass the real part, or both as separate series")
    if tensor.dtype not in _TENSOR_TYPES:
        raise InputError(f"{what} of type {tensor.dtype} cannot be analysed: convert to torch.float32 or torch.float64")
    return tensor.double()


def _from_array(values: Any, what: str) -> np.ndarray:
    """The values as an array of float32 or float64, or of float16, that torch can share."""
    if isinstance(values, np.ma.MaskedArray):
        array = _unmasked(values, what)
    elif _is_pandas(values):
        array = _from_pandas(values, what)
    else:
        array = _from_any(values, what)
    if array.dtype.kind == "c":
        raise InputError(f"{what} must be real, got complex numbers; pass the real part, or both as separate series")
    if array.dtype.kind in "iub":
        return array.astype(np.float64)
    if array.dtype.kind != "f":
        raise InputError(
            f"{what} must be numbers, got an array of {array.dtype} and shape {array.shape}: convert it, for "
            "instance by numpy.asarray(..., dtype=float)"
        )
    return (
        _narrowed(array, what) if array.dtype.itemsize > 8 else array.astype(array.dtype.newbyteorder("="), copy=False)
    )


def _unmasked(values: np.ma.MaskedArray, what: str) -> np.ndarray:
    if values.ndim == 1:
        return values.compressed()
    masked = np.argwhere(np.ma.getmaskarray(values))
    if len(masked):
        raise InputError(
            f"{what} has {len(masked)} masked values, the first at position {tuple(masked[0].tolist())}: series "
            "with values missing have unequal lengths; pass each series by itself, or only rows and columns without any"
        )
    return np.ma.getdata(values)


def _is_pandas(values: Any) -> bool:
    """Whether these are values of pandas, without loading it: who has such values has loaded it."""
    pd = sys.modules.get("pandas")
    return pd is not None and isinstance(values, pd.Series | pd.DataFrame | pd.Index | pd.api.extensions.ExtensionArray)


def _from_pandas(values: Any, what: str) -> np.ndarray:
    import pandas as pd  # loaded already, if these are its values

    types = list(values.dtypes) if isinstance(values, pd.DataFrame) else [values.dtype]
    wrong = [kind for kind in types if not (pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_bool_dtype(kind))]
    if wrong:
        raise InputError(f"{what} must be numbers, got pandas values of type {wrong[0]}: convert or drop them")
    if all(isinstance(kind, np.dtype) for kind in types):
        return np.asarray(values)
    if any(pd.api.types.is_complex_dtype(kind) for kind in types):
        raise InputError(f"{what} must be real, got complex numbers; pass the real part, or both as separate series")
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def _from_any(values: Any, what: str) -> np.ndarray:
    if hasattr(values, "toarray"):
        raise InputError(f"{what} is sparse: pass {what}.toarray() if its zeros are to count")
    if isinstance(values, list | tuple) and any(np.ma.is_masked(part) for part in values):
        raise InputError(f"{what} is a list with masked values: NumPy would drop the masks; pass the unmasked values")
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} is no array of numbers: {error}") from error


def _narrowed(array: np.ndarray, what: str) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore"):
        narrow = array.astype(np.float64)
    lost = (np.isinf(narrow) & ~np.isinf(array)) | ((narrow == 0) & (array != 0))
    if lost.any():
        place = tuple(np.argwhere(lost)[0].tolist())
        raise InputError(f"the value of {what} at position {place}, {array[place]!s}, is outside the range of float64")
    return narrow


def _shared(array: np.ndarray) -> Tensor:
    # Torch has no negative strides, and none of fractions of a value (a field of a record, say).
    if not array.flags.aligned or any(stride < 0 or stride % array.itemsize for stride in array.strides):
        array = array.copy()
    with warnings.catch_warnings():  # of memory that is not writable (a memory map, say): nothing here writes to it
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return _from_tensor(torch.from_numpy(array), "values")


def as_type_of(tensor: Tensor, original: Any) -> Array:
    """``tensor`` as the kind of array that ``original`` is."""
    return tensor if isinstance(original, Tensor) else tensor.cpu().numpy()


def near_one(rows: Tensor) -> Tensor:
    """The rows in float64, each over a power of two near its largest magnitude: exact, and far from overflow.

    Only values below 2^-1000 of the largest lose digits.
    """
    values = rows.double()
    exponent = values.abs().amax(dim=1, keepdim=True).frexp().exponent.clamp(-1000, 1000)
    return values * torch.exp2(-exponent.double())


def by_parts(
    rows: Tensor, block_bytes: int, describe: Callable[[Tensor, int], Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """The columns, of one entry a row, of ``describe(part, number of its first row)`` for parts of the rows.

    A part takes at most ``block_bytes`` in float64, or is one row. The columns are written where they stay: kept one
    by one between the large arrays of each part, they would split the free memory until the parts no longer fit in it.
    """
    step = max(1, block_bytes // (8 * rows.shape[1]))
    columns: dict[str, Tensor] = {}
    for first in range(0, max(1, len(rows)), step):
        for name, column in describe(rows[first : first + step], first).items():
            if name not in columns:
                columns[name] = column.new_empty(len(rows))
            columns[name][first : first + step] = column
    return columns


def refuse_non_finite(matrix: Tensor, first: int = 0, transposed: bool = False) -> None:
    """Raise with the place of the first NaN or infinity, if there is one.

    ``matrix`` may be the rows ``first`` onwards of a larger one, or, ``transposed``, its columns as rows.
    """
    rows = max(1, 2**24 // max(1, matrix.shape[1]))
    for start in range(0, matrix.shape[0], rows):
        block = matrix[start : start + rows]
        bad = (~torch.isfinite(block)).nonzero()
        if len(bad):
            i, j = bad[0].tolist()
            row, column = (j, first + start + i) if transposed else (first + start + i, j)
            raise InputError(f"the value at row {row}, column {column} is {float(block[i, j])}; all must be finite")
