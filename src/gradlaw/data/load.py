"""load_data: from a name, folder or hub id to normalised tensors."""

import datasets
import numpy as np
import torch

from gradlaw.data.columns import input_columns, is_image, label_column, read_images, read_labels, read_numbers
from gradlaw.data.labelled import DataSource, LabelledTensors, Normalisation
from gradlaw.data.source import open_split
from gradlaw.errors import InputError
from gradlaw.progress import SILENT, Progress


def load_data(
    spec: str, split: str = "train", label: str | None = None, *, progress: Progress = SILENT
) -> LabelledTensors:
    """Load a labelled data set and normalise it to zero mean and unit variance.

    Images are normalised by channel, numeric columns each by itself, with the statistics of the training split.

    Args:
        spec: ``"digits"``, ``"mnist"``, ``"cifar10"``, ``"cifar100"``, a folder of Parquet files, or a hub id.
        split: which split.
        label: the label column. Default: the one that is named or typed like a label.
        progress: where to show it.

    Returns:
        Inputs (N, C, H, W) for images or (N, F) for numbers, float32, and targets (N,), int64.

    Raises:
        InputError: no such data set or split, no label, images of mixed sizes, missing or non-finite values.
    """
    rows = open_split(spec, split)
    if not len(rows):
        raise InputError(f"split {split!r} of the data set {spec!r} is empty")
    label = label_column(rows, label, spec)
    columns = input_columns(rows, label, spec)
    values = _read_inputs(rows, columns, f"read {split}", progress)
    training = values
    if split != "train":
        training = _read_inputs(open_split(spec, "train"), columns, "read train", progress)
    per = "channel" if values.ndim == 4 else "column"
    mean, std = _moments(training)
    targets, classes = read_labels(rows, label)
    normalisation = Normalisation(per, tuple(mean.tolist()), tuple(std.tolist()))
    source = DataSource(spec, split, tuple(columns), label, classes, normalisation)
    return LabelledTensors(_normalise(values, mean, std), torch.from_numpy(targets), source)


def _read_inputs(rows: datasets.Dataset, columns: list[str], what: str, progress: Progress) -> np.ndarray:
    """(N, C, H, W) for images, (N, F) for numbers, of the stored type."""
    with progress.stage(what, len(rows)) as advance:
        if not is_image(rows, columns[0]):
            return read_numbers(rows, columns, advance)
        images = read_images(rows, columns[0], advance)
        return images[:, None] if images.ndim == 3 else np.moveaxis(images, -1, 1)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation by channel or column (axis 1), float64; constant ones get a deviation of 1."""
    axes = tuple(i for i in range(values.ndim) if i != 1)
    mean = values.mean(axis=axes, dtype=np.float64)
    std = values.std(axis=axes, dtype=np.float64)
    return mean, np.where(std > 0, std, 1.0)


def _normalise(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> torch.Tensor:
    shape = (1, -1) + (1,) * (values.ndim - 2)
    scaled = values.astype(np.float32, order="C")
    scaled -= mean.reshape(shape).astype(np.float32)
    scaled /= std.reshape(shape).astype(np.float32)
    return torch.from_numpy(scaled)
