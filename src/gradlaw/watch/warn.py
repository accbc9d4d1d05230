"""What a watch says aloud, once: what its log cannot vouch for."""

import math
import warnings

from gradlaw.watch.gradient_state import GradientState

_UNKNOWN = (
    "gl.watch cannot tell whether gradients were changed between the backward pass and the optimiser: no backward pass "
    "of this step was seen to reach some of them (parameters that the optimiser got since the last step?), or they are "
    "not finite. The log says change: unknown"
)
_NO_SCALER = (
    "the gradients were divided by {} between the backward pass and the optimiser. If a GradScaler did that, give it "
    "to gl.watch as scaler=; until then the log says rescaled"
)
_STILL_SCALED = (
    "the optimiser receives gradients that are still multiplied by the loss scale {}: call scaler.step(optimizer) in "
    "place of optimizer.step(). The statistics are of the gradients divided by it"
)


class Warnings:
    """Says each thing once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def about(self, state: GradientState, fused: bool) -> None:
        """Of the gradient of a step; a ``fused`` optimiser divides by the loss scale itself."""
        if state.change == "unknown" and state.skipped == 0 and not state.no_update:
            self._say(_UNKNOWN)
        if state.unscaled is False and not fused:
            self._say(_STILL_SCALED.format(state.loss_scale))
        if state.loss_scale is None and state.factor is not None and _looks_like_a_scale(state.factor):
            self._say(_NO_SCALER.format(round(1 / state.factor)))

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            warnings.warn(text, stacklevel=2)


def _looks_like_a_scale(factor: float) -> bool:
    """Whether dividing by it undoes a power of two of at least 1,024, as gradient scalers use."""
    return 0 < factor <= 2**-10 and 1 / factor == 2.0 ** round(math.log2(1 / factor))
