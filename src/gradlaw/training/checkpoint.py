"""Checkpoints of a training: what the model is, how it came about, and what is needed to go on.

    epoch-0007.safetensors            parameters and buffers
    epoch-0007.optimiser.safetensors  the optimiser's tensors, of the last epoch alone
    epoch-0007.json                   every setting, the history so far, versions, digests of all three

Each file is written whole or not at all, the JSON last: an epoch whose JSON is there is whole.
The learning rate, the order of the data and all random numbers of an epoch are functions of the settings, the seed
and the epoch, so that nothing else is needed to continue bit for bit.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from gradlaw.argument_types import checked
from gradlaw.atomic import PARTIAL, write_whole
from gradlaw.by_value import ByValue
from gradlaw.errors import InputError
from gradlaw.provenance import sha256
from gradlaw.training.points import point_files
from gradlaw.training.record import read_record, record_text
from gradlaw.training.weights import distinct, load_weights, read_weights
from gradlaw.zoo import ModelSettings

# In the record: of the whole files, names of the tensors and all.
_WEIGHTS_FILE, OPTIMISER_FILE = "weights_file_sha256", "optimiser_file_sha256"
REPLACED = ".replaced"  # a folder inside that of a training, while it is being replaced; see training/replace.py
_NAME = r"epoch-\d+(\.optimiser)?\.(json|safetensors)(\.partial)?"


@dataclass(frozen=True, eq=False)
class Checkpoint(ByValue):
    """Weights, and the settings of their training where gradlaw trained them.

    Attributes:
        path: of the weights.
        weights: tensors by name.
        settings: what the JSON beside the weights records; empty for weights from elsewhere.
    """

    path: Path
    weights: dict[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> ModelSettings | None:
        """How to build the model, if it is one of the zoo's."""
        model = self.settings.get("model", {})
        return ModelSettings.from_dict(model) if "sample_shape" in model else None

    def restore(self, model: nn.Module) -> nn.Module:
        """Put the weights into a model, in place; returns it.

        Raises:
            InputError: names or shapes differ.
        """
        load_weights(model, self.weights, str(self.path))
        return model

    def build(self) -> nn.Module:
        """The model with the weights in place.

        Raises:
            InputError: the checkpoint does not say which model it is of.
        """
        if self.model is None:
            raise InputError(f"{self.path} does not say which model it is of; build it and use restore()")
        return self.restore(self.model.build())


@checked
def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of :func:`gradlaw.train`, or the weights of anybody's model.

    Args:
        path: a checkpoint's .safetensors or .json, a folder of checkpoints (the last one is taken), or a file with the
            state_dict of any model; see :func:`gradlaw.training.weights.read_weights`.

    Raises:
        InputError: no such file, one that holds no weights, weights that are not those that the JSON describes, or a
            JSON of ours that is damaged.
    """
    path = Path(path)
    if path.is_dir():
        last = latest(path)
        if last is None:
            raise InputError(f"the folder {path} holds no checkpoint (epoch-*.json)")
        path = last
    record = path.with_suffix(".json")
    path = path.with_suffix(".safetensors") if path == record else path
    weights = read_weights(path)
    if path.suffix != ".safetensors" or not record.is_file():
        return Checkpoint(path, weights)
    settings = read_record(record)
    if not settings:
        return Checkpoint(path, weights)
    changed = not is_as_written(path, settings.get(_WEIGHTS_FILE))
    if changed or _digest(weights) != settings["weights_sha256"]:
        raise InputError(f"{path} does not hold the weights that {record.name} describes; one of them was changed")
    return Checkpoint(path, weights, settings)


def latest(folder: Path) -> Path | None:
    """The JSON of the last epoch that was finished."""
    replaced = folder / REPLACED
    if replaced.is_dir():
        return latest(replaced)
    return max((file for file in _files(folder) if file.suffix == ".json"), default=None, key=_epoch)


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any], keep_all: bool
) -> Path:
    """Write the checkpoint of ``settings["epoch"]`` and remove those before, or their optimiser alone.

    Raises:
        InputError: the disk is full; the checkpoint before is still whole.
    """
    weights = folder / f"{_stem(settings['epoch'])}.safetensors"
    state = distinct(model.state_dict())
    moments = safetensors.torch.save(_optimiser_tensors(optimizer))
    _write(optimiser_file(folder, settings["epoch"]), moments)
    write_weights(weights, state, {**settings, OPTIMISER_FILE: hashlib.sha256(moments).hexdigest()})
    _remove([file for file in _files(folder) if _epoch(file) != settings["epoch"]], keep_all)
    return weights


def remove_former(folder: Path, epoch: int, keep_all: bool) -> None:
    """Remove what a process that was killed behind the checkpoint of an epoch had still to remove of those before."""
    before = [file for file in _files(folder) if _epoch(file) < epoch]
    by_epoch = {_epoch(file): optimiser_file(folder, _epoch(file)) for file in before}
    left = [n for n, optimiser in by_epoch.items() if optimiser.exists() or not (folder / f"{_stem(n)}.json").exists()]
    _remove([file for file in before if _epoch(file) in left], keep_all)


def _remove(files: list[Path], keep_all: bool) -> None:
    """Checkpoints, or their optimisers alone."""
    for file in files:  # JSON before weights, so that what has a JSON is whole
        if not keep_all or ".optimiser." in file.name:
            file.unlink()


def write_weights(path: Path, state: Mapping[str, Tensor], settings: Mapping[str, Any]) -> None:
    """Write a safetensors file and the JSON of its settings and digest beside it.

    Raises:
        InputError: the disk is full.
    """
    content = safetensors.torch.save(dict(state), {"format": "pt"})
    _write(path, content)
    listed = {**settings, _WEIGHTS_FILE: hashlib.sha256(content).hexdigest()}
    _write(path.with_suffix(".json"), record_text(listed, _digest(state)).encode())


def training_files(folder: Path) -> list[Path]:
    """The checkpoints in a folder and its points, and nothing else."""
    return [*_files(folder), *point_files(folder)]


def remove_partial(folder: Path) -> None:
    """Remove what a process that is no more had begun to write."""
    for file in training_files(folder):
        if file.suffix == PARTIAL:
            file.unlink()


def optimiser_file(folder: Path, epoch: int) -> Path:
    """Where the optimiser's tensors are after so many epochs."""
    return folder / f"{_stem(epoch)}.optimiser.safetensors"


def is_as_written(path: Path, sha256: str | None) -> bool:
    """Whether a file has the digest that a record names; checkpoints of earlier versions name none."""
    return sha256 is None or hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _digest(state: Mapping[str, Tensor]) -> str:
    return sha256(state[name] for name in sorted(state))


def _stem(epoch: int) -> str:
    return f"epoch-{epoch:04d}"


def _files(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("epoch-*.*")) if re.fullmatch(_NAME, file.name)]


def _epoch(file: Path) -> int:
    return int(file.name.partition("-")[2].partition(".")[0])


def _optimiser_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    tensors = {f"{i}.{key}": t for i, of_one in state.items() for key, t in of_one.items() if isinstance(t, Tensor)}
    return {name: t.contiguous() for name, t in tensors.items()}  # those of a model that is channels last are not


def _write(path: Path, content: bytes) -> None:
    write_whole(path, content, "checkpoints written before are whole", "resume")
