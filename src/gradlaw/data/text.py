"""load_text: a text as sequences of characters."""

from pathlib import Path

import numpy as np
import torch

from gradlaw.argument_types import checked
from gradlaw.data.labelled import DataSource, LabelledTensors, Normalisation
from gradlaw.data.location import locate
from gradlaw.errors import InputError

SPLITS = ("train", "test")
NEXT_CHARACTER = "next character"
_TRAINING_SHARE = 0.9


@checked
def load_text(path: str | Path, context: int = 64, split: str = "train") -> LabelledTensors:
    """Load a text as windows of characters that do not overlap, to predict at each character the one after it.

    The first 90% of the characters are the training split, the rest the test split, as in nanoGPT. The vocabulary, all
    characters of the whole text in the order of their code points, is ``source.classes``. A remainder shorter than a
    window is left out.

    Args:
        path: a UTF-8 text file (``.txt``), or a folder that holds one and no other data.
        context: characters in a window.
        split: ``"train"`` or ``"test"``.

    Returns:
        Inputs (N, context) and targets (N, context), int64: ``targets[i, j]`` follows ``inputs[i, j]`` in the text.

    Raises:
        InputError: no such file, not UTF-8, no such split, a text shorter than one window.
    """
    location = locate(str(path))
    if location.kind != "text":
        raise InputError(f"{str(path)!r} is neither a text file (.txt) nor a folder that holds one and no other data")
    file = Path(location.place)
    if context < 1:
        raise InputError(f"context must be at least 1, got {context}")
    if split not in SPLITS:
        raise InputError(f"the text {str(path)!r} has no split {split!r}; it has {', '.join(SPLITS)}")
    vocabulary, tokens = _tokens(file)
    boundary = int(_TRAINING_SHARE * len(tokens))
    part = tokens[:boundary] if split == "train" else tokens[boundary:]
    windows = (len(part) - 1) // context
    if windows < 1:
        raise InputError(f"split {split!r} of {file} has {len(part)} characters; a window of {context} takes "
                         f"{context + 1}")  # fmt: skip
    used = windows * context
    inputs, targets = (torch.from_numpy(part[i : i + used].reshape(windows, context)) for i in (0, 1))
    source = DataSource(str(path), split, ("character",), NEXT_CHARACTER, vocabulary, Normalisation("none"))
    return LabelledTensors(inputs, targets, source)


def _tokens(file: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """The characters that occur, sorted, and the text as indices into them."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no UTF-8 text: {error}") from error
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    found, tokens = np.unique(points, return_inverse=True)
    return tuple(chr(point) for point in found), tokens.astype(np.int64)
