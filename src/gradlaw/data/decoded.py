"""A split decoded to arrays, before normalisation: what the cache keeps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gradlaw.by_value import ByValue
from gradlaw.data.image_size import ONE_SIZE
from gradlaw.data.location import Location
from gradlaw.data.moments import Moments
from gradlaw.errors import InputError
from gradlaw.extras import extra
from gradlaw.progress import Progress


@dataclass(frozen=True, eq=False)
class Decoded(ByValue):
    """Values (N, C, H, W) or (N, F) as stored, class indices (N,), and the moments of the values."""

    values: np.ndarray
    targets: np.ndarray
    moments: Moments
    input_columns: tuple[str, ...]
    label_column: str
    classes: tuple[str, ...]
    image_formats: tuple[str, ...] = ()
    revision: str | None = None


def decode(
    location: Location,
    split: str,
    label: str | None,
    inputs: Sequence[str] | None,
    size: tuple[int, int] | None,
    training: Decoded | None,
    progress: Progress,
) -> Decoded:
    """Read a split from its source, images brought to ``size``; another than the training split takes its classes."""
    location.check_split(split)
    if location.kind == "digits":
        return _digits(label, inputs, size)
    # Takes a second to import, which a data set in the cache need not wait for.
    with extra("data", "reading data sets"):
        from gradlaw.data.columns import input_columns, is_image, label_column, read_labels, read_numbers
        from gradlaw.data.images import read_images
        from gradlaw.data.source import open_rows

    with open_rows(location, split) as rows:
        label = label_column(rows, label)
        columns = input_columns(rows, inputs, label)
        if size is not None and not is_image(rows, columns[0]):
            raise InputError(f"resize is for images; the inputs of {location.spec!r} are the numbers of {columns[0]!r}")
        targets, classes = read_labels(rows, label, training.classes if training else None)
        with progress.stage(f"read {split}", len(rows.table)) as advance:
            if is_image(rows, columns[0]):
                values, formats = read_images(rows, columns[0], size, advance)
            else:
                values, formats = read_numbers(rows, columns, advance), ()
        revision = rows.revision
    if training is not None and values.shape[1:] != training.values.shape[1:]:
        shapes = " and ".join(str(part.shape[1:]) for part in (values, training.values))
        remedy = f"; {ONE_SIZE}" if values.shape[2:] != training.values.shape[2:] else ""
        raise InputError(f"samples of {split!r} and 'train' of {location.spec!r} differ in shape: {shapes}{remedy}")
    return Decoded(values, targets, Moments.of(values), tuple(columns), label, classes, formats, revision)


def _digits(label: str | None, inputs: Sequence[str] | None, size: tuple[int, int] | None) -> Decoded:
    with extra("data", "the data set 'digits'"):
        from sklearn.datasets import load_digits  # takes a second to import, and only this data set needs it

    for column in [label, *(inputs or [])]:
        if column not in (None, "label", "image"):
            raise InputError(f"the data set 'digits' has no column {column!r}; it has image, label")
    if size is not None:
        raise InputError("resize is for images in files; the digits are numbers from 0 to 16, all 8x8")
    digits = load_digits()
    values = digits.images[:, None].astype(np.uint8)  # integers from 0 to 16
    classes = tuple(str(i) for i in range(10))
    return Decoded(values, digits.target.astype(np.int64), Moments.of(values), ("image",), "label", classes)
