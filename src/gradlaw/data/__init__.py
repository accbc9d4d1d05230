"""Data sets by name, folder or hub id."""

from gradlaw.data.labelled import DataSource, LabelledTensors, Normalisation
from gradlaw.data.load import load_data

__all__ = ["DataSource", "LabelledTensors", "Normalisation", "load_data"]
