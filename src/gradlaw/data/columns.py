"""Columns of a ``datasets.Dataset`` as arrays: images, numbers and labels."""

from collections.abc import Callable, Iterator
from typing import Any

import datasets
import numpy as np

from gradlaw.errors import InputError

LABEL_NAMES = ("label", "labels", "fine_label", "target", "class", "y")
_NUMERIC = ("int", "uint", "float", "bool")
_IMAGES = (datasets.Image, datasets.Array2D, datasets.Array3D)
_ROWS = 1000

Advance = Callable[[int], None]


def label_column(rows: datasets.Dataset, asked: str | None, spec: str) -> str:
    """The column asked for, or the first one that is named or typed like a label."""
    if asked is not None:
        if asked not in rows.column_names:
            raise InputError(f"the data set {spec!r} has no column {asked!r}; it has {', '.join(rows.column_names)}")
        return asked
    named = [name for name in LABEL_NAMES if name in rows.column_names]
    typed = [name for name, feature in rows.features.items() if isinstance(feature, datasets.ClassLabel)]
    if not named and len(typed) != 1:
        raise InputError(
            f"the data set {spec!r} has no label column (looked for {', '.join(LABEL_NAMES)}); "
            f"it has {', '.join(rows.column_names)}: name one of them as the label"
        )
    return (named or typed)[0]


def input_columns(rows: datasets.Dataset, label: str, spec: str) -> list[str]:
    """The image column if there is one, else the one array column, else all numeric columns but labels."""
    features = {
        name: f for name, f in rows.features.items() if name != label and not isinstance(f, datasets.ClassLabel)
    }
    images = [name for name, feature in features.items() if isinstance(feature, _IMAGES)]
    if images:
        return images[:1]
    numeric = [name for name, f in features.items() if str(getattr(f, "dtype", "")).startswith(_NUMERIC)]
    if not numeric:
        raise InputError(f"the data set {spec!r} has neither an image nor a numeric column beside {label!r}")
    return numeric


def is_image(rows: datasets.Dataset, column: str) -> bool:
    """Whether a column holds images, encoded or as arrays."""
    return isinstance(rows.features[column], _IMAGES)


def read_images(rows: datasets.Dataset, column: str, advance: Advance) -> np.ndarray:
    """All images of a column as one array (N, H, W) or (N, H, W, C), of the type they are stored in."""
    feature = rows.features[column]
    if not isinstance(feature, datasets.Image):
        arrays = []
        for batch in rows.select_columns([column]).with_format("numpy").iter(_ROWS):
            arrays.append(np.asarray(batch[column]))
            advance(len(arrays[-1]))
        return np.concatenate(arrays)
    images: np.ndarray | None = None
    for i, value in enumerate(_values(rows.cast_column(column, datasets.Image(decode=False)), column)):
        image = np.asarray(feature.decode_example(value))
        if images is None:
            images = np.empty((len(rows), *image.shape), image.dtype)
        if image.shape != images.shape[1:]:
            raise InputError(
                f"images of mixed sizes in column {column!r}: row {i} is {image.shape}, row 0 {images.shape[1:]}"
            )
        images[i] = image
        advance(1)
    assert images is not None  # an empty split was refused before
    return images


def read_numbers(rows: datasets.Dataset, columns: list[str], advance: Advance) -> np.ndarray:
    """Numeric columns side by side; shape (N, F), float64."""
    table = rows.select_columns(columns).with_format("arrow")[:]
    for name in columns:
        if table[name].null_count:
            row = int(np.argmax(table[name].is_null().to_numpy(zero_copy_only=False)))
            raise InputError(f"column {name!r} has no value in row {row}")
    numbers = np.stack([table[name].to_numpy().astype(np.float64) for name in columns], axis=1)
    bad = np.argwhere(~np.isfinite(numbers))
    if len(bad):
        row, column = bad[0]
        raise InputError(f"column {columns[column]!r} is {numbers[row, column]} in row {row}")
    advance(len(rows))
    return numbers


def read_labels(rows: datasets.Dataset, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class indices (N,) int64 and the names of the classes.

    Integers that are not class indices, and strings, are numbered in their sorted order.
    """
    feature = rows.features[column]
    values = list(_values(rows, column))
    for i, value in enumerate(values):
        if not isinstance(value, int | str):
            raise InputError(f"label column {column!r} must hold class numbers or names; row {i} holds {value!r}")
    if isinstance(feature, datasets.ClassLabel):
        return np.array(values, dtype=np.int64), tuple(feature.names)
    names, indices = np.unique(np.array(values), return_inverse=True)
    return indices.astype(np.int64), tuple(str(name) for name in names)


def _values(rows: datasets.Dataset, column: str) -> Iterator[Any]:
    for batch in rows.select_columns([column]).with_format("arrow").iter(_ROWS):
        yield from batch[column].to_pylist()
