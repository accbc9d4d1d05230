"""A finished history on disk in place of collecting the same once more."""

from pathlib import Path

from gradlaw.errors import InputError
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.history.gradient_history import GradientHistory
from gradlaw.history.settings import HistorySettings
from gradlaw.history.stores import zarr_store
from gradlaw.problem import Problem

_OF_RUN = ("iterations", "batch_size", "seed", "replacement", "transforms")
_OF_PROBLEM = ("mode", "loss", "dimensions", "parameters_not_analysed", "parameters_sha256", "randomness")
_OF_DATA = ("samples", "sha256")
_LOSS_TOLERANCE = 1e-4  # relative; engines and devices agree far better


def reopen(folder: Path, problem: Problem, asked: HistorySettings) -> GradientHistory:
    """The finished history in a folder, if it is what :func:`gradlaw.collect` would collect with the same settings.

    Raises:
        InputError: the folder holds another history, or an unfinished one.
    """
    history = GradientHistory.open(folder)
    described, recorded = problem.describe(), zarr_store.open_store(folder)[2]["problem"]
    pairs = {name: (history.settings[name], asked[name]) for name in _OF_RUN}
    pairs["stored as"] = history.settings.storage.dtype, asked.storage.dtype
    if asked.engine != "auto":
        pairs["engine"] = history.settings.engine, asked.engine
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
    first, engine = history.settings.minibatches()[0], LoopEngine(problem, history.settings.seed)
    loss, stored = float(engine.gradient(0, first)[0]), float(history.losses[0])
    if not abs(loss - stored) <= _LOSS_TOLERANCE * max(abs(stored), abs(loss)):
        raise InputError(
            f"the loss of the first minibatch is {loss:.6g}, but {stored:.6g} in the gradient history that {folder} "
            "holds: model, loss or data have changed; give another folder as store, or delete this one"
        )
