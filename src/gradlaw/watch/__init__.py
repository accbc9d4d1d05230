"""Watching a training run: statistics of the gradients that its optimiser receives, layer by layer."""

from gradlaw.watch.begin import watch
from gradlaw.watch.gradient_state import GradientState
from gradlaw.watch.layout import Layer
from gradlaw.watch.noise_scale import NoiseScale, NoiseScaleAccumulator
from gradlaw.watch.noise_source import Microbatches, Ranks, Samples
from gradlaw.watch.read import WatchLog, read_watch
from gradlaw.watch.recorder import Watch

__all__ = [
    "GradientState",
    "Layer",
    "Microbatches",
    "NoiseScale",
    "NoiseScaleAccumulator",
    "Ranks",
    "Samples",
    "Watch",
    "WatchLog",
    "read_watch",
    "watch",
]
