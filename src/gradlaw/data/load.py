"""load_data: from a name, folder, file or hub id to normalised tensors."""

from collections.abc import Sequence

import torch

from gradlaw.argument_types import checked
from gradlaw.choices import NormaliseBy
from gradlaw.data.cache import cached
from gradlaw.data.decoded import Decoded, decode
from gradlaw.data.image_size import image_size
from gradlaw.data.labelled import DataSource, LabelledTensors
from gradlaw.data.location import locate
from gradlaw.data.moments import check_normalise, normalised
from gradlaw.data.text import NEXT_CHARACTER, load_text
from gradlaw.errors import InputError
from gradlaw.progress import SILENT, Progress


@checked
def load_data(
    spec: str,
    split: str = "train",
    label: str | None = None,
    *,
    inputs: Sequence[str] | None = None,
    normalise: NormaliseBy = "channel",
    resize: int | tuple[int, int] | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> LabelledTensors:
    """Load a labelled data set and normalise it to zero mean and unit variance (paper appendix A.3, A.4).

    Decoded splits are kept in ``$GRADLAW_CACHE`` (default: ``gradlaw`` in the user's cache directory; ``off`` for
    none) until their files change. A data set of the hub is kept as it was when first read.

    Args:
        spec: ``"digits"``, ``"mnist"``, ``"cifar10"``, ``"cifar100"``, a hub id; a folder of Parquet files, of CSV
            files, or of images in class folders (under folders named after splits, if there are several); a Parquet
            or CSV file; a text, as :func:`load_text` reads it. A path that exists comes before a hub id.
        split: which split. Files are told apart by ``train``, ``validation`` or ``test`` in their names.
        label: the label column. Default: the one that is named or typed like a label (``fine_label`` of CIFAR-100).
        inputs: the input columns. Default: the first image column, or all numeric columns but labels.
        normalise: ``"channel"`` with the statistics of each channel in the training split, or each numeric column;
            ``"pixel"`` with those of each pixel and channel; ``"none"`` for values as stored, 0 to 255 for images.
            Where the training split is constant, only the mean is taken off.
        resize: height and width in pixels that every image is brought to while it is decoded, or one number for
            both: bilinear with antialiasing, as Pillow does it, in the values as stored. Images are stretched, not
            cropped. Default: images as they are, all of one size.
        cache: whether to use and fill the cache.
        progress: where to show it.

    Returns:
        Inputs (N, C, H, W) for images or (N, F) for numbers, float32, and targets (N,), int64; of a text both are
        (N, 64), int64.

    Raises:
        InputError: no such data set, split or column, no label; broken files, images of mixed sizes without
            ``resize``, a ``resize`` that is no size or of data other than images in files, missing or
            non-finite values, labels that are no classes, each with its file and row (counted from 0).
    """
    progress = progress or SILENT
    check_normalise(normalise)
    size = image_size(resize)
    location = locate(spec)
    if location.kind == "text":
        if label not in (None, NEXT_CHARACTER) or inputs is not None:
            raise InputError(f"{spec!r} is a text, which has no columns to choose")
        if size is not None:
            raise InputError(f"resize is for images; {spec!r} is a text")
        return load_text(spec, split=split)
    location.check_split(split)
    choice = [label, inputs and list(inputs), *([size] if size else [])]

    def decoded(split: str, training: Decoded | None) -> Decoded:
        def build() -> Decoded:
            return decode(location, split, label, inputs, size, training, progress)

        return cached(location, split, choice, build) if cache else build()

    training = decoded("train", None)
    chosen = training if split == "train" else decoded(split, training)
    normalisation = training.moments.normalisation(normalise)
    if normalisation.per == "channel":
        mean, std = (" ".join(f"{x:.4g}" for x in part) for part in (normalisation.mean, normalisation.std))
        progress.say(f"{spec}: normalised by channel of the training split, mean {mean}, std {std}")
    source = DataSource(
        spec, split, chosen.input_columns, chosen.label_column, chosen.classes, normalisation,
        image_formats=chosen.image_formats, revision=chosen.revision, resize=size,
    )  # fmt: skip
    return LabelledTensors(normalised(chosen.values, normalisation), torch.from_numpy(chosen.targets), source)
