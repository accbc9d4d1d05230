"""A finished history on disk in place of collecting the same once more."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from gradlaw.errors import InputError
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.history.gradient_history import GradientHistory
from gradlaw.history.stores import zarr_store
from gradlaw.history.stores.precision import dtype_name, storage_dtype
from gradlaw.history.transforms import Transform, describe
from gradlaw.minibatches import Minibatches
from gradlaw.problem import Problem

_OF_PROBLEM = ("mode", "loss", "dimensions", "parameters_not_analysed", "parameters_sha256", "randomness")
_OF_DATA = ("samples", "sha256")
_LOSS_TOLERANCE = 1e-4  # relative; engines and devices agree far better


def reopen(
    folder: Path,
    problem: Problem,
    minibatches: Minibatches,
    engine: str,
    transforms: Sequence[Transform],
    dtype: torch.dtype | str | None,
) -> GradientHistory:
    """The finished history in a folder, if it is what :func:`gradlaw.collect` would collect with the same arguments.

    Raises:
        InputError: the folder holds another history, or an unfinished one.
    """
    asked = {
        "iterations": minibatches.iterations,
        "batch_size": minibatches.batch_size,
        "seed": minibatches.seed,
        "replacement": minibatches.replacement,
        "transforms": [describe(transform) for transform in transforms],
        "stored as": dtype_name(storage_dtype(dtype, problem.dtype)),
        "engine": engine,
    }
    return _reopened(folder, problem, asked)


def _reopened(folder: Path, problem: Problem, asked: dict[str, Any]) -> GradientHistory:
    history = GradientHistory.open(folder)
    found = history.settings | {"stored as": history.settings["storage"]["dtype"]}
    if asked["engine"] == "auto":
        asked = asked | {"engine": found["engine"]}
    described, recorded = problem.describe(), zarr_store.open_store(folder)[2]["problem"]
    pairs = {name: (found[name], value) for name, value in asked.items()}
    pairs |= {name: (recorded[name], described[name]) for name in _OF_PROBLEM}
    pairs |= {f"{name} of the data": (recorded["data"][name], described["data"][name]) for name in _OF_DATA}
    different = [f"{name} is {there}, not {here}" for name, (there, here) in pairs.items() if there != here]
    if different:
        raise InputError(
            f"{folder} holds the gradient history of another run ({'; '.join(different)}); give another folder as "
            "store, or delete this one"
        )
    _check_first_loss(folder, problem, history)
    return history


def _check_first_loss(folder: Path, problem: Problem, history: GradientHistory) -> None:
    """What digests do not show: buffers, the code of the loss, data that are not in memory."""
    s = history.settings
    first = Minibatches(problem.samples, s["batch_size"], s["iterations"], s["seed"], s["replacement"])[0]
    loss, stored = float(LoopEngine(problem, s["seed"]).gradient(0, first)[0]), float(history.losses[0])
    if not abs(loss - stored) <= _LOSS_TOLERANCE * max(abs(stored), abs(loss)):
        raise InputError(
            f"the loss of the first minibatch is {loss:.6g}, but {stored:.6g} in the gradient history that {folder} "
            "holds: model, loss or data have changed; give another folder as store, or delete this one"
        )
