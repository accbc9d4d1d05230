"""Corrupted labels: symmetric and pair noise, and labels shuffled at random (paper section 5, appendix A.5)."""

import math
from dataclasses import replace

import numpy as np
import torch

from gradlaw import random_streams
from gradlaw.argument_types import checked
from gradlaw.data.labelled import LabelledTensors, LabelNoise
from gradlaw.errors import InputError
from gradlaw.errors import seed as checked_seed

LABEL_NOISE = ("symmetric", "pair", "random")


@checked
def corrupt_labels(data: LabelledTensors, kind: str, rate: float, seed: int) -> LabelledTensors:
    """The same inputs with corrupted targets; the data passed in are left alone.

    Each label is flipped independently with probability ``rate``, as in the generator that the paper follows (Han et
    al. 2018, Co-teaching), so that the realised rate scatters around it; ``source.label_noise`` records both.

    Args:
        data: labelled samples whose targets are class indices (N,).
        kind: ``"symmetric"`` flips a label to one of the other classes, each as likely; ``"pair"`` flips class c to
            the next one, the last to the first; ``"random"`` shuffles the labels of all samples, which keeps the
            number of samples of each class.
        rate: probability of a flip, 0 to 1. ``"random"`` knows no rate but 1.
        seed: of the flips.

    Raises:
        InputError: unknown kind, a rate outside 0 to 1, fewer than two classes, targets that are no class indices,
            labels that are corrupted already, a negative seed.
    """
    _check(data, kind, rate, seed)
    clean = data.targets.numpy()
    rng = np.random.default_rng([random_streams.LABEL_NOISE, seed])
    if kind == "random":
        noisy = rng.permutation(clean)
    else:
        flipped = rng.random(len(clean)) < rate
        steps = rng.integers(1, data.classes, len(clean)) if kind == "symmetric" else 1
        noisy = np.where(flipped, (clean + steps) % data.classes, clean)
    noise = LabelNoise(kind, rate, seed, float((noisy != clean).mean()))
    return LabelledTensors(data.inputs, torch.from_numpy(noisy), replace(data.source, label_noise=noise))


def parse_label_noise(text: str) -> tuple[str, float]:
    """Kind and rate of ``"symmetric=0.4"``, ``"pair=0.2"`` or ``"random"``.

    Raises:
        InputError: no such kind, a rate that is missing or no number from 0 to 1.
    """
    kind, separator, value = text.partition("=")
    if kind == "random" and not separator:
        return kind, 1.0
    try:
        rate = float(value)
    except ValueError:
        rate = math.nan
    _check_kind(kind, rate, text)
    return kind, rate


def _check(data: LabelledTensors, kind: str, rate: float, seed: int) -> None:
    _check_kind(kind, rate, f"{kind}={rate}")
    checked_seed(seed)
    if data.source.label_noise is not None:
        raise InputError(f"the labels of {data.source.name!r} are corrupted already ({data.source.label_noise.kind})")
    if data.targets.ndim != 1:
        raise InputError(f"label noise needs one class a sample; the targets have shape {tuple(data.targets.shape)}")
    if data.classes < 2:
        raise InputError(f"label noise needs at least two classes; {data.source.name!r} has {data.classes}")


def _check_kind(kind: str, rate: float, text: str) -> None:
    if kind not in LABEL_NOISE:
        raise InputError(f"unknown label noise {text!r}; there are symmetric=RATE, pair=RATE and random")
    if kind == "random" and rate != 1:
        raise InputError(f"label noise {text!r}: 'random' shuffles all labels and takes no rate")
    if not 0 <= rate <= 1:
        raise InputError(f"label noise {text!r}: give a rate from 0 to 1, such as {kind}=0.4")
