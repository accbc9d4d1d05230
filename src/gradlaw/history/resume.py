"""What a folder holds already: the history that would be collected, whole or in part, or that of another run."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from gradlaw.errors import InputError, listed
from gradlaw.history.engines.loop import LoopEngine
from gradlaw.history.gradient_history import GradientHistory
from gradlaw.history.settings import HistorySettings
from gradlaw.history.sketched_history import SketchedHistory
from gradlaw.history.stores import zarr_store
from gradlaw.history.stores.integrity import damaged_chunks
from gradlaw.history.stores.unfinished import Unfinished
from gradlaw.problem import Problem
from gradlaw.progress import Progress
from gradlaw.provenance import machine, sha256, versions

_OF_RUN = ("iterations", "batch_size", "seed", "replacement", "transforms")
_OF_PROBLEM = ("mode", "loss", "dimensions", "parameters_not_analysed", "parameters_sha256", "randomness")
_OF_DATA = ("samples", "sha256")
_SOFTWARE = ("gradlaw", "torch", "numpy")
_TOLERANCE = 1e-4  # relative, of the first loss and gradient norm; engines and devices agree far better
_GRADIENT_TOLERANCE = 1e-2  # of the length of a gradient, which a kink of the loss may turn a little
GRADIENT_NORM = "gradient norm"  # of the first minibatch, in the identity of a run
_OTHER = "give another folder as store, or delete this one"


class Begun(NamedTuple):
    """A collection that an earlier call began.

    Attributes:
        identity: of the run.
        state: what :meth:`~gradlaw.history.collection.Collection.save` saved.
        arrays: the same.
    """

    identity: dict[str, Any]
    state: dict[str, Any]
    arrays: dict[str, Tensor]


def reopen_finished(folder: Path, problem: Problem, asked: HistorySettings) -> GradientHistory | SketchedHistory:
    """The finished history in a folder, if it is what would be collected with these settings.

    Raises:
        InputError: the folder holds another history, or a damaged one.
    """
    history = (GradientHistory if asked.sketch is None else SketchedHistory).open(folder)
    refuse_another(folder, problem, history, asked, rows=True)
    return history


def refuse_another(
    folder: Path,
    problem: Problem,
    history: GradientHistory | SketchedHistory,
    asked: HistorySettings | None = None,
    rows: bool = False,
) -> None:
    """Refuse the finished history in a folder if it is not what would be collected.

    Args:
        folder: of the store.
        problem: that would be.
        history: that it holds.
        asked: the settings; None for those of the history.
        rows: whether to look at gradients that it holds, too.

    Raises:
        InputError: it is of another problem or of other settings.
    """
    there, asked = history.settings.as_dict(), asked or history.settings
    if asked.engine == "auto":
        there["engine"] = asked.engine  # whichever it was
    recorded = zarr_store.read_record(folder)[0]["problem"]
    different = _different(there, recorded, asked, problem.describe())
    if different:
        raise InputError(f"{folder} holds the gradient history of another run ({'; '.join(different)}); {_OTHER}")
    for t in _looked_at(history):
        loss, gradient = LoopEngine(problem, asked.seed).row(t, asked.minibatches()[t])
        _check_same(folder, "loss", float(loss), float(history.losses[t]), _iteration(t))
        if rows and isinstance(history, GradientHistory) and not asked.transforms:
            _check_gradient(folder, gradient, history, t)


def identity_of(problem: Problem, asked: HistorySettings) -> dict[str, Any]:
    """All that the gradients of a run depend on, to the last bit, as far as it can be told."""
    return {
        "settings": asked.as_dict(),
        "problem": problem.describe() | {"buffers_sha256": sha256(problem.buffers().values())},
        "software": versions(_SOFTWARE) | machine(problem.device),
    }


def read_unfinished(unfinished: Unfinished, asked: HistorySettings, progress: Progress) -> Begun | None:
    """What an earlier call began in the folder, if this one can go on with it; the folder is emptied if it cannot.

    Other software or another number of threads rounds in another way: then all is collected again, as it is where a
    chunk is damaged, so that the result is that of one run.

    Raises:
        InputError: it is of another run, or it cannot be told of which.
    """
    folder, here = unfinished.folder, unfinished.identity
    if not zarr_store.is_unfinished(folder):
        if zarr_store.holds_store(folder):
            zarr_store.read_record(folder)  # says what is wrong with it
        zarr_store.check_empty(folder)
        return None
    begun = Begun(*unfinished.read())
    there = begun.identity
    different = _different(there["settings"], there["problem"], asked, here["problem"])
    if different:
        raise InputError(
            f"{folder} holds the unfinished gradient history of another run ({'; '.join(different)}); {_OTHER}"
        )
    pairs = ((name, there["software"].get(name), here["software"][name]) for name in here["software"])
    changed = [f"{name} was {before}, not {now}" for name, before, now in pairs if before != now]
    why = "; ".join(changed) or _damage(folder, begun.state)
    if begun.state and not why:
        progress.say(f"go on with the gradient history in {folder} after {begun.state['done']:,} iterations")
        return begun
    if begun.state:
        progress.say(f"collect the gradient history in {folder} again from the beginning: {why}")
    clear(folder)
    return None


def check_same_start(begun: Begun, unfinished: Unfinished, problem: Problem, asked: HistorySettings) -> None:
    """What digests do not show: the code of model and loss, data that are not in memory.

    Raises:
        InputError: the first minibatch has another loss, or another norm of its gradient, than when the run was begun.
    """
    norms = (identity[GRADIENT_NORM] for identity in (unfinished.identity, begun.identity))
    _check_same(unfinished.folder, "gradient norm", *norms)
    if begun.state["done"]:
        _check_first_loss(unfinished.folder, problem, asked, begun.arrays["losses"])


def _check_first_loss(folder: Path, problem: Problem, asked: HistorySettings, stored: Tensor) -> None:
    loss = float(LoopEngine(problem, asked.seed).gradient(0, asked.minibatches()[0])[0])
    _check_same(folder, "loss", loss, float(stored[0]))


def _looked_at(history: GradientHistory | SketchedHistory) -> list[int]:
    """Iterations that are computed again: the code of model and loss is in no digest. What acts rarely (a clamp, a
    weight) shows where the loss is largest.
    """
    return sorted({0, len(history.losses) - 1, int(history.losses.argmax())})


def _iteration(t: int) -> str:
    return "the first minibatch" if t == 0 else f"iteration {t}"


def _check_gradient(folder: Path, gradient: Tensor, history: GradientHistory, t: int) -> None:
    off, length = float((history[t].to(gradient) - gradient).double().norm()), float(gradient.double().norm())
    if not off <= max(_GRADIENT_TOLERANCE, 4 * history.rounding) * length:
        raise InputError(
            f"the gradient of {_iteration(t)} differs by {off / length if length else off:.2g} of its length from that "
            f"in the gradient history that {folder} holds: model, loss or data have changed; {_OTHER}"
        )


def _check_same(folder: Path, what: str, here: float, there: float, of: str = "the first minibatch") -> None:
    if not abs(here - there) <= _TOLERANCE * max(abs(there), abs(here)):
        raise InputError(
            f"the {what} of {of} is {here:.6g}, but {there:.6g} in the gradient history that {folder} holds: model, "
            f"loss or data have changed; {_OTHER}"
        )


def _different(
    there: Mapping[str, Any], there_problem: Mapping[str, Any], asked: HistorySettings, problem: Mapping[str, Any]
) -> list[str]:
    """In which settings and digests the run of a store is another than the one that is asked for, in words."""
    here = asked.as_dict()
    pairs = {name: (there[name], here[name]) for name in _OF_RUN}
    pairs["stored as"] = there["storage"]["dtype"], here["storage"]["dtype"]
    pairs["sketch"] = there.get("sketch"), here.get("sketch")
    pairs["engine"] = there["engine"], here["engine"]
    pairs |= {name: (there_problem[name], problem[name]) for name in _OF_PROBLEM}
    if "buffers_sha256" in there_problem:
        pairs["buffers_sha256"] = there_problem["buffers_sha256"], problem["buffers_sha256"]
    pairs |= {f"{name} of the data": (there_problem["data"][name], problem["data"][name]) for name in _OF_DATA}
    return [f"{name} is {theirs}, not {ours}" for name, (theirs, ours) in pairs.items() if theirs != ours]


def _damage(folder: Path, state: Mapping[str, Any]) -> str:
    """What of the rows that are done cannot be relied on, in words; empty if all can."""
    if not state:
        return ""
    if state["metadata"] != zarr_store.metadata_digests(folder).get(zarr_store.GRADIENTS):
        return f"{zarr_store.GRADIENTS}/{zarr_store.METADATA} is damaged"
    if state.get("group") != zarr_store.group_digest(folder):
        return f"{zarr_store.METADATA} is damaged"
    damaged = damaged_chunks(zarr_store.reopen(folder).chunk_paths(state["done"]))
    names = [str(damage.file.relative_to(folder)) for damage in damaged]
    return f"damaged or missing are {listed(names, 3)}" if names else ""


def clear(folder: Path) -> None:
    """Delete what an earlier call wrote into the folder, but not its note that it has begun."""
    for name in (zarr_store.GRADIENTS, zarr_store.LOSSES):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / zarr_store.METADATA).unlink(missing_ok=True)
