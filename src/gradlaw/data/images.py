"""Encoded images as one array."""

from io import BytesIO
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from gradlaw.data.columns import column_values
from gradlaw.data.image_size import MOST_PIXELS, ONE_SIZE
from gradlaw.data.source import Rows
from gradlaw.errors import InputError
from gradlaw.progress import Advance
from gradlaw.resources import free_memory

_PALETTES = {"1": "L", "P": "RGB", "PA": "RGB"}
_EVERY = 500


def read_images(
    rows: Rows, column: str, size: tuple[int, int] | None, advance: Advance
) -> tuple[np.ndarray, tuple[str, ...]]:
    """All images of a column, (N, C, H, W) of the type they are stored in, and their file formats ("PNG", "JPEG").

    Images are turned as their EXIF orientation says, palettes resolved, and brought to ``size``, height and width in
    pixels, if there is one; nothing is cropped or recoloured.
    """
    images: np.ndarray | None = None
    formats: set[str] = set()
    for i, value in enumerate(column_values(rows, column)):
        image, encoding = _decode(rows, column, i, value, size)
        formats.add(encoding)
        if images is None:
            images = _room(rows, column, image)
        if (image.shape, image.dtype) != (images.shape[1:], images.dtype):
            raise InputError(_mixed(column, _where(rows, i, value), image, images[0]))
        images[i] = image
        if (i + 1) % _EVERY == 0:
            advance(_EVERY)
    assert images is not None  # an empty split was refused before
    channels_first = images[:, None] if images.ndim == 3 else np.ascontiguousarray(np.moveaxis(images, -1, 1))
    return channels_first, tuple(sorted(formats))


def _room(rows: Rows, column: str, image: np.ndarray) -> np.ndarray:
    """An array for as many images as there are rows."""
    needed, free = len(rows.table) * image.nbytes, free_memory(torch.device("cpu"))
    if needed > free:
        raise InputError(
            f"the {len(rows.table):,} images of column {column!r}, each {_form(image)}, take {needed / 1e9:,.1f} GB "
            f"and {free / 1e9:,.1f} GB are free; make them smaller, by resize=(height, width) for instance"
        )
    return np.empty((len(rows.table), *image.shape), image.dtype)


def _mixed(column: str, where: str, image: np.ndarray, first: np.ndarray) -> str:
    """What an image differs in from the first one, and what to do."""
    kinds, remedies = [], []
    if image.shape[:2] != first.shape[:2]:
        kinds.append("sizes")
        remedies.append(ONE_SIZE)
    if (image.shape[2:], image.dtype) != (first.shape[2:], first.dtype):
        kinds.append("colour modes")
        remedies.append("store them in one colour mode")
    return (
        f"images of mixed {' and '.join(kinds)} in column {column!r}: {where} is {_form(image)}, row 0 "
        f"{_form(first)}; {'; '.join(remedies)}"
    )


def _decode(
    rows: Rows, column: str, i: int, value: dict[str, Any] | None, size: tuple[int, int] | None
) -> tuple[np.ndarray, str]:
    if value is None:
        raise InputError(f"column {column!r} has no image in {rows.where(i)}")
    try:
        with Image.open(value["path"] if value["bytes"] is None else BytesIO(value["bytes"])) as opened:
            image: Image.Image = opened
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width:,} x {image.height:,} pixels are more than {MOST_PIXELS:,}")
            image.load()
            encoding = image.format or "unknown"
            if image.format != "PNG" or "exif" in image.info:
                image = ImageOps.exif_transpose(image)
            if image.mode in _PALETTES:
                image = image.convert(_PALETTES[image.mode])
            if size is not None:  # Pillow's triangle grows with the factor when it shrinks, which is the antialiasing
                image = image.resize(size[::-1], Image.Resampling.BILINEAR)
            return np.asarray(image), encoding
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # for none, a broken, a huge one
        raise InputError(f"column {column!r} holds no readable image in {_where(rows, i, value)}: {error}") from error


def _where(rows: Rows, i: int, value: dict[str, Any]) -> str:
    return value["path"] if value["bytes"] is None else rows.where(i)


def _form(image: np.ndarray) -> str:
    height, width, *channels = image.shape
    return f"{height}x{width} with {(channels or [1])[0]} channels of {image.dtype}"
