"""Points of a training: numbers of epochs, whole or not, at which the weights are kept beside the checkpoints.

    point-0.1.safetensors  parameters and buffers after a tenth of an epoch
    point-0.1.json         what checkpoints say, the steps that were done, and the score at the point

A training goes on from checkpoints alone, which are whole epochs: one that is killed behind a point repeats the epoch,
and writes the same point again, bit for bit.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from gradlaw.errors import InputError

_NAME = r"point-[0-9.]+\.(json|safetensors)(\.partial)?"


def checked_points(points: Sequence[float], epochs: int, steps: int) -> tuple[float, ...]:
    """Points of a training, ascending.

    Args:
        points: in epochs; 0 is the start.
        epochs: of the training.
        steps: of an epoch.

    Raises:
        InputError: a point before the start or after the end, or two that are the same number of steps.
    """
    found = tuple(sorted(map(float, points)))
    outside = [point for point in found if not 0 <= point <= epochs]
    if outside:
        raise InputError(f"points must be epochs from 0 to {epochs}, the last of the training; got {outside[0]:g}")
    by_step: dict[int, float] = {}
    for point in found:
        step = steps_at(point, steps)
        if step in by_step:
            raise InputError(
                f"the points {by_step[step]:g} and {point:g} are both step {step} of the training, whose epochs have "
                f"{steps} steps: leave one out"
            )
        if step == 0 and point > 0:
            raise InputError(f"the point {point:g} is less than half a step of an epoch of {steps} steps")
        by_step[step] = point
    return found


def steps_at(point: float, steps: int) -> int:
    """How many steps were made at a point, to the nearest; ``steps`` are those of an epoch."""
    return round(point * steps)


def point_file(folder: Path, point: float) -> Path:
    """Where the weights of a point are."""
    return folder / f"point-{point:g}.safetensors"


def point_files(folder: Path) -> list[Path]:
    """All files of points in a folder, JSON before weights, so that what has a JSON is whole."""
    return [file for file in sorted(folder.glob("point-*.*")) if re.fullmatch(_NAME, file.name)]


def missing_points(folder: Path, points: Sequence[float], epoch: int) -> list[float]:
    """Points of the first ``epoch`` epochs that were not kept, so that a training that goes on would lack them."""
    return [point for point in points if point <= epoch and not point_file(folder, point).with_suffix(".json").exists()]
