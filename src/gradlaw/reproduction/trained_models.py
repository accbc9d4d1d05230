"""Trained parameters: packaged in a folder, trained before and kept in the store, or to be trained."""

from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from gradlaw.data import LabelledTensors, parse_label_noise
from gradlaw.progress import Progress
from gradlaw.reproduction.experiment import NetworkSpec, normalised_recipe
from gradlaw.training import Checkpoint, Recipe, load_checkpoint, train
from gradlaw.training.checkpoint import latest
from gradlaw.training.points import point_file
from gradlaw.training.record import read_record
from gradlaw.zoo import MODELS, ModelSettings

PACKAGED = Path(__file__).parents[1] / "checkpoints"


class TrainedModels:
    """Finds trained parameters by what they are, never by their file's name.

    Args:
        store: folder of trainings done here.
        packaged: folders with ``*.json`` beside ``*.safetensors``.
    """

    def __init__(self, store: Path, packaged: tuple[Path, ...] = (PACKAGED,)):
        self.store, self.folders = store, packaged

    def packaged(self, network: NetworkSpec, recipe: Recipe, seed: int) -> Path | None:
        """The packaged weights of a network, trained on all samples by just this recipe."""
        wanted = identity(network, recipe, seed)
        return next((path for path, found in self._packaged if found == wanted), None)

    def trained(self, key: str, recipe: Recipe) -> Path | None:
        """The weights of a finished training of the store."""
        folder = self.store / key
        last = latest(folder) if folder.is_dir() else None
        if last is None or read_record(last)["epoch"] < recipe.epochs:
            return None
        return last.with_suffix(".safetensors")

    def at(self, key: str, point: float) -> Path:
        """The weights at a point of a training of the store, there or not."""
        return point_file(self.store / key, point)

    def train(
        self, key: str, settings: ModelSettings, data: LabelledTensors, recipe: Recipe, seed: int, device: str | None,
        progress: Progress, points: tuple[float, ...] = (), until: int | None = None,
    ) -> Checkpoint:  # fmt: skip
        """Train, or go on with a training that was interrupted, keeping points on the way until an epoch."""
        model = settings.build()
        convolutional = any(isinstance(module, nn.Conv2d) for module in model.modules())
        run = train(
            model, MODELS[settings.name].loss, data, None, recipe, seed, self.store / key,
            settings=settings, resume=True, points=points, until=until, channels_last=convolutional, device=device,
            progress=progress,
        )  # fmt: skip
        assert run.checkpoint is not None
        return load_checkpoint(run.checkpoint)

    @cached_property
    def _packaged(self) -> list[tuple[Path, dict[str, Any]]]:
        files = [file for folder in self.folders for file in sorted(folder.glob("*.json"))]
        return [
            (file.with_suffix(".safetensors"), found)
            for file in files
            if file.with_suffix(".safetensors").is_file() and (found := _identity_of(read_record(file)))
        ]


def identity(network: NetworkSpec, recipe: Recipe, seed: int) -> dict[str, Any]:
    """What makes two trainings the same."""
    kind, rate = parse_label_noise(network.label_noise) if network.label_noise else (None, None)
    return {
        "data": [network.data, network.normalisation or "channel"],
        "noise": kind and [kind, rate, seed],
        "model": [network.model, network.sizes, network.outputs, seed],
        "initialisation": network.initialisation or "pytorch",
        "recipe": asdict(recipe),
        "seed": seed,
    }


def _identity_of(record: dict[str, Any]) -> dict[str, Any] | None:
    """The same of what the JSON of a checkpoint records; None for one that is not finished, or no checkpoint."""
    if "recipe" not in record or record["epoch"] < record["recipe"]["epochs"]:
        return None
    noise, model = record["data"].get("label_noise"), record["model"]
    per = record["data"]["normalisation"]["per"]
    return {
        "data": [record["data"]["name"], "channel" if per == "column" else per],
        "noise": noise and [noise["kind"], noise["rate"], noise["seed"]],
        "model": [model["name"], model["sizes"], model["classes"], model["seed"]],
        "initialisation": model.get("initialisation", "pytorch"),  # files of before there was a choice do not say
        "recipe": asdict(normalised_recipe(record["recipe"])),
        "seed": record["seed"],
    }
