"""Small data sets on disk, in the layouts that the package reads."""

import io

import datasets
import numpy as np
from PIL import Image

LABEL = datasets.ClassLabel(names=["cat", "dog", "owl"])
DIGIT = datasets.ClassLabel(names=[str(i) for i in range(10)])
NUMBER, IMAGE = datasets.Value("float32"), datasets.Image()


def write_parquet(folder, rows, features, split="train", shard="00000-of-00001"):
    """A split in the layout of the hub: <split>-00000-of-00001.parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{split}-{shard}.parquet"
    datasets.Dataset.from_dict(rows, features=datasets.Features(features)).to_parquet(file)
    return str(folder)


def enlarged(digit):
    """One of scikit-learn's 8x8 digits (0 to 16) as MNIST has its own: 20x20 in the middle of 28x28, 0 to 255."""
    grey = Image.fromarray((digit * 255 / 16).astype(np.uint8)).resize((20, 20), Image.Resampling.BILINEAR)
    return np.pad(np.asarray(grey), 4)


def encoded(array, form="png"):
    """An image as a column of the hub holds it."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form)
    return {"bytes": buffer.getvalue(), "path": None}


def write_images(folder, images, labels, form="png"):
    """Images in class folders, numbered."""
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        file = folder / label / f"{i:03}.{form}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return str(folder)
