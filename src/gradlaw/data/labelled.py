"""Labelled samples held in memory as tensors."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import TensorDataset


@dataclass(frozen=True)
class Normalisation:
    """The mean and standard deviation that were taken off, per channel or per column, measured on the training set."""

    per: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class DataSource:
    """Where a data set came from and what was done to it."""

    name: str
    split: str
    input_columns: tuple[str, ...]
    label_column: str
    classes: tuple[str, ...]
    normalisation: Normalisation


class LabelledTensors(TensorDataset):
    """Inputs (N, ...) float32, zero mean and unit variance, and integer targets (N,)."""

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
        return {
            "name": source.name,
            "split": source.split,
            "input_columns": list(source.input_columns),
            "label_column": source.label_column,
            "classes": list(source.classes),
            "sample_shape": list(self.sample_shape),
            "normalisation": {
                "per": source.normalisation.per,
                "mean": list(source.normalisation.mean),
                "std": list(source.normalisation.std),
            },
        }
