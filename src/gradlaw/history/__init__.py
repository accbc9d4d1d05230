"""The gradient history: what it is, and the engines that collect it."""

from gradlaw.history.collect import collect
from gradlaw.history.gradient_history import GradientHistory
from gradlaw.history.settings import HistorySettings
from gradlaw.history.transforms import Adam, ClipByNorm, ClipByValue, Momentum, Transform, WeightDecay

__all__ = [
    "Adam",
    "ClipByNorm",
    "ClipByValue",
    "GradientHistory",
    "HistorySettings",
    "Momentum",
    "Transform",
    "WeightDecay",
    "collect",
]
