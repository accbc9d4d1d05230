"""The size that images are brought to while they are decoded."""

from gradlaw.errors import InputError, count

MOST_PIXELS = 2**25  # of an image: more are no sample but a mistake, or a file made to fill the memory
ONE_SIZE = "bring them to one size: resize=(height, width), --resize HxW on the command line"  # ends a message


def image_size(resize: object) -> tuple[int, int] | None:
    """Height and width in pixels, of one number for both or of a pair; None for images as they are.

    Raises:
        InputError: neither a number nor two of them, one below 1, or more pixels than ``MOST_PIXELS``.
    """
    if resize is None:
        return None
    pair = resize if isinstance(resize, tuple | list) else (resize, resize)
    if len(pair) != 2:
        raise InputError(f"resize must be a number of pixels or a pair (height, width), got {resize!r}")
    height, width = (count(side, "resize") for side in pair)
    if height * width > MOST_PIXELS:
        raise InputError(f"resize to {height:,} x {width:,} pixels is more than {MOST_PIXELS:,} an image")
    return height, width
