"""Labelled samples held in memory as tensors."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import TensorDataset

from gradlaw.choices import NORMALISATIONS as NORMALISATIONS


@dataclass(frozen=True)
class Normalisation:
    """The mean and standard deviation that were taken off, in stored units (0 to 255 for 8-bit images).

    Measured on the training set ``per`` channel, pixel or column, in the order of the flattened sample; empty where
    ``per`` is ``"none"``. What is constant in the training set has a deviation of 1.
    """

    per: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def description(self) -> dict[str, Any]:
        """What results record of it: the values too, unless there is one for each of thousands of pixels."""
        return {"per": self.per} if self.per == "pixel" else asdict(self)


@dataclass(frozen=True)
class LabelNoise:
    """How labels were corrupted, and the share that differs from the clean ones."""

    kind: str
    rate: float
    seed: int
    realised_rate: float


@dataclass(frozen=True)
class DataSource:
    """Where a data set came from and what was done to it."""

    name: str
    split: str
    input_columns: tuple[str, ...]
    label_column: str
    classes: tuple[str, ...]
    normalisation: Normalisation
    image_formats: tuple[str, ...] = ()
    revision: str | None = None
    label_noise: LabelNoise | None = None
    resize: tuple[int, int] | None = None  # the height and width that images were brought to


class LabelledTensors(TensorDataset):
    """Inputs (N, ...), float32 unless they are token indices, and int64 targets: (N,), or (N, context) of text."""

    def __init__(self, inputs: Tensor, targets: Tensor, source: DataSource):
        super().__init__(inputs, targets)
        self.inputs, self.targets, self.source = inputs, targets, source

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return tuple(self.inputs.shape[1:])

    @property
    def classes(self) -> int:
        return len(self.source.classes)

    @property
    def description(self) -> dict[str, Any]:
        """What results record of the data."""
        source = self.source
        description = {
            "name": source.name,
            "split": source.split,
            "input_columns": list(source.input_columns),
            "label_column": source.label_column,
            "classes": list(source.classes),
            "sample_shape": list(self.sample_shape),
            "normalisation": source.normalisation.description,
        }
        if source.image_formats:
            description["image_formats"] = list(source.image_formats)
        if source.resize is not None:
            description["resize"] = list(source.resize)
        if source.revision is not None:
            description["revision"] = source.revision
        if source.label_noise is not None:
            description["label_noise"] = asdict(source.label_noise)
        return description
