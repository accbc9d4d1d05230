import numpy as np
import pytest
import torch
from torch.nn import functional as F

import gradlaw as gl
from gradlaw.data.augment import flip_and_crop


def test_every_image_is_a_crop_of_itself_padded_perhaps_flipped():
    images = torch.randn(300, 2, 5, 7)
    padding = 2
    result = flip_and_crop(images, np.random.default_rng(0), padding)
    assert result.shape == images.shape
    seen = set()
    for image, made in zip(images, result, strict=True):
        padded = F.pad(image, (padding,) * 4)
        views = {
            (down, right, flipped): crop.flip(-1) if flipped else crop
            for down in range(5) for right in range(5) for flipped in (False, True)
            for crop in [padded[:, down : down + 5, right : right + 7]]
        }  # fmt: skip
        found = [key for key, view in views.items() if torch.equal(view, made)]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 50  # all offsets, flipped and not


def test_flips_and_offsets_are_uniform():
    ramp = torch.arange(21.0).repeat(20_000, 1, 9, 1)  # column numbers
    made = flip_and_crop(ramp, np.random.default_rng(1))
    flipped = made[:, 0, 4, 10] < made[:, 0, 4, 9]
    assert abs(flipped.double().mean() - 0.5) < 0.02
    shifts = made[~flipped][:, 0, 4, 10] - 10
    assert (torch.bincount((shifts + 4).long(), minlength=9) / len(shifts) - 1 / 9).abs().max() < 0.02


def test_it_is_seeded_and_leaves_the_images_alone():
    images = torch.randn(4, 3, 8, 8)
    before = images.clone()
    one, same, other = (flip_and_crop(images, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(images, before)


def test_numbers_cannot_be_flipped():
    with pytest.raises(gl.InputError, match=r"only images \(C, H, W\).*got samples \(10,\)"):
        flip_and_crop(torch.zeros(4, 10), np.random.default_rng(0))
