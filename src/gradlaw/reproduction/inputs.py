"""The data sets: where they lie, and whether they are at hand."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gradlaw.choices import NormaliseBy
from gradlaw.data import LabelledTensors, corrupt_labels, flip_and_crop, load_data, parse_label_noise
from gradlaw.errors import InputError
from gradlaw.progress import SILENT, Progress
from gradlaw.random_streams import ONE_AUGMENTATION
from gradlaw.reproduction.experiment import CLASSES, FLOOR, NetworkSpec

NAMES = tuple(CLASSES)
_AT_ONCE = 1000  # images whose windows are in memory together


@dataclass
class DataSets:
    """The data sets of the paper.

    Args:
        folders: by name; those that are not named come from the hub.
        hub: whether to ask it.
    """

    folders: Mapping[str, Path]
    hub: bool = True
    _loaded: dict[tuple[str, NormaliseBy], LabelledTensors] = field(default_factory=dict, repr=False)
    _missing: dict[str, str | None] = field(default_factory=dict, repr=False)

    @staticmethod
    def find(root: Path | None, given: Mapping[str, Path], hub: bool = True) -> "DataSets":
        """Folders given one by one come before those of the same name under ``root``."""
        inside = {name: root / name for name in NAMES if root and (root / name).is_dir()}
        return DataSets(inside | dict(given), hub)

    def __getstate__(self) -> dict[str, Any]:
        """Without the data: another process reads its own."""
        return self.__dict__ | {"_loaded": {}}

    def why_missing(self, name: str) -> str | None:
        """Why a data set is not at hand; None if it is."""
        if name not in self._missing:
            self._missing[name] = self._look_for(name)
        return self._missing[name]

    def load(
        self, network: NetworkSpec, samples: int | None, seed: int, progress: Progress | None = None
    ) -> LabelledTensors:
        """The training data of a network, under the data set's public name, with its label noise.

        Raises:
            InputError: as ``load_data`` and ``corrupt_labels``.
        """
        progress = progress or SILENT
        name, normalise = network.data, network.normalisation or "channel"
        if (name, normalise) not in self._loaded:
            data = load_data(str(self.folders.get(name, name)), normalise=normalise, progress=progress)
            self._loaded[name, normalise] = LabelledTensors(data.inputs, data.targets, replace(data.source, name=name))
        data = self._loaded[name, normalise]
        if network.constant == FLOOR:
            data = with_least_deviation(data)
        if samples is not None:
            data = LabelledTensors(data.inputs[:samples], data.targets[:samples], data.source)
        return corrupt_labels(data, *parse_label_noise(network.label_noise), seed) if network.label_noise else data

    def _look_for(self, name: str) -> str | None:
        if name not in self.folders and not self.hub:
            return f"no folder of {name} was given (--{name} or --data-root) and the hub was not to be asked"
        try:
            self.load(NetworkSpec(name, ""), None, 0)
        except InputError as error:
            return str(error).splitlines()[0]
        return None


def with_least_deviation(data: LabelledTensors, least: float = 1.0) -> LabelledTensors:
    """Images that are normalised by pixel, as if no deviation had been less than ``least``, in stored units."""
    normalisation = data.source.normalisation
    assert normalisation.per == "pixel"
    std = np.array(normalisation.std)
    floored = np.maximum(std, least)
    scale = torch.from_numpy((std / floored).astype(np.float32)).reshape(data.inputs.shape[1:])
    source = replace(data.source, normalisation=replace(normalisation, std=tuple(floored.tolist())))
    return LabelledTensors(data.inputs * scale, data.targets, source)


def augmented(data: LabelledTensors, seed: int) -> LabelledTensors:
    """Every image flipped and cropped at random, once: a minibatch that returns to an image sees the same version.

    Raises:
        InputError: samples that are no images.
    """
    rng = np.random.default_rng([ONE_AUGMENTATION, seed])
    parts = [flip_and_crop(part, rng) for part in data.inputs.split(_AT_ONCE)]
    return LabelledTensors(torch.cat(parts), data.targets, data.source)
