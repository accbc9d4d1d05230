"""train: a model by a recipe, with checkpoints to resume from."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from gradlaw._torch import BatchNorm
from gradlaw.argument_types import checked
from gradlaw.errors import InputError, count
from gradlaw.errors import seed as checked_seed
from gradlaw.problem import Problem
from gradlaw.progress import SILENT, Progress
from gradlaw.provenance import machine, versions
from gradlaw.training.checkpoint import Checkpoint, remove_former, save_checkpoint
from gradlaw.training.epoch import Advance, Loss, NotFinite, Score, Setup, evaluate, steps_of_epoch, train_epoch
from gradlaw.training.keep import PointKeeper
from gradlaw.training.points import checked_points, missing_points
from gradlaw.training.recipe import Recipe
from gradlaw.training.replace import put_in_place
from gradlaw.training.resume import claimed, open_folder, open_replacement, restore_optimiser
from gradlaw.zoo import ModelSettings

if TYPE_CHECKING:
    import pandas as pd

Data = Dataset[Any] | Sequence[Any]


@dataclass(frozen=True)
class TrainingRun:
    """What :func:`train` did.

    Attributes:
        recipe: how.
        seed: of everything random.
        history: one record an epoch: ``epoch`` (from 1), ``learning_rate``, ``loss`` and ``accuracy`` during the
            epoch, ``test_loss`` and ``test_accuracy`` after it (None without test data).
        training: score of the model, as it is then, on the training data, with their corrupted labels if they are.
        test: score on the test data; None without them.
        checkpoint: the file of the trained weights; None without a folder for checkpoints.
    """

    recipe: Recipe
    seed: int
    history: list[dict[str, Any]]
    training: Score
    test: Score | None
    checkpoint: Path | None

    def to_frame(self) -> "pd.DataFrame":
        """The history, one row an epoch."""
        import pandas as pd  # loaded for those who ask for a table

        return pd.DataFrame(self.history)

    def __str__(self) -> str:
        test = f"; test: {score_in_words(self.test)}" if self.test else ""
        return f"{len(self.history)} epochs; training: {score_in_words(self.training)}{test}"


@checked
def train(
    model: nn.Module,
    loss: Loss,
    training_data: Data,
    test_data: Data | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    checkpoint_dir: str | Path | None = None,
    *,
    settings: ModelSettings | None = None,
    resume: bool = False,
    overwrite: bool = False,
    keep_all: bool = False,
    points: Sequence[float] = (),
    until: int | None = None,
    channels_last: bool = False,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> TrainingRun:
    """Train a model in place, by a recipe of the paper or any other, and leave it in training mode.

    The order of the data, the augmentation and what dropout draws in an epoch follow from the seed and the epoch: a
    training resumed after it was killed ends with the same bits as one that was not, on the same machine with
    the same number of threads (on a GPU as far as its kernels repeat sums). The global random state is left alone.

    Args:
        model: the starting point.
        loss: ``loss(model(inputs), targets)``, the mean over a minibatch.
        training_data: ``(inputs, targets)`` or a ``TensorDataset`` of them, such as ``load_data`` returns.
        test_data: measured after every epoch.
        recipe: default ``Recipe()``: plain SGD for 50 epochs. ``default_recipe`` gives the paper's.
        seed: of everything random but the starting point.
        checkpoint_dir: where to write a checkpoint after every epoch; see :mod:`gradlaw.training.checkpoint`.
        settings: how the model was built, if it is of the zoo, for the checkpoint to record.
        resume: go on from the last checkpoint in the folder, if there is one; all else must be as it was.
        overwrite: put this training in the place of the one that the folder holds, once it is done; the one before
            stays until then. One that was ended on the way goes on when the call is repeated.
        keep_all: keep the weights of every epoch, not only of the last.
        points: also keep the weights after so many epochs, whole or not (0.1: a tenth of the first one, 0: the start),
            with the score there, as ``point-0.1.safetensors``; see :mod:`gradlaw.training.points`. They need a folder.
        until: stop after this epoch of the recipe; ``resume`` goes on from it. None: after the last.
        channels_last: train on images whose channels lie next to each other in memory, as PyTorch's memory format of
            that name has them. Convolutions are faster so, and sums round differently; a model that calls ``view``
            behind a convolution cannot be trained like this. The model is left as it was.
        device: where to train; default: where the model is. Model and data are moved there.
        progress: where to show it.

    Raises:
        InputError: data that are no two tensors of one length or that BatchNorm cannot take, a folder that holds
            another training or one that went on without a point that is wanted, points that are none of the training,
            ``channels_last`` of samples that are no images (C, H, W), a full disk, or a loss that stopped being finite:
            the message says where and names the last good checkpoint.
    """
    progress, recipe, seed = progress or SILENT, recipe or Recipe(), checked_seed(seed)
    problem = Problem(model, loss, training_data, device=device)
    model.to(problem.device)
    test = None if test_data is None else Problem(model, loss, test_data)
    inputs, targets = _tensors(problem)
    least = _smallest_minibatch(model, len(inputs), recipe.batch_size)
    optimizer = recipe.optimizer(p for p in model.parameters() if p.requires_grad)
    if channels_last and inputs.ndim != 4:
        raise InputError(f"channels_last is for images (C, H, W), got samples {tuple(inputs.shape[1:])}: leave it out")
    setup = Setup(model, loss, optimizer, inputs, targets, recipe, seed, least, channels_last)
    record = _record(problem, test, recipe, seed, settings, channels_last)
    folder = None if checkpoint_dir is None else Path(checkpoint_dir)
    end = recipe.epochs if until is None else min(recipe.epochs, count(until, "until"))
    keeper = _keeper(folder, points, setup, record)
    measure = None if test is None else partial(evaluate, model, loss, *_tensors(test))
    with claimed(folder), _own_randomness(problem.device), _laid_out(model, channels_last):
        place, last = folder, None
        if folder is not None and overwrite:
            place, last = open_replacement(folder, record)
        elif folder is not None:
            last = open_folder(folder, record, resume)
        keeper = replace(keeper, folder=place)
        if last is not None:
            remove_former(last.path.parent, last.settings["epoch"], keep_all)
            _go_on(last, record, setup, progress)
            _check_reached(last, end, keeper.points)
        path = None if last is None else last.path
        with progress.stage("train", end * keeper.steps) as advance:
            advance(record["epoch"] * keeper.steps)
            if last is None:
                keeper.start()
            while record["epoch"] < end:
                _one_epoch(setup, measure, record, path, end, keeper, advance, progress)
                if place is not None:
                    path = save_checkpoint(place, model, optimizer, record, keep_all)
        if folder is not None and path is not None and overwrite:
            put_in_place(folder)
            path = folder / path.name
    on_test = record["test"] and Score(**record["test"])
    training = Score(**record["training"]) if record["training"] else evaluate(model, loss, inputs, targets)
    return TrainingRun(recipe, seed, record["history"], training, on_test, path)


def score_in_words(score: Score) -> str:
    """Loss and accuracy, for people."""
    return f"loss {score.loss:.4g}" + ("" if score.accuracy is None else f", accuracy {score.accuracy:.2%}")


def _one_epoch(
    setup: Setup,
    measure: Callable[[], Score] | None,
    record: dict[str, Any],
    good: Path | None,
    end: int,
    keeper: PointKeeper,
    advance: Advance,
    progress: Progress,
) -> None:
    """Train for one epoch and enter it in the record; after the last one also the scores of the trained model."""
    epoch, start = record["epoch"], time.perf_counter()
    rate = setup.recipe.learning_rate_at(epoch)
    try:
        score = train_epoch(setup, epoch, advance, keeper.stops(epoch), partial(keeper.reached, epoch))
        test, last = measure and measure(), epoch + 1 == end
        record["training"] = asdict(evaluate(setup.model, setup.loss, setup.inputs, setup.targets)) if last else None
        record["test"] = asdict(test) if test and last else None
    except NotFinite as error:
        kept = f"the last good checkpoint is {good}" if good else "no checkpoint was made before"
        raise InputError(
            f"the training diverged in epoch {epoch + 1}: {error} (learning rate {rate:g}); {kept}. "
            "Lower the learning rate or set clip_norm"
        ) from error
    record["epoch"] = epoch + 1
    record["history"].append(
        {"epoch": epoch + 1, "learning_rate": rate, **asdict(score)}
        | {"test_loss": test and test.loss, "test_accuracy": test and test.accuracy}
    )
    record["time"]["finished"] = _now()
    record["time"]["seconds"] += time.perf_counter() - start
    said = f"; test: {score_in_words(test)}" if test else ""
    progress.say(f"epoch {epoch + 1} of {setup.recipe.epochs}: {score_in_words(score)}{said}")


def _keeper(folder: Path | None, points: Sequence[float], setup: Setup, record: dict[str, Any]) -> PointKeeper:
    if points and folder is None:
        raise InputError("points of a training are kept in its folder: give checkpoint_dir")
    steps = steps_of_epoch(setup)
    return PointKeeper(folder, checked_points(points, setup.recipe.epochs, steps), steps, setup, record)


def _check_reached(last: Checkpoint, end: int, points: Sequence[float]) -> None:
    """Refuse a training that is past its end, or past a point that was not kept."""
    epoch = last.settings["epoch"]
    if epoch > end:
        raise InputError(f"{last.path} is behind epoch {end}, where this training is to stop: choose another folder")
    missing = missing_points(last.path.parent, points, epoch)
    if missing:
        raise InputError(
            f"the training in {last.path.parent} is past epoch {missing[0]:g}, which was not kept as a point: start it "
            "again (--force) or choose another folder"
        )


def _record(
    problem: Problem,
    test: Problem | None,
    recipe: Recipe,
    seed: int,
    settings: ModelSettings | None,
    channels_last: bool,
) -> dict[str, Any]:
    """What checkpoints say, at the start."""
    described = problem.describe()
    record = {
        "model": settings.to_dict() if settings else {"name": problem.name},
        "start_sha256": described["parameters_sha256"],
        "loss": described["loss"],
        "data": described["data"],
        "test_data": test and test.describe()["data"],
        "recipe": asdict(recipe),
        "seed": seed,
        "channels_last": channels_last,
        "epoch": 0,
        "history": [],
        "training": None,
        "test": None,
        "versions": versions(),
        "machine": machine(problem.device),
        "time": {"started": _now(), "finished": _now(), "seconds": 0.0},
    }
    return json.loads(json.dumps(record))  # as it will be read back


def _go_on(last: Checkpoint, record: dict[str, Any], setup: Setup, progress: Progress) -> None:
    """Put model, optimiser and record into the state that the last checkpoint holds."""
    last.restore(setup.model)
    restore_optimiser(setup.optimizer, last)
    if last.settings["machine"] != record["machine"]:
        progress.say("resumed on another machine or with another number of threads: sums may round differently")
    for key in ("epoch", "history", "training", "test", "time"):
        record[key] = last.settings[key]


def _tensors(problem: Problem) -> tuple[Tensor, Tensor]:
    if not isinstance(problem.data, tuple) or not all(isinstance(part, Tensor) for part in problem.data):
        raise InputError("training takes data in memory: (inputs, targets), two tensors or arrays")
    inputs, targets = (part.to(problem.device) for part in problem.data)
    return inputs, targets


def _smallest_minibatch(model: nn.Module, samples: int, batch_size: int) -> int:
    """2 for a model with BatchNorm, which cannot normalise a single sample; else 1."""
    if not any(isinstance(module, BatchNorm) for module in model.modules()):
        return 1
    if min(batch_size, samples) == 1:
        raise InputError("batch norm cannot normalise a minibatch of a single sample: use a batch_size of at least 2")
    return 2


@contextmanager
def _laid_out(model: nn.Module, channels_last: bool) -> Iterator[None]:
    """Have the model's parameters in the memory format of the images, and put them back."""
    if not channels_last:
        yield
        return
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors alone
    try:
        yield
    finally:
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _own_randomness(device: torch.device) -> AbstractContextManager[None]:
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
