"""Random flips and crops of images (He et al. 2016, section 4.2; paper appendix A.4)."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gradlaw.errors import InputError


def flip_and_crop(images: Tensor, rng: np.random.Generator, padding: int = 4) -> Tensor:
    """Flip each image left to right with probability 1/2 and crop it at random after padding all sides with zeros.

    Zero is the mean of normalised images. A minibatch at a time: gradients need samples that stay the same, so to
    analyse augmented images, augment them once and pass the result on as data.

    Args:
        images: (B, C, H, W).
        rng: one flip and two offsets are drawn for each image.
        padding: pixels on each side; images move by up to as many.

    Returns:
        New images of the same shape.

    Raises:
        InputError: samples that are no images (C, H, W).
    """
    if images.ndim != 4:
        raise InputError(f"only images (C, H, W) can be flipped and cropped, got samples {tuple(images.shape[1:])}")
    count, _, height, width = images.shape
    down, right = rng.integers(2 * padding + 1, size=(2, count))
    flipped = torch.from_numpy(rng.random(count) < 0.5).to(images.device)
    windows = F.pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    which = [torch.from_numpy(a).to(images.device) for a in (np.arange(count), down, right)]
    cropped = windows[which[0], :, which[1], which[2]]
    return torch.where(flipped[:, None, None, None], cropped.flip(-1), cropped)
