"""Opening a data set by name, folder or hub id, always as a ``datasets.Dataset``."""

import re
from pathlib import Path

import datasets
import pyarrow
from datasets.exceptions import DatasetsError
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from gradlaw.errors import InputError

HUB_NAMES = {"mnist": "ylecun/mnist", "cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100"}
# What the library raises for files or repositories that it cannot read; a ValueError among others for an empty split.
_UNREADABLE = (DatasetsError, ValueError, OSError, HfHubHTTPError, OfflineModeIsEnabled, pyarrow.ArrowException)
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def open_split(spec: str, split: str) -> datasets.Dataset:
    """The rows of one split of ``digits``, of a folder of Parquet files, or of a data set on the hub.

    Raises:
        InputError: no such data set, a folder without Parquet files, no such split, files that cannot be read.
    """
    datasets.disable_progress_bars()
    if spec == "digits":
        return _digits(split)
    try:
        opened = datasets.load_dataset(_resolve(spec))
    except ConnectionError as error:
        raise InputError(f"the data set {spec!r} is on the hub, which cannot be reached: {error}") from error
    except _UNREADABLE as error:
        raise InputError(f"the data set {spec!r} cannot be read: {error}") from error
    if split not in opened:
        raise InputError(f"the data set {spec!r} has no split {split!r}; it has {', '.join(opened)}")
    return opened[split]


def _resolve(spec: str) -> str:
    folder = Path(spec)
    if folder.is_dir():
        if not any(folder.rglob("*.parquet")):
            inside = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
            raise InputError(f"the folder {spec!r} holds no Parquet file (*.parquet); it holds {inside}")
        return str(folder)
    if spec in HUB_NAMES:
        return HUB_NAMES[spec]
    if _HUB_ID.fullmatch(spec) and not spec.startswith("."):
        return spec
    known = ", ".join(["digits", *HUB_NAMES])
    raise InputError(
        f"unknown data set {spec!r}: it is no folder here; give one of {known}, a folder of Parquet files, or a hub id "
        "such as ylecun/mnist"
    )


def _digits(split: str) -> datasets.Dataset:
    from sklearn.datasets import load_digits  # takes a second to import, and only this data set needs it

    if split != "train":
        raise InputError(f"the data set 'digits' has no split {split!r}; it has train")
    digits = load_digits()
    features = datasets.Features(
        {"image": datasets.Array2D((8, 8), "float32"), "label": datasets.ClassLabel(names=[str(i) for i in range(10)])}
    )
    return datasets.Dataset.from_dict({"image": digits.images, "label": digits.target}, features=features)
