"""from_arrays: samples that are in memory already."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gradlaw.choices import NormaliseBy
from gradlaw.data.labelled import DataSource, LabelledTensors
from gradlaw.data.moments import Moments, normalised
from gradlaw.errors import InputError

_CHANNELS = (1, 3, 4)


def from_arrays(
    inputs: np.ndarray | Tensor,
    targets: np.ndarray | Tensor | Sequence[int | str],
    *,
    classes: Sequence[str] | None = None,
    training: LabelledTensors | None = None,
    normalise: NormaliseBy = "channel",
    name: str = "arrays",
    split: str = "train",
) -> LabelledTensors:
    """Labelled samples from arrays, normalised as :func:`load_data` does it.

    Args:
        inputs: (N, C, H, W) or (N, H, W) images, or (N, F) numbers.
        targets: the classes (N,): indices if ``classes`` or ``training`` is given; otherwise integers or names,
            numbered in their sorted order.
        classes: names of the classes.
        training: the training split, whose statistics and classes another split takes.
        normalise: ``"channel"`` (of numbers: each column), ``"pixel"`` or ``"none"``; with ``training`` it is that
            of the training split.
        name: what reports call the data set.
        split: what they call the split.

    Raises:
        InputError: shapes that do not fit, no samples, values that are not finite, targets that are no classes.
    """
    values = _values(inputs)
    labels = np.asarray(targets.cpu() if isinstance(targets, Tensor) else targets)
    if labels.shape != values.shape[:1]:
        raise InputError(f"targets must have shape ({len(values)},), one class a sample; got {labels.shape}")
    if training is not None:
        if training.sample_shape != values.shape[1:]:
            raise InputError(f"samples have shape {values.shape[1:]}, those of training {training.sample_shape}")
        classes, normalisation = training.source.classes, training.source.normalisation
    else:
        normalisation = Moments.of(values).normalisation(normalise)
    indices, names = _classes(labels, classes)
    source = DataSource(name, split, ("inputs",), "targets", names, normalisation)
    return LabelledTensors(normalised(values, normalisation), torch.from_numpy(indices), source)


def _values(inputs: np.ndarray | Tensor) -> np.ndarray:
    values = inputs.detach().cpu().numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
    if values.dtype.kind not in "iufb":
        raise InputError(f"inputs must be numbers, got {values.dtype}")
    if values.ndim not in (2, 3, 4) or not values.size:
        raise InputError(f"inputs must be (N, C, H, W), (N, H, W) or (N, F) and not empty; got shape {values.shape}")
    if values.ndim == 4 and values.shape[3] in _CHANNELS and values.shape[1] not in _CHANNELS:
        raise InputError(f"inputs of shape {values.shape} seem to have their channels last; they must come first")
    if not np.isfinite(values).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise InputError(f"inputs are {values[where]} in sample {where[0]}, at {where[1:]}")
    return values[:, None] if values.ndim == 3 else values


def _classes(labels: np.ndarray, names: Sequence[str] | None) -> tuple[np.ndarray, tuple[str, ...]]:
    if labels.dtype.kind not in "iubU":
        raise InputError(f"targets must be class numbers or names, got {labels.dtype}")
    if names is None:
        found, indices = np.unique(labels, return_inverse=True)
        return indices.astype(np.int64), tuple(str(name) for name in found)
    if labels.dtype.kind == "U":
        numbers = {name: i for i, name in enumerate(names)}
        labels = np.array([numbers.get(str(label), -1) for label in labels])
    outside = (labels < 0) | (labels >= len(names))
    if outside.any():
        row = int(np.argmax(outside))
        raise InputError(f"the target of sample {row} is none of the {len(names)} classes")
    return labels.astype(np.int64), tuple(names)
