"""Data sets by name, folder, file or hub id, from arrays or text; label noise and augmentation."""

from gradlaw.data.arrays import from_arrays
from gradlaw.data.augment import flip_and_crop
from gradlaw.data.label_noise import LABEL_NOISE, corrupt_labels, parse_label_noise
from gradlaw.data.labelled import NORMALISATIONS, DataSource, LabelledTensors, LabelNoise, Normalisation
from gradlaw.data.load import load_data
from gradlaw.data.text import load_text

__all__ = [
    "LABEL_NOISE",
    "NORMALISATIONS",
    "DataSource",
    "LabelNoise",
    "LabelledTensors",
    "Normalisation",
    "corrupt_labels",
    "flip_and_crop",
    "from_arrays",
    "load_data",
    "load_text",
    "parse_label_noise",
]
