"""The gradient history: what it is, and the engines that collect it."""

from gradlaw.history.collect import collect
from gradlaw.history.gradient_history import GradientHistory

__all__ = ["GradientHistory", "collect"]
