"""Where a training goes on: what the folder for its checkpoints already holds."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from gradlaw.atomic import make_writable
from gradlaw.errors import InputError
from gradlaw.lock import locked
from gradlaw.training.checkpoint import (
    OPTIMISER_FILE,
    Checkpoint,
    is_as_written,
    latest,
    load_checkpoint,
    optimiser_file,
    remove_partial,
    training_files,
)
from gradlaw.training.points import point_files
from gradlaw.training.replace import complete, staging_of

_AGREED = ("model", "start_sha256", "loss", "data", "test_data", "recipe", "seed", "channels_last")
_LOCK = ".lock"


@contextmanager
def claimed(folder: Path | None) -> Iterator[None]:
    """Be the only one to train into a folder, which is made if it is not there; without one there is nothing to claim.

    Raises:
        InputError: the folder cannot be made or written to, or another process trains into it, which is named.
    """
    if folder is None:
        yield
        return
    make_writable(folder, "the folder")
    with locked(folder / _LOCK, f"the training in {folder}"):
        complete(folder)
        remove_partial(folder)
        yield


def open_replacement(folder: Path, record: Mapping[str, Any]) -> tuple[Path, Checkpoint | None]:
    """Where in a claimed folder the training is written that is to take the place of the one there, until it is whole.

    Returns:
        The place, and the checkpoint to go on from, if the same training was begun there and ended on the way.
    """
    staging = staging_of(folder)
    remove_partial(staging)
    try:
        return staging, open_folder(staging, record, resume=True)
    except InputError:  # of another training, or damaged: it is begun anew
        for file in training_files(staging):
            file.unlink()
        return staging, None


def open_folder(folder: Path, record: Mapping[str, Any], resume: bool) -> Checkpoint | None:
    """Make a claimed folder for checkpoints ready; returns the checkpoint to go on from, if there is one.

    Raises:
        InputError: the folder holds a training and ``resume`` is not set, or a training with other settings is to be
            resumed.
    """
    if latest(folder) is None:
        for file in point_files(folder):  # of a training that was killed before its first checkpoint
            file.unlink()
        return None
    last = load_checkpoint(folder)
    if not resume:
        done, epochs = last.settings["epoch"], last.settings["recipe"]["epochs"]
        raise InputError(
            f"{folder} already holds a training, {done} of {epochs} epochs done; "
            "resume it (--resume), overwrite it (--force) or choose another folder"
        )
    former = {"channels_last": False} | last.settings  # checkpoints of before there was the choice do not say
    before = former | {"recipe": _extended(former["recipe"], record["recipe"], former["epoch"])}
    different = [key for key in _AGREED if before[key] != record[key]]
    if different:
        what = "; ".join(_difference(key, former[key], record[key]) for key in different)
        raise InputError(f"{last.path} is of another training, which cannot be resumed with these settings: {what}")
    return last


def _extended(before: Mapping[str, Any], now: Mapping[str, Any], done: int) -> Mapping[str, Any]:
    """``now``, if it is the recipe before with other epochs to come: the epochs that are done had the same rates."""
    to_come = ("epochs", "milestones")
    rest = {key: value for key, value in before.items() if key not in to_come}
    past = [[milestone for milestone in recipe["milestones"] if milestone < done] for recipe in (before, now)]
    same = rest == {key: value for key, value in now.items() if key not in to_come}
    return now if same and past[0] == past[1] and now["epochs"] >= done else before


def restore_optimiser(optimizer: torch.optim.Optimizer, last: Checkpoint) -> None:
    """Put back the tensors that the optimiser had at a checkpoint.

    Raises:
        InputError: they are not there, or not those that were written.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in optimiser_tensors(last).items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def optimiser_tensors(last: Checkpoint) -> dict[str, Tensor]:
    """The tensors that the optimiser had at a checkpoint.

    Raises:
        InputError: they are not there, or not those that were written.
    """
    path = optimiser_file(last.path.parent, last.settings["epoch"])
    if not path.is_file():
        raise InputError(f"{path} is missing: the training cannot go on from {last.path}; start it again (--force)")
    try:
        tensors = safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} is no whole safetensors file: {error}; start the training again (--force)") from error
    if not is_as_written(path, last.settings.get(OPTIMISER_FILE)):
        raise InputError(f"{path} is damaged: it does not hold what was written; start the training again (--force)")
    return tensors


def _difference(key: str, before: Any, now: Any) -> str:
    """The two values, or of mappings those entries that differ."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        inside = [k for k in {**before, **now} if before.get(k) != now.get(k)]
        return "; ".join(f"{key}.{k} was {before.get(k)} and is {now.get(k)}" for k in inside)
    return f"{key} was {before} and is {now}"
