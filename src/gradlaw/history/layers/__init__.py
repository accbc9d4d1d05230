"""What is known of each type of layer, and the hook for one of the user's own."""

from gradlaw.history.layers.base import LayerCall, LayerRule, RowFactors
from gradlaw.history.layers.registry import register

__all__ = ["LayerCall", "LayerRule", "RowFactors", "register"]
