"""Columns of rows as arrays: numbers and labels."""

from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import numpy as np
import pandas as pd

from gradlaw.data.locate_error import text_in_numbers
from gradlaw.data.source import Rows
from gradlaw.errors import InputError, did_you_mean, listed
from gradlaw.progress import Advance

LABEL_NAMES = ("label", "labels", "fine_label", "target", "class", "y")
_NUMERIC = ("int", "uint", "float", "bool")
_INDEX = ("Unnamed:", "__index_level_")  # what pandas makes of an index
_ROWS = 1000


def label_column(rows: Rows, asked: str | None) -> str:
    """The column asked for, or the first one that is named or typed like a label."""
    features, spec = rows.features, rows.location.spec
    if asked is not None:
        return _present(rows, asked)
    named = [name for name in LABEL_NAMES if name in features]
    typed = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if not named and len(typed) != 1:
        raise InputError(
            f"the data set {spec!r} has no label column (looked for {', '.join(LABEL_NAMES)}); "
            f"it has {listed(features)}: name one of them as the label"
        )
    return (named or typed)[0]


def input_columns(rows: Rows, asked: Sequence[str] | None, label: str) -> list[str]:
    """The columns asked for; else the first image column, else all columns but labels, which must be numeric."""
    if asked is not None:
        names = [_present(rows, name) for name in asked]
        images = [name for name in names if is_image(rows, name)]
        if not names or (images and len(names) > 1):
            raise InputError(f"inputs are one image column or some numeric columns, got {', '.join(names) or 'none'}")
    else:
        features = rows.features
        names = [n for n, f in features.items() if n != label and not isinstance(f, datasets.ClassLabel)]
        images = [name for name in names if is_image(rows, name)]
        if not names:
            raise InputError(f"the data set {rows.location.spec!r} has no column beside the label {label!r}")
    if images:
        return images[:1]
    for name in names:
        _check_numeric(rows, name)
    if asked is None:
        _refuse_row_numbers(rows, names)
    return names


def is_image(rows: Rows, column: str) -> bool:
    """Whether a column holds encoded images."""
    return isinstance(rows.features[column], datasets.Image)


def read_numbers(rows: Rows, columns: list[str], advance: Advance) -> np.ndarray:
    """Numeric columns side by side; shape (N, F), float64."""
    table = rows.table.select_columns(columns).with_format("arrow")[:]
    for name in columns:
        if table[name].null_count:
            row = int(np.argmax(table[name].is_null().to_numpy(zero_copy_only=False)))
            raise InputError(f"column {name!r} has no value in {rows.where(row)}")
    numbers = np.stack([table[name].to_numpy().astype(np.float64) for name in columns], axis=1)
    bad = np.argwhere(~np.isfinite(numbers))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        raise InputError(f"column {columns[column]!r} is {numbers[row, column]} in {rows.where(row)}")
    advance(len(rows.table))
    return numbers


def read_labels(rows: Rows, column: str, classes: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class indices (N,), int64, and the names of the classes.

    Integers that are not declared to be class indices, and strings, are numbered in their sorted order.

    Args:
        rows: the rows of a split.
        column: the label column.
        classes: those of the training split, for another split; None for the training split itself.
    """
    feature = rows.features[column]
    values = list(column_values(rows, column))
    _check_labels(rows, column, values)
    if isinstance(feature, datasets.ClassLabel):
        indices = np.array(values, dtype=np.int64)
        _check_known(rows, column, values, (indices >= 0) & (indices < feature.num_classes))
        return indices, tuple(feature.names)
    if classes is None:
        found, indices = np.unique(np.array(values), return_inverse=True)
        return indices.astype(np.int64), tuple(str(name) for name in found)
    numbers = {name: i for i, name in enumerate(classes)}
    indices = np.array([numbers.get(str(value), -1) for value in values], dtype=np.int64)
    _check_known(rows, column, values, indices >= 0)
    return indices, classes


def column_values(rows: Rows, column: str) -> Iterator[Any]:
    """The values of one column as Python objects; images stay encoded."""
    table = rows.table.select_columns([column])
    if is_image(rows, column):
        table = table.cast_column(column, datasets.Image(decode=False))
    for batch in table.with_format("arrow").iter(_ROWS):
        yield from batch[column].to_pylist()


def _present(rows: Rows, name: str) -> str:
    names = rows.table.column_names
    if name not in names:
        raise InputError(
            f"the data set {rows.location.spec!r} has no column {name!r}; it has {listed(names)}"
            f"{did_you_mean(name, names)}"
        )
    return name


def _refuse_row_numbers(rows: Rows, names: list[str]) -> None:
    """Integers that grow by one from row to row say where a row stands, not what it holds."""
    features = rows.features
    integers = [name for name in names if str(getattr(features[name], "dtype", "")).startswith(("int", "uint"))]
    if not integers or len(rows.table) < 3:
        return
    table = rows.table.select_columns(integers).with_format("arrow")[:]  # once: each selection copies all features
    for name in integers:
        numbers = table[name].to_numpy()
        if (np.diff(numbers) == 1).all():
            raise InputError(
                f"column {name!r} of {rows.location.spec!r} numbers the rows ({numbers[0]}, {numbers[1]}, ...), which "
                "is no feature: name the columns to use as inputs, or remove it"
            )


def _check_numeric(rows: Rows, name: str) -> None:
    dtype = str(getattr(rows.features[name], "dtype", "a list"))
    advice = "name the columns to use as inputs, or remove it"
    if name.startswith(_INDEX):
        raise InputError(f"column {name!r} of {rows.location.spec!r} has no name, as an index has none: {advice}")
    if dtype.startswith(_NUMERIC):
        return
    if dtype in ("string", "large_string"):
        values = pd.Series(list(column_values(rows, name)))
        row = text_in_numbers(values)
        if row is not None:
            raise InputError(f"column {name!r} is {values[row]!r} in {rows.where(row)}, and elsewhere numbers")
        if values.isna().all():
            raise InputError(f"column {name!r} of {rows.location.spec!r} has no values: {advice}")
    raise InputError(f"column {name!r} of {rows.location.spec!r} holds no numbers ({dtype}): {advice}")


def _check_labels(rows: Rows, column: str, values: list[Any]) -> None:
    missing = next((i for i, value in enumerate(values) if value is None or value != value), None)
    if missing is not None:
        raise InputError(f"label column {column!r} has no value in {rows.where(missing)}")
    for i, value in enumerate(values):
        if not isinstance(value, int | str):
            held = f"{rows.where(i)} holds {value!r}"
            raise InputError(
                f"label column {column!r} must hold class numbers or names; {held}. For a regression give gl.Problem "
                "the tensors and a loss such as mse_loss"
            )


def _check_known(rows: Rows, column: str, values: list[Any], known: np.ndarray) -> None:
    if not known.all():
        row = int(np.argmin(known))
        raise InputError(f"label {values[row]!r} in {rows.where(row)} (column {column!r}) is no class of the data set")
